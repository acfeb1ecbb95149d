"""A KMS for tests that passes for one elsewhere: it tells what it was asked for, and can refuse."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.kms.base import Context, DataKey, KMSError, WrappedKey
from strongroom.kms.static import StaticKMS
from strongroom.secret import Secret


class KMSElsewhere(StaticKMS):
    """``generated`` and ``unwrapped``: how many keys each call was about; ``refusal``: what every call is refused with,
    None where it is answered.
    """

    def __init__(self, key_id: str = "key", key: bytes = bytes(32)) -> None:
        super().__init__(key_id, Secret(key))
        self.generated: list[int] = []
        self.unwrapped: list[int] = []
        self.refusal: KMSError | None = None

    @property
    def calls(self) -> int:
        """How many there were."""
        return len(self.generated) + len(self.unwrapped)

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """No, as of any that is elsewhere."""
        return False

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """As a static KMS, unless it refuses."""
        self.generated.append(len(contexts))
        if self.refusal is not None:
            raise self.refusal
        return await super().generate(contexts, key_id)

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """As a static KMS, unless it refuses."""
        self.unwrapped.append(len(keys))
        if self.refusal is not None:
            return [self.refusal] * len(keys)
        return await super().unwrap(keys)
