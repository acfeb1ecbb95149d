"""S3's checksums: computing them, reading them from a request, comparing them, and combining those of parts.

Digests are raw bytes here (CRCs big-endian), and base64 on the wire. Knows nothing of bodies and objects.

Source: "Checking object integrity" in the Amazon S3 User Guide, and the checksum headers of the API reference.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import xxhash
from awscrt import checksums as crt

from strongroom.buffers import Buffer
from strongroom.s3.errors import S3Error


class Algorithm(StrEnum):
    """A checksum algorithm, by its name in S3."""

    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    MD5 = "MD5"
    SHA1 = "SHA1"
    SHA256 = "SHA256"
    SHA512 = "SHA512"
    XXHASH128 = "XXHASH128"
    XXHASH3 = "XXHASH3"
    XXHASH64 = "XXHASH64"

    @property
    def header(self) -> str:
        """The header (or trailer, or form field) that carries its value: ``x-amz-checksum-crc32``, say."""
        return f"x-amz-checksum-{self.lower()}"

    @property
    def member(self) -> str:
        """The field of the shapes that carries its value: ``checksum_crc32``, say."""
        return f"checksum_{self.lower()}"

    @property
    def size(self) -> int:
        """Bytes in a raw digest."""
        return _KINDS[self].size


class ChecksumType(StrEnum):
    """What the checksum of a multipart object is computed over."""

    COMPOSITE = "COMPOSITE"
    FULL_OBJECT = "FULL_OBJECT"


class Hasher(Protocol):
    """A checksum that is being computed. May be updated in worker threads, one call at a time."""

    def update(self, data: Buffer, /) -> None:
        """Take in the next bytes."""
        ...

    def digest(self) -> bytes:
        """The raw digest of all that was taken in."""
        ...


class _Crc:
    """A cyclic redundancy check; the digest is big-endian."""

    __slots__ = ("_function", "_size", "_value")

    def __init__(self, function: Callable[[Buffer, int], int], size: int) -> None:
        self._function = function
        self._size = size
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def hasher(algorithm: Algorithm) -> Hasher:
    """A new hasher for this algorithm."""
    return _KINDS[algorithm].new()


# -- what a request says -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expected:
    """The checksum that a client announces for its body; ``value``: the raw digest, None if it comes in a trailer."""

    algorithm: Algorithm
    value: bytes | None

    def check(self, digest: bytes, trailers: Mapping[str, str]) -> None:
        """Compare with what was computed. ``trailers`` come from the body's decoder. Raises BadDigest,
        InvalidRequest, MalformedTrailerError.
        """
        value = self.value
        if value is None:
            text = trailers.get(self.algorithm.header)
            if text is None:
                raise S3Error("MalformedTrailerError")
            value = parse_value(self.algorithm, text, "trailing header")
        if not hmac.compare_digest(value, digest):
            raise S3Error("BadDigest", f"The {self.algorithm} you specified did not match the calculated checksum.")


def expected(headers: Mapping[str, str]) -> Expected | None:
    """The checksum that a request has for its body, in a header or a trailer; None if there is none.

    Names are lower-case; ``headers`` may be a form's fields. Raises InvalidRequest for two checksums, for a value that
    cannot be a digest of its algorithm, for an unknown algorithm, and if an announced checksum is missing.
    """
    found = brought(headers)
    trailing = _trailing(headers["x-amz-trailer"]) if "x-amz-trailer" in headers else []
    if len(found) + len(trailing) > 1:
        raise _several()
    promised: Expected | None = None
    if found:
        promised = Expected(found[0], parse_value(found[0], headers[found[0].header]))
    elif trailing:
        promised = Expected(trailing[0], None)
    _check_announced(headers.get("x-amz-sdk-checksum-algorithm"), promised)
    return promised


def wanted(headers: Mapping[str, str]) -> Algorithm | None:
    """The algorithm of ``x-amz-checksum-algorithm`` (CreateMultipartUpload, CopyObject). Raises InvalidRequest."""
    text = headers.get("x-amz-checksum-algorithm")
    return None if text is None else parse_algorithm(text)


def multipart(headers: Mapping[str, str]) -> tuple[Algorithm, ChecksumType] | None:
    """What CreateMultipartUpload asks for: an algorithm and how parts combine; None if it asks for no checksum.

    Raises InvalidRequest for a type without an algorithm, an unknown one of either, and a pair that S3 does not have.
    """
    algorithm = wanted(headers)
    text = headers.get("x-amz-checksum-type")
    kind = parse_type(text) if text is not None else None
    if algorithm is None:
        if kind is not None:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )
        return None
    allowed = _KINDS[algorithm].types
    if kind is None:
        return algorithm, allowed[0]
    if kind not in allowed:
        raise S3Error(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.",
        )
    return algorithm, kind


def parse_algorithm(text: str) -> Algorithm:
    """An algorithm by its name in any case. Raises InvalidRequest."""
    try:
        return Algorithm(text.upper())
    except ValueError:
        raise S3Error(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types:"
            f" [{', '.join(Algorithm)}]",
        ) from None


def parse_type(text: str) -> ChecksumType:
    """A checksum type by its name. Raises InvalidRequest."""
    try:
        return ChecksumType(text.upper())
    except ValueError:
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.") from None


def parse_value(algorithm: Algorithm, text: str, place: str = "header") -> bytes:
    """The raw digest in a base64 value. Raises InvalidRequest if it cannot be one of this algorithm."""
    value = _decode(text)
    if value is None or len(value) != algorithm.size:
        raise S3Error("InvalidRequest", f"Value for {algorithm.header} {place} is invalid.")
    return value


def format_value(digest: bytes) -> str:
    """A raw digest as headers and XML have it: base64."""
    return base64.b64encode(digest).decode()


def brought(headers: Mapping[str, str]) -> list[Algorithm]:
    """The algorithm whose checksum is among the headers, in a list; empty if there is none. Raises InvalidRequest for
    an unknown algorithm, and for several.
    """
    found = []
    for name in headers:
        if name.startswith("x-amz-checksum-") and name not in _ABOUT_CHECKSUMS:
            algorithm = _BY_HEADER.get(name)
            if algorithm is None:
                raise S3Error(
                    "InvalidRequest", "The algorithm type you specified in x-amz-checksum- header is invalid."
                )
            found.append(algorithm)
    if len(found) > 1:
        raise _several()
    return found


def _several() -> S3Error:
    return S3Error(
        "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
    )


def _trailing(announced: str) -> list[Algorithm]:
    """The algorithms of the trailers that ``x-amz-trailer`` announces."""
    algorithms = []
    for item in announced.split(","):
        name = item.strip().lower()
        if not name:
            continue
        algorithm = _BY_HEADER.get(name)
        if algorithm is None:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
        algorithms.append(algorithm)
    return algorithms


def _check_announced(announced: str | None, promised: Expected | None) -> None:
    if announced is None:
        return
    if announced.upper() not in Algorithm.__members__:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
    if promised is None:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer"
            " headers were found.",
        )
    if announced.upper() != promised.algorithm:
        raise S3Error("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")


# -- Content-MD5 ---------------------------------------------------------------------------------------------------


def content_md5(headers: Mapping[str, str]) -> bytes | None:
    """The raw MD5 in ``content-md5``; None if it was not sent. Raises InvalidDigest."""
    text = headers.get("content-md5")
    if text is None:
        return None
    value = _decode(text)
    if value is None or len(value) != 16:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified was invalid.", **{"Content-MD5": text[:256]})
    return value


def check_md5(promised: bytes | None, computed: bytes) -> None:
    """Compare the raw MD5 of a body with that in ``content-md5``. Raises BadDigest."""
    if promised is not None and not hmac.compare_digest(promised, computed):
        raise S3Error(
            "BadDigest",
            "The Content-MD5 you specified did not match what we received.",
            ExpectedDigest=promised.hex(),  # as S3 does
            CalculatedDigest=format_value(computed),
        )


# -- multipart objects ---------------------------------------------------------------------------------------------


def composite(algorithm: Algorithm, digests: Sequence[bytes]) -> str:
    """The composite checksum of parts with these raw digests, as S3 writes it: ``base64-N``."""
    total = hasher(algorithm)
    total.update(b"".join(digests))
    return f"{format_value(total.digest())}-{len(digests)}"


def full_object(algorithm: Algorithm, parts: Iterable[tuple[bytes, int]]) -> bytes:
    """The raw CRC of a whole object, combined from the (raw digest, length in bytes) of its parts, in order.

    Raises ValueError for an algorithm whose digests cannot be combined.
    """
    combine = _KINDS[algorithm].combine
    if combine is None:
        raise ValueError(f"{algorithm} of a whole cannot be had from those of its parts")
    total = 0
    for digest, length in parts:
        total = combine(total, int.from_bytes(digest, "big"), length)
    return total.to_bytes(algorithm.size, "big")


@dataclass(frozen=True, slots=True)
class _Kind:
    """``types``: those that S3 allows for multipart objects, the default first. ``combine`` gets the CRCs of A and B,
    and the length of B, and returns the CRC of A followed by B.
    """

    size: int
    new: Callable[[], Hasher]
    types: tuple[ChecksumType, ...]
    combine: Callable[[int, int, int], int] | None = None


_EITHER = (ChecksumType.COMPOSITE, ChecksumType.FULL_OBJECT)
_WHOLE = (ChecksumType.FULL_OBJECT,)
_PARTS = (ChecksumType.COMPOSITE,)
_KINDS: dict[Algorithm, _Kind] = {
    Algorithm.CRC32: _Kind(4, lambda: _Crc(crt.crc32, 4), _EITHER, crt.combine_crc32),
    Algorithm.CRC32C: _Kind(4, lambda: _Crc(crt.crc32c, 4), _EITHER, crt.combine_crc32c),
    Algorithm.CRC64NVME: _Kind(8, lambda: _Crc(crt.crc64nvme, 8), _WHOLE, crt.combine_crc64nvme),
    Algorithm.MD5: _Kind(16, lambda: hashlib.md5(usedforsecurity=False), _PARTS),
    Algorithm.SHA1: _Kind(20, lambda: hashlib.sha1(usedforsecurity=False), _PARTS),
    Algorithm.SHA256: _Kind(32, hashlib.sha256, _PARTS),
    Algorithm.SHA512: _Kind(64, hashlib.sha512, _PARTS),
    Algorithm.XXHASH128: _Kind(16, xxhash.xxh3_128, _PARTS),
    Algorithm.XXHASH3: _Kind(8, xxhash.xxh3_64, _PARTS),
    Algorithm.XXHASH64: _Kind(8, xxhash.xxh64, _PARTS),
}
_BY_HEADER = {algorithm.header: algorithm for algorithm in Algorithm}
_ABOUT_CHECKSUMS = {"x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"}


def _decode(text: str) -> bytes | None:
    """What a value in base64 says; None for what is none, or has bits at its end that no encoder sets."""
    try:
        value = base64.b64decode(text.strip().encode("ascii"), validate=True)
    except ValueError:
        return None
    return value if format_value(value) == text.strip() else None
