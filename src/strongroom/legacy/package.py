"""A DARE 2.0 stream of one package, as MinIO sealed keys and ETags with it. Pure.

The stream format as such is in :mod:`strongroom.sealed.dare`; this much of it is needed below that, where data keys
are opened.
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


class PackageRefused(Exception):
    """The package does not open: another key, or it was altered."""


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
