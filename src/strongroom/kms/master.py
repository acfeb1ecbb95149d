"""Which master key wrapped a data key, read from the stored form. Pure."""

from __future__ import annotations

from typing import NamedTuple

from strongroom.kms.base import WrappedKey
from strongroom.kms.static import PROVIDER as STATIC
from strongroom.kms.transit import PROVIDER as TRANSIT
from strongroom.kms.transit import PROVIDER_UNBOUND
from strongroom.kms.transit_wire import version_of
from strongroom.legacy.datakey import PROVIDER as LEGACY

_KINDS = {LEGACY: STATIC, PROVIDER_UNBOUND: TRANSIT}  # other forms that the same master key wraps in


class MasterKey(NamedTuple):
    """Identifies a master key: its kind ("static", "transit"), its name, and its version (0 if it has none)."""

    kind: str
    key_id: str
    version: int

    def __str__(self) -> str:
        version = f", version {self.version}" if self.version else ""
        return f"{self.key_id!r} ({self.kind}{version})"


def master_of(wrapped: WrappedKey) -> MasterKey:
    """The master key that wrapped a data key."""
    kind = _KINDS.get(wrapped.provider, wrapped.provider)
    return MasterKey(kind, wrapped.key_id, version_of(wrapped.ciphertext) if kind == TRANSIT else 0)
