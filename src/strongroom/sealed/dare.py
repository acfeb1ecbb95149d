"""The DARE 2.0 stream format: size arithmetic, sealing and opening. Pure: bytes in, bytes out.

A stream is a sequence of packages. Each carries 1 to 65,536 bytes of plaintext and adds 32:

    0      version 0x20
    1      cipher: 0 AES-256-GCM, 1 ChaCha20-Poly1305
    2-3    plaintext length - 1, little endian
    4-15   nonce: 12 random bytes, the same in all packages of a stream, but that the top bit of the first byte is 1
           in the last package and 0 before
    16-    ciphertext, then a 16-byte tag

Package *i* is sealed with that nonce, the little-endian 32-bit number in its last four bytes XORed with *i*; bytes 0-3
are its associated data. All packages but the last are full. An empty plaintext is an empty stream, so the length must
be authenticated elsewhere: here by the record, whose size is an input of :class:`Opener`.

Source: github.com/minio/sio, "DARE 2.0"; ``docs/format.md``.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

VERSION = 0x20
AES_256_GCM = 0
CHACHA20_POLY1305 = 1

PAYLOAD = 65_536  # bytes of plaintext in a full package
HEADER = 16
TAG = 16
OVERHEAD = HEADER + TAG
PACKAGE = PAYLOAD + OVERHEAD
NONCE = 12
MAX_PLAINTEXT = PAYLOAD * 2**32  # the package number has 32 bits

_FINAL = 0x80
_DARE_1 = 0x10
_ASSOCIATED = struct.Struct("<BBH")
_COUNTER = struct.Struct("<I")

Buffer = bytes | bytearray | memoryview


class StreamInvalid(Exception):
    """A stream is not what was sealed: cut, altered, reordered, or of another key."""


def sealed_size(plaintext: int) -> int:
    """Bytes of the stream that carries ``plaintext`` bytes."""
    return plaintext + -(-plaintext // PAYLOAD) * OVERHEAD


def plaintext_size(sealed: int) -> int:
    """Bytes of plaintext in a stream of ``sealed`` bytes. Raises StreamInvalid for a size that no stream has."""
    full, rest = divmod(sealed, PACKAGE)
    if rest and rest <= OVERHEAD:
        raise StreamInvalid(f"no stream has {sealed} bytes")
    return full * PAYLOAD + (rest - OVERHEAD if rest else 0)


def package_range(start: int, length: int, size: int) -> tuple[int, int, int]:
    """Where in a stream of ``size`` plaintext bytes the ``length`` bytes from ``start`` lie.

    Returns (number of the first package, offset in the stream, bytes of the stream): whole packages.
    """
    first = start // PAYLOAD
    last = -(-(start + length) // PAYLOAD)
    begin = first * PACKAGE
    return first, begin, min(last * PACKAGE, sealed_size(size)) - begin


def new_nonce() -> bytes:
    """A nonce for a new stream: 12 random bytes, top bit 0."""
    nonce = os.urandom(NONCE)
    return bytes([nonce[0] & ~_FINAL]) + nonce[1:]


def stream_nonce(package: Buffer) -> bytes:
    """The nonce of the stream that begins with this package, top bit 0."""
    return bytes([package[4] & ~_FINAL]) + bytes(package[5:HEADER])


class Sealer:
    """Seals the packages of one stream with AES-256-GCM, in order."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._aead = AESGCM(key)
        self._nonces = _Nonces(nonce)
        self._sequence = 0

    def seal_into(self, plaintext: Buffer, final: bool, out: bytearray | memoryview) -> int:
        """Seal the next bytes of the stream into ``out``; returns how many bytes of it were written.

        Unless ``final``, the length is a multiple of PAYLOAD. ``out`` has room for ``sealed_size(len(plaintext))``.
        A ``final`` call with no bytes is right only for an empty stream.
        """
        view, target = memoryview(plaintext), memoryview(out)
        end, position = len(view), 0
        for start in range(0, end, PAYLOAD):
            chunk = view[start : start + PAYLOAD]
            last = final and start + PAYLOAD >= end
            associated = _ASSOCIATED.pack(VERSION, AES_256_GCM, len(chunk) - 1)
            shown, used = self._nonces.at(self._sequence, last)
            body = position + HEADER
            target[position : position + 4] = associated
            target[position + 4 : body] = shown
            position = body + len(chunk) + TAG
            self._aead.encrypt_into(used, chunk, associated, target[body:position])
            self._sequence += 1
        return position

    def seal(self, plaintext: Buffer, final: bool) -> bytearray:
        """As :meth:`seal_into`, with an output of its own."""
        out = bytearray(sealed_size(len(plaintext)))
        self.seal_into(plaintext, final, out)
        return out


