"""The KMS protocol: data keys, wrapped by a master key that never leaves the KMS.

Each wrapped key is bound to a *context*, and opens only with the same one. ``context_bytes`` is its canonical encoding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring as _quoted
from typing import NamedTuple, Protocol

Context = Mapping[str, str]


def context_bytes(context: Context) -> bytes:
    """A context as bytes: JSON, keys sorted, no spaces, UTF-8 (the form that MinIO's 2019 release used)."""
    text = ",".join([f"{_quoted(name)}:{_quoted(context[name])}" for name in sorted(context)])
    return f"{{{text}}}".encode()


class KMSError(Exception):
    """Base of the errors that a KMS raises on purpose. Messages name keys and endpoints, never secrets."""


class KMSUnavailable(KMSError):
    """The KMS cannot be reached, is sealed or answers nonsense: worth trying again later."""


class KMSDenied(KMSError):
    """The KMS will not let us use this key."""


class KeyDisabled(KMSError):
    """The master key is there, but disabled."""


class NoSuchKey(KMSError):
    """The KMS (or the keyring) has no master key of this name."""


class WrappedKeyInvalid(KMSError):
    """The wrapped key is damaged, of another master key, or was made with another context."""


def anew(error: KMSError) -> KMSError:
    """A copy of the error, for another caller that waits for the same answer: each needs a traceback of its own."""
    return type(error)(str(error))


class WrappedKey(NamedTuple):
    """A data key as it may be stored: the kind of KMS that wrapped it (``provider``), the master key, the ciphertext.

    ``provider`` and ``key_id`` are at most 255 bytes each, ``ciphertext`` at most 65,535.
    """

    provider: str
    key_id: str
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key: ``plaintext`` (32 bytes, secret) and the form that may be stored."""

    plaintext: bytes = field(repr=False)
    wrapped: WrappedKey


@dataclass(frozen=True, slots=True)
class KMSStatus:
    """What ``status`` found: ``error`` is None if wrapping and unwrapping work.

    ``endpoint`` is "" if there is none; ``token_seconds``: how long the token lives if it is not renewed; ``seconds``:
    how long wrapping and unwrapping took together.
    """

    provider: str
    key_id: str
    error: str | None = None
    endpoint: str = ""
    token_seconds: float | None = None
    seconds: float | None = None


class KMS(Protocol):
    """Wraps and unwraps data keys. Calls may run concurrently; a call's answers are in the order of its arguments."""

    @property
    def key_id(self) -> str:
        """The name of the master key that new data keys are wrapped with, unless another is asked for."""
        ...

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        """A new data key for each context, wrapped with the master key ``key_id``; "" for that of :attr:`key_id`.

        Raises KMSError.
        """
        ...

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        """Open wrapped keys, each with its context. Returns for each the plaintext data key, or why it did not open."""
        ...

    def in_memory(self, wrapped: WrappedKey) -> bool:
        """Whether the master key that wrapped this lies in the memory of this process for as long as it runs. Then
        nobody can withdraw it meanwhile, and whoever reads that memory has every key below it.
        """
        ...

    async def status(self) -> KMSStatus:
        """Whether the KMS works, found out by wrapping and unwrapping a key."""
        ...

    async def start(self) -> None:
        """Begin, in the process and event loop that will use it."""
        ...

    async def stop(self) -> None:
        """Release everything."""
        ...
