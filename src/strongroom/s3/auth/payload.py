"""How the body of a request has to be checked, as ``x-amz-content-sha256`` says, and the signatures of its chunks.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks", and the page of
the same name on trailing headers, in the Amazon S3 API reference. The decoding of bodies is in ``strongroom.s3.body``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from strongroom.s3.auth.keys import ALGORITHM, EMPTY_SHA256, signature
from strongroom.s3.errors import S3Error
from strongroom.secret import Secret

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_STREAMING_ECDSA = (
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
)
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class UnsignedPayload:
    """The signature says nothing of the body."""


@dataclass(frozen=True, slots=True)
class HashedPayload:
    """The signature covers the SHA-256 of the whole body (lower-case hexadecimal)."""

    sha256: str


@dataclass(frozen=True, slots=True)
class ChunkSigning:
    """What chunk signatures go on from: the request's own signature, its time and scope, and the signing key."""

    seed: str
    key: Secret
    timestamp: str
    scope: str


@dataclass(frozen=True, slots=True)
class ChunkedPayload:
    """The body is ``aws-chunked``: each chunk signed where ``signing`` is given, headers behind it if ``trailer``."""

    signing: ChunkSigning | None
    trailer: bool


Payload = UnsignedPayload | HashedPayload | ChunkedPayload
"""How the body has to be checked."""


class ChunkSigner:
    """The chain of signatures over the chunks of one body, each built on the one before."""

    __slots__ = ("_previous", "_signing")

    def __init__(self, signing: ChunkSigning) -> None:
        self._signing = signing
        self._previous = signing.seed

    def chunk(self, sha256_hex: str) -> str:
        """The signature of the next chunk, whose bytes have this SHA-256."""
        return self._next(f"{ALGORITHM}-PAYLOAD", f"{EMPTY_SHA256}\n{sha256_hex}")

    def trailer(self, sha256_hex: str) -> str:
        """The signature of the trailing headers (``name:value`` and a newline, each), after the last chunk."""
        return self._next(f"{ALGORITHM}-TRAILER", sha256_hex)

    def _next(self, kind: str, digests: str) -> str:
        signing = self._signing
        self._previous = signature(
            signing.key, f"{kind}\n{signing.timestamp}\n{signing.scope}\n{self._previous}\n{digests}"
        )
        return self._previous


def check_content_sha256(value: str) -> None:
    """Refuse what no body can be checked by. Raises InvalidArgument, NotImplemented (asymmetric signatures)."""
    if value in _STREAMING_ECDSA:
        raise S3Error("NotImplemented", "Signature Version 4A (ECDSA) is not implemented; use AWS4-HMAC-SHA256.")
    if value in _NAMED or _SHA256_HEX.fullmatch(value):
        return
    raise S3Error(
        "InvalidArgument",
        f"x-amz-content-sha256 must be {', '.join(_NAMED)} or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=value[:256],
    )


def payload_of(value: str, signing: ChunkSigning) -> Payload:
    """What a value that :func:`check_content_sha256` has let pass means for the body."""
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
