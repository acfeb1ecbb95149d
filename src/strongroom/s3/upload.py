"""Taking in the bytes of an object or a part: decoded, checksummed, compared with what the client promised."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.s3 import checksums
from strongroom.s3.body import BodyDecoder, require_length
from strongroom.s3.checksums import Algorithm, ChecksumType, Expected, Hasher
from strongroom.s3.errors import S3Error
from strongroom.s3.receive import BodyReceiver
from strongroom.sealed.metadata import ObjectChecksum

MAX_PUT = 5 * 1024**3
"""Bytes in one PUT, and in one copy (S3 User Guide, "Uploading objects")."""


class UploadWriter(Protocol):
    """What the sealed store gives for an object or a part."""

    @property
    def md5(self) -> bytes | None:
        """The MD5, once finished, where it was asked for."""
        ...

    async def write(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    async def finish(self) -> None:
        """No more comes."""
        ...


def announced_size(decoder: BodyDecoder) -> int:
    """The bytes of an object or a part that are to come. Raises MissingContentLength, EntityTooLarge."""
    size = require_length(decoder)
    if size > MAX_PUT:
        raise S3Error("EntityTooLarge", ProposedSize=str(size), MaxSizeAllowed=str(MAX_PUT))
    return size


class Integrity:
    """What a client promises of a body, and what is found."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._expected: Expected | None = checksums.expected(headers)
        self._md5 = checksums.content_md5(headers)
        self._hasher: Hasher | None = None
        self.algorithm: Algorithm | None = None
        """Which checksum is computed, None for none."""
        if self._expected:
            self._compute(self._expected.algorithm)

    def agree(self, announced: ObjectChecksum | None) -> None:
        """Compute what the upload announced where a part promises nothing, if a checksum of the whole is to come of it.

        Raises InvalidRequest where they differ.
        """
        if announced is None:
            return
        if self.algorithm is None and announced.kind == ChecksumType.FULL_OBJECT:
            self._compute(Algorithm(announced.algorithm))
        elif self.algorithm != announced.algorithm:
            raise S3Error(
                "InvalidRequest",
                f"Checksum Type mismatch occurred, expected checksum Type: {announced.algorithm.lower()}, actual"
                f" checksum Type: {(self.algorithm or 'null').lower()}",
            )

    def _compute(self, algorithm: Algorithm) -> None:
        self.algorithm, self._hasher = algorithm, checksums.hasher(algorithm)

    @property
    def hashers(self) -> list[Hasher]:
        """What has to see the bytes."""
        return [self._hasher] if self._hasher else []

    @property
    def wants_md5(self) -> bool:
        """Whether the MD5 has to be computed for the client."""
        return self._md5 is not None

    @property
    def digest(self) -> bytes:
        """The raw checksum of what was taken in; b"" where none is computed."""
        return self._hasher.digest() if self._hasher else b""

    @property
    def checksum(self) -> ObjectChecksum | None:
        """The checksum of a whole object, as it is kept."""
        if self.algorithm is None:
            return None
        return ObjectChecksum(self.algorithm, ChecksumType.FULL_OBJECT, checksums.format_value(self.digest))

    async def take(self, body: BodyReceiver, decoder: BodyDecoder, writer: UploadWriter) -> None:
        """Write a body and see that it is what was promised. Raises S3Error; nothing may be committed then."""
        trailers = await body.pump(decoder, writer)
        await writer.finish()
        self.check(writer.md5, trailers)

    def check_document(self, document: bytes, trailers: Mapping[str, str]) -> None:
        """See that a small body at hand is what was promised. Raises BadDigest."""
        for hasher in self.hashers:
            hasher.update(document)
        md5 = hashlib.md5(document, usedforsecurity=False).digest() if self.wants_md5 else None
        self.check(md5, trailers)

    def check(self, md5: bytes | None, trailers: Mapping[str, str]) -> None:
        """Compare what was computed with what was promised. Raises BadDigest."""
        if self._md5 is not None and md5 is not None:
            checksums.check_md5(self._md5, md5)
        if self._expected is not None:
            self._expected.check(self.digest, trailers)
