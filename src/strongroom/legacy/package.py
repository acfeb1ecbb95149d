"""A DARE 2.0 stream of one package, the form in which MinIO sealed keys and ETags. Pure.

The whole stream format is in :mod:`strongroom.sealed.dare`. This part is here because the KMS needs it to open data
keys, and must not depend on that package.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

_VERSION = 0x20
_HEADER, _TAG = 16, 16
_FINAL = 0x80
_CIPHERS: dict[int, type[AESGCM] | type[ChaCha20Poly1305]] = {0: AESGCM, 1: ChaCha20Poly1305}

SEALED_KEY = _HEADER + 32 + _TAG
"""Bytes of a sealed key."""


_FULL = 65_536


def looks_sealed(start: bytes, size: int) -> bool:
    """Whether a file of ``size`` bytes that begins with ``start`` (5 bytes or more) looks like a DARE 2.0 stream."""
    if len(start) < 5 or start[0] != _VERSION or start[1] not in _CIPHERS:
        return False
    length, final = int.from_bytes(start[2:4], "little") + 1, bool(start[4] & _FINAL)
    whole = length + _HEADER + _TAG
    return whole == size if final else length == _FULL and whole < size


class PackageRefused(Exception):
    """The package does not open: the key is wrong, or the package was altered."""


def open_package(key: bytes, package: bytes) -> bytes:
    """The plaintext of a stream of exactly one package. Raises PackageRefused."""
    length = len(package) - _HEADER - _TAG
    if length < 1 or package[0] != _VERSION or package[1] not in _CIPHERS:
        raise PackageRefused("not a sealed package")
    if int.from_bytes(package[2:4], "little") + 1 != length or not package[4] & _FINAL:
        raise PackageRefused("a package with a damaged header")
    try:
        return _CIPHERS[package[1]](key).decrypt(package[4:_HEADER], package[_HEADER:], package[:4])
    except InvalidTag:
        raise PackageRefused("the package does not open") from None
