"""The envelope: what stands in the record of an encrypted object, as bytes. Pure: encode, decode, seal, open.

A *header* stands in the clear and says how the object key is sealed; *boxes* hold the rest, sealed under the record key
with the header as associated data, so that no byte of the header can be changed, and no box moved to another record,
without being noticed. ``docs/format.md`` specifies both byte by byte.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kms.base import WrappedKey
from strongroom.sealed.keys import IV, SEALED_KEY, Kind, RecordKey

MAGIC = b"SRE1"
"""Opens every header: "Strongroom envelope", format 1. It is authenticated with the rest."""

_NONCE = 12
_START = b"strongroom v1 "
_FIXED = struct.Struct(f">4sBBQ{IV}s{SEALED_KEY}s")
_SIZE = slice(6, 14)
_MAX_SIZE = 2**63 - 1  # what clients can read
_PROVIDER = _FIXED.size  # where the length of the provider's name stands
_MULTIPART, _BUCKET_KEY, _NAMED = 0x01, 0x02, 0x04
_OF_SSE_KMS = _BUCKET_KEY | _NAMED
_ENCRYPTED = {int(kind): kind for kind in (Kind.SSE_S3, Kind.SSE_C, Kind.SSE_KMS)}


class EnvelopeInvalid(Exception):
    """A record is not one that was sealed here: damaged, altered, moved, or of an unknown format."""


class Header(NamedTuple):
    """The part of an envelope that stands in the clear.

    ``size`` is the plaintext's length in bytes; ``wrapped`` the wrapped data key, None for SSE-C. ``etag`` is set if it
    is opaque and must be known without a key (SSE-C, SSE-KMS), else "". ``context`` is what the client binds the data
    key to (SSE-KMS), as :mod:`strongroom.sealed.context` writes it; ``bucket_key``: the data key is that of the
    bucket; ``named``: the client, or its bucket, named the master key.

    It is a named tuple, as are the other values that each request creates, because that takes a third of the time of a
    frozen dataclass.
    """

    kind: Kind
    size: int
    iv: bytes
    sealed_key: bytes
    wrapped: WrappedKey | None
    etag: str = ""
    multipart: bool = False
    context: str = ""
    bucket_key: bool = False
    named: bool = False

    def encode(self) -> bytes:
        """The header as bytes; :func:`decode_header` reads it back."""
        wrapped = self.wrapped or _NOT_WRAPPED
        flags = _MULTIPART if self.multipart else 0
        if self.kind is Kind.SSE_KMS:
            flags |= (_BUCKET_KEY if self.bucket_key else 0) | (_NAMED if self.named else 0)
        return b"".join(
            (
                _FIXED.pack(MAGIC, self.kind, flags, self.size, self.iv, self.sealed_key),
                _short(wrapped.provider.encode()),
                _short(wrapped.key_id.encode()),
                len(wrapped.ciphertext).to_bytes(2, "big"),
                wrapped.ciphertext,
                _short(self.etag.encode()),
                self.context.encode(),
            )
        )

    def resized(self, size: int, etag: str = "") -> Header:
        """The same header for a plaintext of ``size`` bytes."""
        kind, _, iv, sealed_key, wrapped, _, multipart, context, bucket_key, named = self
        return Header(kind, size, iv, sealed_key, wrapped, etag, multipart, context, bucket_key, named)


_NOT_WRAPPED = WrappedKey("", "", b"")


def decode_header(data: bytes) -> Header:
    """Read a header. Raises EnvelopeInvalid, also for a format that this release does not know."""
    if data[:4] != MAGIC:
        raise EnvelopeInvalid("the record is not of a format that this release knows")
    try:
        _, number, flags, size, iv, sealed_key = _FIXED.unpack_from(data)
        # Each length is read where the field before ends. If that is beyond the data, reading the next length raises
        # IndexError; if it was the last field, ``end`` differs from the end of the data.
        key_id_at = _PROVIDER + 1 + data[_PROVIDER]
        ciphertext_at = key_id_at + 1 + data[key_id_at]
        etag_at = ciphertext_at + 2 + (data[ciphertext_at] << 8 | data[ciphertext_at + 1])
        end = etag_at + 1 + data[etag_at]
        kind = _ENCRYPTED.get(number)
        if (end != len(data) and (kind is not Kind.SSE_KMS or end > len(data))) or flags > 7 or kind is None:
            raise EnvelopeInvalid("the record is damaged")
        if flags & _OF_SSE_KMS and kind is not Kind.SSE_KMS:
            raise EnvelopeInvalid("the record is damaged")
        provider = data[_PROVIDER + 1 : key_id_at].decode()
        key_id = data[key_id_at + 1 : ciphertext_at].decode()
        wrapped = WrappedKey(provider, key_id, data[ciphertext_at + 2 : etag_at]) if provider else None
        etag, context = data[etag_at + 1 : end].decode(), data[end:].decode()
        if size > _MAX_SIZE or not etag.isprintable():  # listings show both as they are: clients would read no page
            raise EnvelopeInvalid("the record is damaged")
        multipart, of_bucket, named = bool(flags & _MULTIPART), bool(flags & _BUCKET_KEY), bool(flags & _NAMED)
        return Header(kind, size, iv, sealed_key, wrapped, etag, multipart, context, of_bucket, named)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise EnvelopeInvalid("the record is damaged") from error


def size_in(header: bytes) -> int:
    """The plaintext's length in bytes, from a header that is known to be genuine: nothing else of it is looked at.

    Raises EnvelopeInvalid for a format that this release does not know.
    """
    if header[:4] != MAGIC:
        raise EnvelopeInvalid("the record is not of a format that this release knows")
    return int.from_bytes(header[_SIZE], "big")


def seal_box(key: RecordKey, purpose: bytes, header: bytes, content: bytes) -> bytes:
    """Seal ``content`` under the record key, bound to ``purpose`` and ``header``: nonce, ciphertext, tag."""
    return seal_with(AESGCM(key), purpose, header, content)


def seal_with(aead: AESGCM, purpose: bytes, bound: bytes, content: bytes) -> bytes:
    """As :func:`seal_box`, with a cipher that is kept for many boxes of one key."""
    nonce = os.urandom(_NONCE)
    return nonce + aead.encrypt(nonce, content, _START + purpose + b"\0" + bound)


def open_box(key: RecordKey, purpose: bytes, header: bytes, box: bytes) -> bytes:
    """Open what :func:`seal_box` sealed. Raises EnvelopeInvalid."""
    return open_with(AESGCM(key), purpose, header, box)


def open_with(aead: AESGCM, purpose: bytes, bound: bytes, box: bytes) -> bytes:
    """Open what :func:`seal_with` sealed. Raises EnvelopeInvalid."""
    try:
        return aead.decrypt(box[:_NONCE], box[_NONCE:], _START + purpose + b"\0" + bound)
    except (InvalidTag, ValueError):
        raise EnvelopeInvalid("the record was altered, or belongs to another object") from None


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data
