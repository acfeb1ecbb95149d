"""Decoders of request bodies: plain ones, and ``aws-chunked`` ones with signed chunks and trailing headers.

No I/O: the body's bytes go in as they come from the wire, in pieces of any size, and the object's bytes come out as
views of what went in. The expensive part (SHA-256) is separate from the splitting, so that the caller can choose how
much of it is done at a time: :meth:`BodyDecoder.feed` splits, which costs microseconds; the caller then gives what came
out to :attr:`BodyDecoder.hasher`. A caller that leaves any of it out is safe: ``finish`` raises then.

Rule: pieces come out before they are verified. No object may appear under its name before ``finish`` has returned.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" and "... With
Trailing Headers" in the Amazon S3 API reference.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from hashlib import sha256
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.s3.auth.payload import ChunkedPayload, HashedPayload, Payload
from strongroom.s3.errors import S3Error
from strongroom.s3.request import Piece
from strongroom.sigv4.chunks import ChunkSigner
from strongroom.sigv4.keys import same_signature

MAX_CHUNK_HEADER = 256
"""The maximum bytes of the line that begins a chunk; a signed one with a 16-digit size has 99."""

MIN_CHUNK = 8192
"""The minimum bytes of a chunk, except for the last one with data (InvalidChunkSizeError)."""

MAX_TRAILERS = 8192
"""The maximum bytes of all trailing headers together."""

_SIGNED_HEADER = re.compile(rb"([0-9a-fA-F]{1,16});chunk-signature=([0-9a-f]{64})\r\n")
_UNSIGNED_HEADER = re.compile(rb"([0-9a-fA-F]{1,16})\r\n")
_TRAILER_NAME = re.compile(r"[a-z0-9-]{1,128}")
_TRAILER_SIGNATURE = "x-amz-trailer-signature"


class Hasher(Protocol):
    """A hash that bytes are added to."""

    def update(self, data: Buffer, /) -> None:
        """Take in the next bytes."""
        ...


class BodyDecoder(Protocol):
    """Turns a request's body, as it came, into the object's bytes."""

    @property
    def decoded_length(self) -> int | None:
        """How many bytes will come out; None if the request does not say."""
        ...

    @property
    def hasher(self) -> Hasher | None:
        """The hash that the caller has to give all object bytes to, in order, before :meth:`finish`; None if there is
        none. Its ``update`` raises SignatureDoesNotMatch.
        """
        ...

    def feed(self, data: Piece) -> list[Piece | memoryview]:
        """The object's bytes in ``data``, as views of it, in order. Raises the same errors as :meth:`finish`."""
        ...

    def finish(self) -> dict[str, str]:
        """The body has ended. Returns the trailing headers, names in lower case.

        Raises IncompleteBody (also for malformed framing), InvalidChunkSizeError, MalformedTrailerError,
        SignatureDoesNotMatch, XAmzContentSHA256Mismatch.
        """
        ...


def decoder_for(payload: Payload, headers: Mapping[str, str]) -> BodyDecoder:
    """The decoder of a body, chosen by how it has to be checked and by the request's headers (lower-case names).

    Raises MissingContentLength if the decoded length of an ``aws-chunked`` body is not given, InvalidArgument.
    """
    if isinstance(payload, ChunkedPayload):
        length = _number(headers, "x-amz-decoded-content-length")
        if length is None:
            raise S3Error("MissingContentLength")
        declared = {name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",")} - {""}
        return _ChunkedDecoder(payload, length, frozenset(declared))
    length = _number(headers, "content-length")
    if isinstance(payload, HashedPayload):
        return _HashedDecoder(length, payload.sha256)
    return _PlainDecoder(length)


def require_length(decoder: BodyDecoder) -> int:
    """The decoded length, for operations that need it. Raises MissingContentLength."""
    if decoder.decoded_length is None:
        raise S3Error("MissingContentLength")
    return decoder.decoded_length


def stored_content_encoding(value: str | None) -> str | None:
    """The object's ``content-encoding``: without ``aws-chunked``, which is about the transfer only."""
    if value is None:
        return None
    kept = [item for item in value.split(",") if item.strip().lower() not in ("aws-chunked", "")]
    return ",".join(kept).strip() or None


class _PlainDecoder:
    """A body that consists of the object's bytes and nothing else."""

    __slots__ = ("_seen", "decoded_length", "hasher")

    def __init__(self, length: int | None) -> None:
        self.decoded_length = length
        self.hasher: Hasher | None = None
        self._seen = 0

    def feed(self, data: Piece) -> list[Piece | memoryview]:
        self._seen += len(data)
        if self.decoded_length is not None and self._seen > self.decoded_length:
            raise S3Error("IncompleteBody")
        return [data]

    def finish(self) -> dict[str, str]:
        if self.decoded_length is not None and self._seen != self.decoded_length:
            raise S3Error("IncompleteBody")
        return {}


class _HashedDecoder(_PlainDecoder):
    """A plain body whose SHA-256 was signed."""

    __slots__ = ("_expected", "_hash")

    def __init__(self, length: int | None, expected: str) -> None:
        super().__init__(length)
        self._expected = expected
        self.hasher = self._hash = sha256()

    def finish(self) -> dict[str, str]:
        trailers = super().finish()
        computed = self._hash.hexdigest()
        if computed != self._expected:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._expected,
                S3ComputedContentSHA256=computed,
            )
        return trailers


