"""The envelope: what stands in the record of an encrypted object, as bytes. Pure: encode, decode, seal, open.

A *header* stands in the clear and says how the object key is sealed; *boxes* hold the rest, sealed under the record key
with the header as associated data, so no byte of the header can be changed unnoticed, nor a box be moved to another
record. ``docs/format.md`` gives both byte by byte.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kms.base import WrappedKey
from strongroom.sealed.keys import IV, SEALED_KEY, Kind, RecordKey

MAGIC = b"SRE1"
"""Opens every header: "Strongroom envelope", format 1. It is authenticated with the rest."""

_NONCE = 12
_FIXED = struct.Struct(f">4sBBQ{IV}s{SEALED_KEY}s")
_MULTIPART = 0x01


class EnvelopeInvalid(Exception):
    """A record is not one that was sealed here: damaged, altered, moved, or of an unknown format."""


@dataclass(frozen=True, slots=True)
class Header:
    """The part of an envelope that stands in the clear.

    ``size`` is the plaintext's length; ``wrapped`` the data key, None for SSE-C. ``etag`` is set where it is opaque
    and must be known without a key (SSE-C), else "".
    """

    kind: Kind
    size: int
    iv: bytes
    sealed_key: bytes
    wrapped: WrappedKey | None
    etag: str = ""
    multipart: bool = False

    def encode(self) -> bytes:
        """The header as bytes; :func:`decode_header` reads it back."""
        wrapped = self.wrapped or _NOT_WRAPPED
        flags = _MULTIPART if self.multipart else 0
        return b"".join(
            (
                _FIXED.pack(MAGIC, self.kind, flags, self.size, self.iv, self.sealed_key),
                _short(wrapped.provider.encode()),
                _short(wrapped.key_id.encode()),
                len(wrapped.ciphertext).to_bytes(2, "big"),
                wrapped.ciphertext,
                _short(self.etag.encode()),
            )
        )

    def resized(self, size: int, etag: str = "") -> Header:
        """The same header for a plaintext of ``size`` bytes."""
        return replace(self, size=size, etag=etag)


_NOT_WRAPPED = WrappedKey("", "", b"")


def decode_header(data: bytes) -> Header:
    """Read a header. Raises EnvelopeInvalid, also for a format that this release does not know."""
    if data[:4] != MAGIC:
        raise EnvelopeInvalid("the record is not of a format that this release knows")
    try:
        _, kind, flags, size, iv, sealed_key = _FIXED.unpack_from(data)
        provider, position = _take_short(data, _FIXED.size)
        key_id, position = _take_short(data, position)
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        ciphertext = data[position + 2 : end]
        etag, end = _take_short(data, end)
        if end != len(data) or flags & ~_MULTIPART or kind not in (Kind.SSE_S3, Kind.SSE_C):
            raise EnvelopeInvalid("the record is damaged")
        wrapped = WrappedKey(provider.decode(), key_id.decode(), ciphertext) if provider else None
        return Header(Kind(kind), size, iv, sealed_key, wrapped, etag.decode(), bool(flags & _MULTIPART))
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise EnvelopeInvalid("the record is damaged") from error


def seal_box(key: RecordKey, purpose: bytes, header: bytes, content: bytes) -> bytes:
    """Seal ``content`` under the record key, bound to ``purpose`` and ``header``: nonce, ciphertext, tag."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, content, _associated(purpose, header))


def open_box(key: RecordKey, purpose: bytes, header: bytes, box: bytes) -> bytes:
    """Open what :func:`seal_box` sealed. Raises EnvelopeInvalid."""
    try:
        return AESGCM(key).decrypt(box[:_NONCE], box[_NONCE:], _associated(purpose, header))
    except (InvalidTag, ValueError):
        raise EnvelopeInvalid("the record was altered, or belongs to another object") from None


def _associated(purpose: bytes, header: bytes) -> bytes:
    return b"strongroom v1 " + purpose + b"\0" + header


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _take_short(data: bytes, position: int) -> tuple[bytes, int]:
    end = position + 1 + data[position]
    if end > len(data):
        raise EnvelopeInvalid("the record is damaged")
    return data[position + 1 : end], end
