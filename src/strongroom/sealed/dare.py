"""The DARE 2.0 stream format: size arithmetic, sealing and opening. Pure: bytes in, bytes out.

A stream is a sequence of packages. Each carries 1 to 65,536 bytes of plaintext and adds 32:

    0      version 0x20
    1      cipher: 0 AES-256-GCM, 1 ChaCha20-Poly1305
    2-3    plaintext length - 1, little endian
    4-15   nonce: 12 random bytes, the same in all packages of a stream, except for the top bit of the first byte:
           1 in the last package, 0 in all others
    16-    ciphertext, then a 16-byte tag

Package *i* is sealed with that nonce, the little-endian 32-bit number in its last four bytes XORed with *i*; bytes 0-3
are its associated data. All packages but the last are full. An empty plaintext is an empty stream, so the length must
be authenticated elsewhere: here by the record, whose size is an input of :class:`Opener`.

Headers do not authenticate the nonce by themselves: whoever alters the nonce in the headers by i XOR j can put package
i in the place of j, and it opens there. The last package has no other place: if it opens, the nonce is right.

Source: github.com/minio/sio, "DARE 2.0"; ``docs/format.md``.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from strongroom.buffers import Buffer, unfilled

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
"""Packages that the event loop seals or opens before other tasks run: some 30 µs, less than hashing one would take."""

_FINAL = 0x80
_DARE_1 = 0x10
_ASSOCIATED = struct.Struct("<BBH")
_COUNTER = struct.Struct("<I")

_CIPHERS: dict[int, type[AESGCM | ChaCha20Poly1305]] = {AES_256_GCM: AESGCM, CHACHA20_POLY1305: ChaCha20Poly1305}


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


def last_package(size: int) -> tuple[int, int, int]:
    """As :func:`package_range`, of the last package of a stream that is not empty."""
    return package_range(size - 1, 1, size)


def new_nonce() -> bytes:
    """A nonce for a new stream: 12 random bytes, top bit 0."""
    nonce = os.urandom(NONCE)
    return bytes([nonce[0] & ~_FINAL]) + nonce[1:]


def stream_nonce(package: Buffer) -> bytes:
    """The nonce of the stream that begins with this package, top bit 0."""
    return bytes([package[4] & ~_FINAL]) + bytes(package[5:HEADER])


class _Full:
    """A header taken apart. All full packages of a stream but the last share it, and most of their nonces."""

    __slots__ = ("_counter", "_fixed", "associated", "header")

    def __init__(self, header: bytes) -> None:
        self.header = header
        self.associated = header[: _ASSOCIATED.size]
        self._fixed = header[_ASSOCIATED.size : -_COUNTER.size]
        self._counter: int = _COUNTER.unpack_from(header, HEADER - _COUNTER.size)[0]

    def nonce(self, sequence: int) -> bytes:
        """The nonce that the cipher uses for a package."""
        return self._fixed + _COUNTER.pack(self._counter ^ sequence)


class Sealer:
    """Seals the packages of one stream with AES-256-GCM, in order."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        if len(nonce) != NONCE or nonce[0] & _FINAL:
            raise ValueError("a stream's nonce has 12 bytes and its top bit clear")
        self._aead = AESGCM(key)
        self._nonce = nonce
        self._full: _Full | None = None
        self._sequence = 0

    def seal_into(self, plaintext: Buffer, final: bool, out: bytearray | memoryview) -> int:
        """Seal the next bytes of the stream into ``out``; returns how many bytes were written to it.

        Unless ``final``, the length is a multiple of PAYLOAD. ``out`` has room for ``sealed_size(len(plaintext))``.
        A ``final`` call with no bytes is right only for an empty stream.
        """
        view, target, position = memoryview(plaintext), memoryview(out), 0
        last = (len(view) - 1) // PAYLOAD * PAYLOAD if final else len(view)
        if last % PAYLOAD:
            raise ValueError("only the last package of a stream may be short")
        if last > 0:
            if self._full is None:
                self._full = _Full(_ASSOCIATED.pack(VERSION, AES_256_GCM, PAYLOAD - 1) + self._nonce)
            full = self._full
            for start in range(0, last, PAYLOAD):
                body = position + HEADER
                target[position:body] = full.header
                position += PACKAGE
                nonce, payload = full.nonce(self._sequence), view[start : start + PAYLOAD]
                self._aead.encrypt_into(nonce, payload, full.associated, target[body:position])
                self._sequence += 1
        if rest := view[last:]:
            associated = _ASSOCIATED.pack(VERSION, AES_256_GCM, len(rest) - 1)
            header = associated + bytes((self._nonce[0] | _FINAL,)) + self._nonce[1:]
            body = position + HEADER
            target[position:body] = header
            position = body + len(rest) + TAG
            self._aead.encrypt_into(_nonce_of(header, self._sequence), rest, associated, target[body:position])
            self._sequence += 1
        return position

    def seal(self, plaintext: Buffer, final: bool) -> bytearray:
        """As :meth:`seal_into`, into a new buffer."""
        out = unfilled(sealed_size(len(plaintext)))
        self.seal_into(plaintext, final, out)
        return out


