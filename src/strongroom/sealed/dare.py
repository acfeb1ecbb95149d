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
TURN = 4
"""Packages that the event loop seals or opens before others have their turn: some 30 µs, less than it hashes one in."""

_FINAL = 0x80
_DARE_1 = 0x10
_ASSOCIATED = struct.Struct("<BBH")
_COUNTER = struct.Struct("<I")

_CIPHERS: dict[int, type[AESGCM | ChaCha20Poly1305]] = {AES_256_GCM: AESGCM, CHACHA20_POLY1305: ChaCha20Poly1305}

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
        if len(nonce) != NONCE or nonce[0] & _FINAL:
            raise ValueError("a stream's nonce has 12 bytes and its top bit clear")
        self._aead = AESGCM(key)
        self._nonce = nonce
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
            shown = bytes((self._nonce[0] | _FINAL,)) + self._nonce[1:] if last else self._nonce
            body = position + HEADER
            target[position:body] = associated + shown
            position = body + len(chunk) + TAG
            self._aead.encrypt_into(_used(shown, self._sequence), chunk, associated, target[body:position])
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
        self._nonce = nonce
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
        sequence = self._sequence
        cipher, nonce = _read_header(package, sequence, sequence == self._last, self._nonce)
        if self._aead is None:
            self._nonce = stream_nonce(package)
            self._aead, self._cipher = _CIPHERS[cipher](self._key), cipher
        elif cipher != self._cipher:
            raise StreamInvalid(f"package {sequence} names another cipher than the first")
        try:
            self._aead.decrypt_into(nonce, package[HEADER:], package[:4], target)
        except InvalidTag:
            raise _altered(sequence) from None
        self._sequence += 1


def open_whole(key: bytes, size: int, stream: bytes, nonce: bytes | None = None) -> bytes:
    """Open a whole stream of one package, or none: at most PAYLOAD bytes of plaintext, otherwise as :class:`Opener`.

    Raises StreamInvalid.
    """
    if len(stream) != sealed_size(size):
        raise StreamInvalid("the stream is not as long as was recorded")
    if not size:
        return b""
    cipher, used = _read_header(stream, 0, True, nonce)
    try:
        return _CIPHERS[cipher](key).decrypt(used, memoryview(stream)[HEADER:], stream[:4])
    except InvalidTag:
        raise _altered(0) from None


def _read_header(package: Buffer, sequence: int, last: bool, nonce: bytes | None) -> tuple[int, bytes]:
    """The cipher that a package names, and the nonce for it.

    Raises StreamInvalid where it is not package ``sequence`` of the stream with this ``nonce`` (None: of any stream).
    """
    version, cipher, length = _ASSOCIATED.unpack_from(package)
    if version == _DARE_1:
        raise StreamInvalid("it is a DARE 1.0 stream, as MinIO wrote until mid-2018, which is not read here")
    if version != VERSION or length + 1 + OVERHEAD != len(package):
        raise StreamInvalid(f"package {sequence} has a damaged header")
    if cipher not in _CIPHERS:
        raise StreamInvalid(f"package {sequence} names an unknown cipher ({cipher})")
    shown = bytes(package[4:HEADER])
    if (shown[0] >= _FINAL) != last or (nonce is not None and stream_nonce(package) != nonce):
        raise StreamInvalid(f"package {sequence} is out of place or of another stream")
    return cipher, _used(shown, sequence)


def _altered(sequence: int) -> StreamInvalid:
    return StreamInvalid(f"package {sequence} was altered, or sealed with another key")


def _used(shown: bytes, sequence: int) -> bytes:
    """The nonce that the cipher uses for a package which shows ``shown``."""
    if not sequence:
        return shown
    counter: int = _COUNTER.unpack_from(shown, 8)[0]
    return shown[:8] + _COUNTER.pack(counter ^ sequence)