class Opener:
    """Opens the packages of a stream of ``size`` plaintext bytes, in order, from package ``first`` on.

    ``nonce`` is the nonce that the stream must have, where the caller knows it; otherwise that of its first package.
    """

    def __init__(self, key: bytes, size: int, first: int = 0, nonce: bytes | None = None) -> None:
        self._key = key
        self._aead: AESGCM | ChaCha20Poly1305 | None = None
        self._cipher = -1
        self._nonces = _Nonces(nonce) if nonce is not None else None
        self._sequence = first
        self._last = -(-size // PAYLOAD) - 1
        self._last_length = size - self._last * PAYLOAD
        self._carry = bytearray()

    def open(self, data: Buffer) -> bytearray:
        """Take the next bytes of the stream, cut anywhere; give the plaintext of the packages that they complete.

        Raises StreamInvalid.
        """
        packages = self._packages(memoryview(data))
        out = bytearray(sum(len(package) - OVERHEAD for package in packages))
        target, position = memoryview(out), 0
        for package in packages:
            end = position + len(package) - OVERHEAD
            self._open_package(package, target[position:end])
            position = end
        return out

    def open_into(self, package: Buffer, out: memoryview) -> int:
        """Take the next package, whole, and write its plaintext into ``out``; returns how many bytes that are.

        Raises StreamInvalid.
        """
        size = len(package) - OVERHEAD
        if len(package) != self._length(self._sequence):
            raise StreamInvalid(f"package {self._sequence} has another length than was recorded")
        self._open_package(memoryview(package), out[:size])
        return size

    def _packages(self, view: memoryview) -> list[memoryview]:
        """Cut whole packages off the carry and ``view``; what is left over becomes the carry."""
        packages: list[memoryview] = []
        position = 0
        if self._carry:
            length = self._length(self._sequence)
            position = min(length - len(self._carry), len(view))
            self._carry += view[:position]
            if len(self._carry) < length:
                return packages
            packages.append(memoryview(bytes(self._carry)))
            self._carry.clear()
        while position < len(view):
            length = self._length(self._sequence + len(packages))
            if position + length > len(view):
                self._carry += view[position:]
                break
            packages.append(view[position : position + length])
            position += length
        return packages

    def _length(self, sequence: int) -> int:
        if sequence > self._last:
            raise StreamInvalid("the stream is longer than was recorded")
        return PACKAGE if sequence < self._last else self._last_length + OVERHEAD

    def _open_package(self, package: memoryview, target: memoryview) -> None:
        version, cipher, length = _ASSOCIATED.unpack_from(package)
        if version == _DARE_1:
            raise StreamInvalid("it is a DARE 1.0 stream, as MinIO wrote until mid-2018, which is not read here")
        if version != VERSION or length + 1 + OVERHEAD != len(package):
            raise StreamInvalid(f"package {self._sequence} has a damaged header")
        shown = bytes(package[4:HEADER])
        if self._nonces is None:
            self._nonces = _Nonces(stream_nonce(package))
        expected, used = self._nonces.at(self._sequence, self._sequence == self._last)
        if shown != expected:
            raise StreamInvalid(f"package {self._sequence} is out of place or of another stream")
        try:
            self._cipher_for(cipher).decrypt_into(used, package[HEADER:], package[:4], target)
        except InvalidTag:
            raise StreamInvalid(f"package {self._sequence} was altered, or sealed with another key") from None
        self._sequence += 1

    def _cipher_for(self, cipher: int) -> AESGCM | ChaCha20Poly1305:
        if self._aead is None:
            if cipher not in (AES_256_GCM, CHACHA20_POLY1305):
                raise StreamInvalid(f"the stream names an unknown cipher ({cipher})")
            self._aead = AESGCM(self._key) if cipher == AES_256_GCM else ChaCha20Poly1305(self._key)
            self._cipher = cipher
        elif cipher != self._cipher:
            raise StreamInvalid(f"package {self._sequence} names another cipher than the first")
        return self._aead


class _Nonces:
    """The nonces of one stream: as shown in a package, and as used by its cipher."""

    __slots__ = ("_counter", "_final", "_open")

    def __init__(self, nonce: bytes) -> None:
        if len(nonce) != NONCE or nonce[0] & _FINAL:
            raise StreamInvalid("a stream's nonce has 12 bytes and its top bit clear")
        self._open = nonce
        self._final = bytes([nonce[0] | _FINAL]) + nonce[1:]
        self._counter: int = _COUNTER.unpack(nonce[8:])[0]

    def at(self, sequence: int, last: bool) -> tuple[bytes, bytes]:
        shown = self._final if last else self._open
        return shown, shown[:8] + _COUNTER.pack(self._counter ^ sequence)