class Opener:
    """Opens the packages of a stream of ``size`` plaintext bytes, in order, from package ``first`` on.

    ``nonce`` is the nonce that the stream must have, if the caller knows it; otherwise that of its first package is
    taken.
    """

    def __init__(self, key: bytes, size: int, first: int = 0, nonce: bytes | None = None) -> None:
        self._key = key
        self._aead: AESGCM | ChaCha20Poly1305 | None = None
        self._cipher = -1
        self._nonce = nonce
        self._full: _Full | None = None  # where many packages come at a time
        self._sequence = first
        self._last = -(-size // PAYLOAD) - 1
        self._last_length = size - self._last * PAYLOAD
        self._carry = bytearray()

    @property
    def nonce(self) -> bytes | None:
        """The nonce that the stream must have; None before the first package if the caller did not know it."""
        return self._nonce

    def open(self, data: Buffer) -> bytearray:
        """Take the next bytes of the stream, cut anywhere; returns the plaintext of the packages that they complete.

        Raises StreamInvalid.
        """
        view, first, begin = memoryview(data), b"", 0
        if self._carry:
            length = self._length(self._sequence)
            begin = min(length - len(self._carry), len(view))
            self._carry += view[:begin]
            if len(self._carry) < length:
                return bytearray()
            first = bytes(self._carry)
            self._carry.clear()
        end = begin + self._whole(len(view) - begin, self._sequence + bool(first))
        self._carry += view[end:]
        out = unfilled(plaintext_size(len(first)) + plaintext_size(end - begin))
        at = self.open_into(first, out)
        self.open_into(view[begin:end], memoryview(out)[at:])
        return out

    def open_packages(self, packages: Buffer) -> bytearray:
        """As :meth:`open_into`, into a new buffer."""
        out = unfilled(plaintext_size(len(packages)))
        self.open_into(packages, out)
        return out

    def open_into(self, packages: Buffer, out: bytearray | memoryview) -> int:
        """Take the next packages, whole ones, and write their plaintext into ``out``; returns its length.

        Raises StreamInvalid.
        """
        view, target = memoryview(packages), memoryview(out)
        begin, position, size = 0, 0, len(view)
        while begin < size:
            full, end, sequence = self._full, begin + PACKAGE, self._sequence
            if (
                full is not None
                and sequence < self._last
                and end <= size
                and view[begin : begin + HEADER] == full.header
            ):
                nonce, associated = full.nonce(sequence), full.associated
            else:
                end = begin + self._length(sequence)
                nonce, associated = self._look_at(view[begin:end], end - begin)
                if full is None and size - end > PACKAGE:  # worth the effort only if more full packages follow
                    self._full = _Full(bytes(view[begin : begin + HEADER]))
            stop = position + end - begin - OVERHEAD
            try:
                assert self._aead is not None
                self._aead.decrypt_into(nonce, view[begin + HEADER : end], associated, target[position:stop])
            except InvalidTag:
                raise _altered(sequence) from None
            self._sequence += 1
            begin, position = end, stop
        return position

    def _look_at(self, package: memoryview, length: int) -> tuple[bytes, bytes]:
        """The nonce and the associated data of a package that is not known to have the common header: the first one,
        the last one, or a wrong one. Raises StreamInvalid.
        """
        sequence = self._sequence
        if len(package) != length:
            raise StreamInvalid(f"package {sequence} has another length than was recorded")
        cipher, nonce = _read_header(package, sequence, sequence == self._last, self._nonce)
        if self._aead is None:
            self._nonce = stream_nonce(package)
            self._aead, self._cipher = _CIPHERS[cipher](self._key), cipher
        elif cipher != self._cipher:
            raise StreamInvalid(f"package {sequence} names another cipher than the first")
        return nonce, bytes(package[: _ASSOCIATED.size])

    def _whole(self, available: int, sequence: int) -> int:
        """How many of the ``available`` bytes from package ``sequence`` on are whole packages. Raises StreamInvalid if
        there are more than the stream has.
        """
        left = self._last - sequence + 1
        size = min(available // PACKAGE, max(0, left - 1)) * PACKAGE
        rest = available - size
        last = self._last_length + OVERHEAD
        if left > 0 and size == (left - 1) * PACKAGE and rest >= last:
            left, size, rest = 0, size + last, rest - last
        if left <= 0 and rest:
            raise StreamInvalid("the stream is longer than was recorded")
        return size

    def _length(self, sequence: int) -> int:
        if sequence > self._last:
            raise StreamInvalid("the stream is longer than was recorded")
        return PACKAGE if sequence < self._last else self._last_length + OVERHEAD


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

    Raises StreamInvalid if it is not package ``sequence`` of the stream with this ``nonce`` (None: of any stream).
    """
    version, cipher, length = _ASSOCIATED.unpack_from(package)
    if version == _DARE_1:
        raise StreamInvalid("it is a DARE 1.0 stream, as MinIO wrote until mid-2018, which is not read here")
    if version != VERSION or length + 1 + OVERHEAD != len(package):
        raise StreamInvalid(f"package {sequence} has a damaged header")
    if cipher not in _CIPHERS:
        raise StreamInvalid(f"package {sequence} names an unknown cipher ({cipher})")
    if (package[4] >= _FINAL) != last or (nonce is not None and stream_nonce(package) != nonce):
        raise StreamInvalid(f"package {sequence} is out of place or of another stream")
    return cipher, _nonce_of(bytes(package[:HEADER]), sequence)


def _altered(sequence: int) -> StreamInvalid:
    return StreamInvalid(f"package {sequence} was altered, or sealed with another key")


def _nonce_of(header: bytes, sequence: int) -> bytes:
    """The nonce that the cipher uses for a package with this header."""
    return _Full(header).nonce(sequence) if sequence else header[_ASSOCIATED.size :]
