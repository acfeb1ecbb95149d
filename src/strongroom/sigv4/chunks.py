"""The values of ``x-amz-content-sha256`` that are not a digest, and the signatures of the chunks of a body.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks", and the page of
the same name on trailing headers, in the Amazon S3 API reference.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.secret import Secret
from strongroom.sigv4.keys import ALGORITHM, EMPTY_SHA256, signature

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@dataclass(slots=True)
class ChunkSigning:
    """What chunk signatures start from: the request's own signature, its time and scope, and the signing key."""

    seed: str
    key: Secret
    timestamp: str
    scope: str


class ChunkSigner:
    """The chain of signatures over the chunks of one body; each covers the one before."""

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
