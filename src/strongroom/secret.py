"""A type for secrets, so that none is shown by accident: by ``repr``, in a traceback or in a log."""

from __future__ import annotations

import hmac
from typing import Never


class Secret:
    """Bytes that must not be shown. Call :meth:`reveal` where they are used, and only there."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else value

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        """Compare in constant time."""
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __format__(self, spec: str) -> Never:
        raise TypeError("a secret is not formatted; reveal it where it is used")
