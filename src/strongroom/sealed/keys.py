"""The keys of an object: how each comes from the one above it. Pure functions.

    external key   32 bytes: a data key that the KMS wrapped (SSE-S3, SSE-KMS), or the client's key (SSE-C)
      └─ sealing key   HMAC-SHA256(external key, "strongroom v1 seal" ‖ 0 ‖ kind ‖ IV ‖ bucket ‖ "/" ‖ key)
           └─ object key   32 random bytes, sealed under the sealing key with AES-256-GCM, nonce 0
                ├─ record key   HMAC-SHA256(object key, "strongroom v1 record")
                ├─ nonce        HMAC-SHA256(object key, "strongroom v1 nonce"), 95 bits of it, of the only stream
                ├─ part key n   HMAC-SHA256(object key, n as 32-bit little endian)
                └─ the stream of an object that was not uploaded in parts is sealed with the object key itself

Each IV (32 random bytes) gives another sealing key, which therefore seals one message, so that a fixed nonce is safe.
Part keys, and the object key as the key of a single stream, are as in MinIO's format, so that its streams can be taken
over as they are. The inputs of the HMACs under the object key have different lengths: none can be mistaken for another.
"""

from __future__ import annotations

import hmac
import os
from enum import IntEnum
from typing import NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.secret import Secret

ExternalKey = NewType("ExternalKey", bytes)
ObjectKey = NewType("ObjectKey", bytes)
RecordKey = NewType("RecordKey", bytes)

IV = 32
SEALED_KEY = 32 + 16

_ZERO_NONCE = bytes(12)
_RECORD = b"strongroom v1 record"
_NONCE = b"strongroom v1 nonce"


class Kind(IntEnum):
    """How an object is encrypted. The numbers are part of the format."""

    PLAIN = 0
    SSE_S3 = 1
    SSE_C = 2
    SSE_KMS = 3


KIND_NAMES = {Kind.PLAIN: "none", Kind.SSE_S3: "SSE-S3", Kind.SSE_C: "SSE-C", Kind.SSE_KMS: "SSE-KMS"}
"""How reports and records call them."""

_SEAL = {kind: b"strongroom v1 seal\0" + bytes((kind,)) for kind in Kind}


class KeyRefused(Exception):
    """A sealed object key does not open: it was sealed with another external key or for another name, or altered."""


def new_object_key() -> ObjectKey:
    """32 random bytes."""
    return ObjectKey(os.urandom(32))


def new_iv() -> bytes:
    """32 random bytes, for one sealing."""
    return os.urandom(IV)


def seal_object_key(external: ExternalKey, object_key: ObjectKey, kind: Kind, iv: bytes, name: str) -> bytes:
    """Seal an object key for the object ``name`` ("bucket/key"): 48 bytes."""
    return AESGCM(_sealing_key(external, kind, iv, name)).encrypt(_ZERO_NONCE, object_key, None)


def open_object_key(external: ExternalKey, sealed: bytes, kind: Kind, iv: bytes, name: str) -> ObjectKey:
    """Open a sealed object key. Raises KeyRefused."""
    try:
        return ObjectKey(AESGCM(_sealing_key(external, kind, iv, name)).decrypt(_ZERO_NONCE, sealed, None))
    except InvalidTag:
        raise KeyRefused(f"the sealed object key of {name!r} does not open") from None


def record_key(object_key: ObjectKey) -> RecordKey:
    """The key that seals what is recorded of the object. It does not open the data."""
    return RecordKey(hmac.digest(object_key, _RECORD, "sha256"))


def only_nonce(object_key: ObjectKey) -> bytes:
    """The nonce of the stream of an object that was not uploaded in parts: 12 bytes, the top bit 0.

    The object key seals only this stream, so the nonce need not be random. Because it is derived, whoever reads a range
    can tell that the packages were not moved (see :mod:`strongroom.sealed.reading`).
    """
    nonce = hmac.digest(object_key, _NONCE, "sha256")[:12]
    return bytes((nonce[0] & 0x7F,)) + nonce[1:]


def part_key(object_key: ObjectKey, number: int) -> bytes:
    """The key of the stream of part ``number`` (1 to 10,000)."""
    return hmac.digest(object_key, number.to_bytes(4, "little"), "sha256")


def backend_key(customer_key: Secret, bucket: str, key: str) -> Secret:
    """The SSE-C key for a storage that encrypts once more, derived from the client's key as MinIO derives it."""
    return Secret(hmac.digest(customer_key.reveal(), f"SSE-C{bucket}/{key}".encode(), "sha256"))


def _sealing_key(external: ExternalKey, kind: Kind, iv: bytes, name: str) -> bytes:
    return hmac.digest(external, _SEAL[kind] + iv + name.encode(), "sha256")
