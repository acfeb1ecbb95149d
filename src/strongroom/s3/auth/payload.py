"""How the body of a request has to be checked, according to ``x-amz-content-sha256``. Bodies are decoded in
``strongroom.s3.body``; the signatures of chunks are computed in ``strongroom.sigv4.chunks``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strongroom.s3.errors import S3Error
from strongroom.sigv4.chunks import (
    STREAMING_SIGNED,
    STREAMING_SIGNED_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    ChunkSigning,
)

_STREAMING_ECDSA = (
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
)
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(slots=True)
class UnsignedPayload:
    """The signature does not cover the body."""


@dataclass(slots=True)
class HashedPayload:
    """The signature covers the SHA-256 of the whole body (lower-case hexadecimal)."""

    sha256: str


@dataclass(slots=True)
class ChunkedPayload:
    """The body is ``aws-chunked``: each chunk is signed if ``signing`` is given; headers follow if ``trailer``."""

    signing: ChunkSigning | None
    trailer: bool


Payload = UnsignedPayload | HashedPayload | ChunkedPayload
"""How the body has to be checked."""


def check_content_sha256(value: str) -> None:
    """Refuse a value that no body can be checked by. Raises InvalidArgument, NotImplemented (asymmetric signatures)."""
    if _SHA256_HEX.fullmatch(value) or value in _NAMED:
        return
    if value in _STREAMING_ECDSA:
        raise S3Error("NotImplemented", "Signature Version 4A (ECDSA) is not implemented; use AWS4-HMAC-SHA256.")
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {', '.join(_NAMED)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=value[:256],
    )


def payload_of(value: str, signing: ChunkSigning) -> Payload:
    """How the body has to be checked, from a value that :func:`check_content_sha256` has accepted."""
    if value == UNSIGNED_PAYLOAD:
        return UnsignedPayload()
    if value == STREAMING_SIGNED:
        return ChunkedPayload(signing, trailer=False)
    if value == STREAMING_SIGNED_TRAILER:
        return ChunkedPayload(signing, trailer=True)
    if value == STREAMING_UNSIGNED_TRAILER:
        return ChunkedPayload(None, trailer=True)
    return HashedPayload(value.lower())


_NAMED = (UNSIGNED_PAYLOAD, STREAMING_UNSIGNED_TRAILER, STREAMING_SIGNED, STREAMING_SIGNED_TRAILER)
