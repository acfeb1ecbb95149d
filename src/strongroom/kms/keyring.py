"""The keyring: one KMS that wraps new data keys, and others that only unwrap what they once wrapped.

This is how a master key is replaced, and how an installation moves from a static key to Vault. Relies only on the KMS
protocol: a member answers NoSuchKey for what another one wrapped, and then the next is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from strongroom.kms.base import KMS, Context, DataKey, KMSError, KMSStatus, NoSuchKey, WrappedKey


class Keyring:
    """``active`` wraps and unwraps, ``others`` unwrap."""

    def __init__(self, active: KMS, others: Sequence[KMS] = ()) -> None:
        self._active = active
        self.members: tuple[KMS, ...] = (active, *others)

    @property
    def key_id(self) -> str:
        """The name of the master key that new data keys are wrapped with, unless another is asked for."""
        return self._active.key_id

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """A new data key for each context, from the active KMS. Raises KMSError."""
        return await self._active.generate(contexts, key_id)

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys, each by the member that has its master key."""
        answers = list(await self._active.unwrap(keys))
        for member in self.members[1:]:
            unknown = [index for index, answer in enumerate(answers) if isinstance(answer, NoSuchKey)]
            if not unknown:
                break
            tried = await member.unwrap([keys[index] for index in unknown])
            for index, answer in zip(unknown, tried, strict=True):
                if not isinstance(answer, NoSuchKey):
                    answers[index] = answer
        return answers

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """Whether any member has the master key in memory."""
        return any(member.in_memory(wrapped) for member in self.members)

    async def status(self) -> KMSStatus:
        """The status of the active KMS."""
        return await self._active.status()

    async def statuses(self) -> Sequence[KMSStatus]:
        """The status of every member, the active one first."""
        return await asyncio.gather(*(member.status() for member in self.members))

    async def start(self) -> None:
        """Start all members. Raises KMSError."""
        for member in self.members:
            await member.start()

    async def stop(self) -> None:
        """Stop all members."""
        for member in self.members:
            await member.stop()
