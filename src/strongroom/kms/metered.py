"""A KMS in front of another; reports of each call how long it took and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from strongroom.kms.base import (
    KMS,
    Context,
    DataKey,
    KeyDisabled,
    KMSDenied,
    KMSError,
    KMSStatus,
    NoSuchKey,
    WrappedKey,
    WrappedKeyInvalid,
)

Tell = Callable[[str, Iterable[str], float], None]
"""Called with "generate" or "unwrap", a result for each data key, and the seconds that the call took."""

OK = "ok"
_RESULTS = {
    KeyDisabled: "disabled",
    KMSDenied: "denied",
    NoSuchKey: "no such key",
    WrappedKeyInvalid: "invalid",
}


class MeteredKMS:
    """The KMS protocol; calls ``tell`` after each call."""

    def __init__(self, kms: KMS, tell: Tell) -> None:
        self._kms = kms
        self._tell = tell

    @property
    def key_id(self) -> str:
        """That of the KMS behind it."""
        return self._kms.key_id

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """New data keys. Raises KMSError."""
        begun = time.perf_counter()
        try:
            made = await self._kms.generate(contexts, key_id)
        except KMSError as error:
            self._tell("generate", [_result(error)] * len(contexts), time.perf_counter() - begun)
            raise
        self._tell("generate", [OK] * len(made), time.perf_counter() - begun)
        return made

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys."""
        begun = time.perf_counter()
        answers = await self._kms.unwrap(keys)
        self._tell("unwrap", map(_result, answers), time.perf_counter() - begun)
        return answers

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """The answer of the KMS behind it."""
        return self._kms.in_memory(wrapped)

    async def status(self) -> KMSStatus:
        """Whether it works."""
        return await self._kms.status()

    async def start(self) -> None:
        """Begin."""
        await self._kms.start()

    async def stop(self) -> None:
        """Release everything."""
        await self._kms.stop()


def _result(answer: object) -> str:
    if not isinstance(answer, KMSError):
        return OK
    return _RESULTS.get(type(answer), "unavailable")