class _ChunkHasher:
    """Checks the signatures of chunks: hashes their bytes, and learns their lengths and signatures beforehand."""

    __slots__ = ("_chunks", "_hash", "_left", "_provided", "_signer")

    def __init__(self, signer: ChunkSigner) -> None:
        self._signer = signer
        self._chunks: deque[tuple[int, str]] = deque()
        self._left = 0  # bytes still to come of the chunk that is being hashed
        self._provided = ""
        self._hash = sha256()

    def expect(self, size: int, signature: str) -> None:
        """The next chunk has ``size`` bytes and this signature. The last chunk has 0 bytes."""
        self._chunks.append((size, signature))

    def update(self, data: Buffer, /) -> None:
        view = memoryview(data)
        while view:
            if not self._left:
                self._left, self._provided = self._chunks.popleft()
            part, view = view[: self._left], view[self._left :]
            self._hash.update(part)
            self._left -= len(part)
            if not self._left:
                self._check(self._provided)

    def finish(self) -> None:
        """All chunks have come, including the last. Raises SignatureDoesNotMatch, also if not all bytes were hashed."""
        size, provided = self._chunks.popleft()
        if size or self._left:
            raise S3Error("SignatureDoesNotMatch")
        self._check(provided)

    def _check(self, provided: str) -> None:
        expected = self._signer.chunk(self._hash.hexdigest())
        self._hash = sha256()
        if not same_signature(expected, provided):
            raise S3Error("SignatureDoesNotMatch", SignatureProvided=provided)


class _State(Enum):
    HEADER = auto()  # the line that begins a chunk
    DATA = auto()  # a chunk's bytes
    DATA_END = auto()  # the CR LF after them
    TAIL = auto()  # what follows the last chunk's line


class _ChunkedDecoder:
    """An ``aws-chunked`` body."""

    def __init__(self, payload: ChunkedPayload, length: int, declared: frozenset[str]) -> None:
        self.decoded_length: int | None = length
        self._expected = length
        self._signer = ChunkSigner(payload.signing) if payload.signing else None
        self.hasher = self._hasher = _ChunkHasher(self._signer) if self._signer else None
        self._header = _SIGNED_HEADER if payload.signing else _UNSIGNED_HEADER
        self._trailer = payload.trailer
        self._declared = declared
        self._state = _State.HEADER
        self._line = bytearray()  # what has come so far of a line, or of the tail
        self._left = 0  # bytes still to come of this chunk
        self._total = 0  # bytes of all chunks so far, this one included
        self._small = False  # whether the latest chunk with data was under the minimum

    def feed(self, data: Piece) -> list[Piece | memoryview]:
        pieces: list[Piece | memoryview] = []
        view = memoryview(data)
        at, end = 0, len(data)
        while at < end:
            if self._state is _State.DATA:
                piece = view[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                pieces.append(piece)
                if not self._left:
                    self._state = _State.DATA_END
            elif self._state is _State.TAIL:
                self._take_tail(view[at:])
                at = end
            else:
                at = self._take_line(data, at)
        return pieces

    def finish(self) -> dict[str, str]:
        if self._state is not _State.TAIL or self._total != self._expected:
            raise _incomplete()
        if self._hasher:
            self._hasher.finish()
        if self._trailer:
            return self._parse_trailers()
        if self._line != b"\r\n":
            raise _incomplete()
        return {}

    def _take_line(self, data: Piece, at: int) -> int:
        """Take in bytes up to the end of a line; act on it once it is whole. Returns where in ``data`` to go on."""
        newline = data.find(b"\n", at, at + MAX_CHUNK_HEADER)
        stop = newline + 1 if newline >= 0 else len(data)
        if len(self._line) + stop - at > MAX_CHUNK_HEADER:
            raise _incomplete()
        self._line += data[at:stop]
        if newline >= 0:
            line = bytes(self._line)
            self._line.clear()
            if self._state is _State.HEADER:
                self._begin_chunk(line)
            elif line != b"\r\n":
                raise _incomplete()
            else:
                self._state = _State.HEADER
        return stop

    def _begin_chunk(self, line: bytes) -> None:
        match = self._header.fullmatch(line)
        if match is None:
            raise _incomplete()
        size = int(match[1], 16)
        if self._hasher:
            self._hasher.expect(size, match[2].decode())
        if not size:
            self._state = _State.TAIL
            return
        if self._small:
            raise S3Error("InvalidChunkSizeError")
        self._small = size < MIN_CHUNK
        self._total += size
        if self._total > self._expected:
            raise S3Error("IncompleteBody")
        self._left = size
        self._state = _State.DATA

    def _take_tail(self, data: memoryview) -> None:
        if len(self._line) + len(data) > (MAX_TRAILERS if self._trailer else len(b"\r\n")):
            raise S3Error("MalformedTrailerError") if self._trailer else _incomplete()
        self._line += data

    def _parse_trailers(self) -> dict[str, str]:
        """Read the trailing headers. Lines end in CR LF or LF, and empty ones are skipped: clients differ there."""
        if not self._line.endswith(b"\n"):
            raise _incomplete()
        trailers: dict[str, str] = {}
        for line in self._line.decode("latin-1").splitlines():
            if not line:
                continue
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not colon or name in trailers or not _TRAILER_NAME.fullmatch(name):
                raise S3Error("MalformedTrailerError")
            trailers[name] = value.strip()
        provided = trailers.pop(_TRAILER_SIGNATURE, None)
        if self._signer:
            signed = "".join(f"{name}:{value}\n" for name, value in trailers.items())
            expected = self._signer.trailer(sha256(signed.encode("latin-1")).hexdigest())
            if provided is None or not same_signature(expected, provided):
                raise S3Error("SignatureDoesNotMatch", SignatureProvided=provided or "")
        if trailers.keys() != self._declared:
            raise S3Error("MalformedTrailerError")
        return trailers


def _number(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise S3Error(
            "InvalidArgument", f"{name} must be a number of bytes.", ArgumentName=name, ArgumentValue=text[:256]
        )
    return int(text)


def _incomplete() -> S3Error:
    return S3Error("IncompleteBody", "The request body terminated unexpectedly")
