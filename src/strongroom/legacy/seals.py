"""The keys of a legacy object, below its data key or the client's key. Pure.

external key   a data key (SSE-S3), or the client's key (SSE-C)
  └─ sealing key   HMAC-SHA256(external key, IV ‖ domain ‖ seal algorithm ‖ "bucket/key")
       └─ object key   a DARE package under the sealing key
            ├─ part key n   HMAC-SHA256(object key, n as 32-bit little endian), as in our own format
            └─ ETag key     HMAC-SHA256(object key, "SSE-etag"), if the ETag was sealed
"""

from __future__ import annotations

import hmac

from strongroom.legacy.document import SEAL_ALGORITHM, SSE_C, LegacyObject, Sealing
from strongroom.legacy.errors import LegacyDamaged
from strongroom.legacy.package import PackageRefused, open_package

_SEALED_ETAG = 2 * (16 + 16 + 16)  # hexadecimal digits of a sealed MD5
_MD5 = 32


def open_object_key(external: bytes, sealing: Sealing, name: str) -> bytes:
    """The object key (32 bytes) of the object ``name`` (made by :func:`~strongroom.legacy.context.bound_name`).

    Raises PackageRefused if ``external`` or the name is wrong; LegacyDamaged.
    """
    text = f"{sealing.domain}{SEAL_ALGORITHM}{name}".encode()
    object_key = open_package(hmac.digest(external, sealing.iv + text, "sha256"), sealing.sealed_key)
    if len(object_key) != 32:
        raise LegacyDamaged("its object key does not have 32 bytes")
    return object_key


def etag_without_key(legacy: LegacyObject) -> str | None:
    """The ETag that MinIO showed, if the object key is not needed to find it; else None."""
    if legacy.sealing is None or legacy.parts is not None:
        return legacy.etag
    if legacy.sealing.domain == SSE_C:
        return legacy.etag[-_MD5:]
    return None if _sealed(legacy.etag) else legacy.etag


def etag_with_key(legacy: LegacyObject, object_key: bytes) -> str:
    """The ETag that MinIO showed. Raises LegacyDamaged if it is sealed and does not open."""
    shown = etag_without_key(legacy)
    if shown is not None:
        return shown
    try:
        return open_package(hmac.digest(object_key, b"SSE-etag", "sha256"), bytes.fromhex(legacy.etag)).hex()
    except PackageRefused:
        raise LegacyDamaged("its sealed ETag does not open") from None


def _sealed(etag: str) -> bool:
    return len(etag) == _SEALED_ETAG and all(c in "0123456789abcdef" for c in etag)
