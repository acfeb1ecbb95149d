"""Receiving the bytes of an object or a part: decoding them, and comparing their digests with the client's."""

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
"""The maximum bytes of one PUT, and of one copy (S3 User Guide, "Uploading objects")."""


class UploadWriter(Protocol):
    """The sealed store's writer of an object or a part."""

    @property
    def md5(self) -> bytes | None:
        """The MD5 of all bytes, once finished, if it was asked for; else None."""
        ...

    async def write(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    async def finish(self) -> None:
        """All bytes have been written."""
        ...


def announced_size(decoder: BodyDecoder) -> int:
    """How many bytes of an object or a part will come. Raises MissingContentLength, EntityTooLarge."""
    size = require_length(decoder)
    if size > MAX_PUT:
        raise S3Error("EntityTooLarge", ProposedSize=str(size), MaxSizeAllowed=str(MAX_PUT))
    return size


class Integrity:
    """The digests that a client gives for a body, and the computation of its actual ones. Raises S3Error."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._expected: Expected | None = checksums.expected(headers)
        self._md5 = checksums.content_md5(headers)
        self._hasher: Hasher | None = None
        self.algorithm: Algorithm | None = None
        """Which checksum is computed; None if none is."""
        if self._expected:
            self._compute(self._expected.algorithm)

    def agree(self, announced: ObjectChecksum | None) -> None:
        """Make a part's checksum agree with what its upload ``announced``. If the part comes without a checksum and the
        upload's type is FULL_OBJECT, the announced checksum of the part is computed.

        Raises InvalidRequest if the part's algorithm is another, or if a COMPOSITE upload's part has no checksum.
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
        """The hashers that all bytes have to be given to."""
        return [self._hasher] if self._hasher else []

    @property
    def wants_md5(self) -> bool:
        """Whether the MD5 has to be computed, since the client sent Content-MD5."""
        return self._md5 is not None

    @property
    def digest(self) -> bytes:
        """The raw checksum of all bytes so far; b"" if none is computed."""
        return self._hasher.digest() if self._hasher else b""

    @property
    def checksum(self) -> ObjectChecksum | None:
        """The checksum as that of a whole object, in the form that is stored; None if none is computed."""
        if self.algorithm is None:
            return None
        return ObjectChecksum(self.algorithm, ChecksumType.FULL_OBJECT, checksums.format_value(self.digest))

    async def take(self, body: BodyReceiver, decoder: BodyDecoder, writer: UploadWriter) -> None:
        """Write a body and check its digests. Raises S3Error; nothing may be committed then."""
        trailers = await body.pump(decoder, writer)
        await writer.finish()
        self.check(writer.md5, trailers)

    def check_document(self, document: bytes, trailers: Mapping[str, str]) -> None:
        """Check the digests of a small body that is in memory. Raises as :meth:`check` does."""
        for hasher in self.hashers:
            hasher.update(document)
        md5 = hashlib.md5(document, usedforsecurity=False).digest() if self.wants_md5 else None
        self.check(md5, trailers)

    def check(self, md5: bytes | None, trailers: Mapping[str, str]) -> None:
        """Compare the computed digests with the client's. Raises BadDigest; for trailers also InvalidRequest and
        MalformedTrailerError.
        """
        if self._md5 is not None and md5 is not None:
            checksums.check_md5(self._md5, md5)
        if self._expected is not None:
            self._expected.check(self.digest, trailers)
