"""A KMS that wraps no key for a shared place until it is known that the place belongs to it.

If the KMS cannot be asked when the gateway starts, it is asked again when the first key is wanted: nothing is written
under keys that the other gateways may not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from strongroom.kms.base import KMS, Context, DataKey, KMSDenied, KMSError, KMSStatus, WrappedKey, anew
from strongroom.kms.master import MasterKey
from strongroom.sealed.check import CheckDamaged, CheckPlace, ForeignKMS, claim, renewed, verify_check

_log = logging.getLogger("strongroom.kms")


class CheckedKMS:
    """The KMS protocol, in front of another KMS, for a place that has a check value.

    ``leave``: whether to leave a check value if there is none. Jobs that change nothing do not: their master key may be
    the wrong one.
    """

    def __init__(self, kms: KMS, place: CheckPlace, *, leave: bool = True) -> None:
        self._kms = kms
        self._place = place
        self._leave = leave
        self._claimed = False
        self._claiming: asyncio.Task[None] | None = None

    @property
    def key_id(self) -> str:
        """The name of the master key for new data keys."""
        return self._kms.key_id

    async def start(self) -> None:
        """Start the KMS and look at the check value; the place is open by then. Raises ForeignKMS, CheckDamaged."""
        await self._kms.start()
        try:
            await self._claim()
        except KMSError as error:
            _log.warning("the KMS cannot say now whether the objects here are sealed under its keys: %s", error)

    async def stop(self) -> None:
        """Let go of everything."""
        await self._kms.stop()

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """New data keys. Raises KMSError; KMSDenied if the place belongs to another KMS."""
        if not self._claimed:
            try:
                await self._claim()
            except (ForeignKMS, CheckDamaged) as error:
                raise KMSDenied(str(error)) from error
        return await self._kms.generate(contexts, key_id)

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys."""
        return await self._kms.unwrap(keys)

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """As the KMS behind says."""
        return self._kms.in_memory(wrapped)

    async def status(self) -> KMSStatus:
        """Whether it works."""
        return await self._kms.status()

    async def examine(self) -> MasterKey | None:
        """The master key that opens the check value; None if there is no check value. Raises KMSError, ForeignKMS,
        CheckDamaged.
        """
        document = await self._place.read_check()
        return None if document is None else await verify_check(self._kms, self._place.place, document)

    async def renew(self, active: MasterKey) -> None:
        """Seal the check value anew, unless it is sealed under ``active`` already. Raises KMSError, ForeignKMS,
        CheckDamaged.
        """
        document = await self._place.read_check()
        if document is not None and (fresh := await renewed(self._kms, self._place.place, document, active)):
            await self._place.replace_check(fresh)

    async def _claim(self) -> None:
        """One look at the check value for all who wait: otherwise a KMS that is away would keep each waiting in
        turn.
        """
        if self._claiming is None:
            self._claiming = asyncio.create_task(claim(self._kms, self._place, leave=self._leave))
            self._claiming.add_done_callback(self._ended)
        try:
            await asyncio.shield(self._claiming)
        except KMSError as error:
            raise anew(error) from None

    def _ended(self, claiming: asyncio.Task[None]) -> None:
        self._claiming = None
        self._claimed = not claiming.cancelled() and claiming.exception() is None
