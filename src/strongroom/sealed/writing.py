"""Writing one object or one part: a body pipeline, and what is recorded when its last byte is in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.sealed.conditions import OnCondition
from strongroom.sealed.envelope import Header
from strongroom.sealed.keys import Kind, ObjectKey, record_key
from strongroom.sealed.legacy import AnyHeader
from strongroom.sealed.listed import Listed
from strongroom.sealed.metadata import Metadata, ObjectChecksum
from strongroom.sealed.objects import NO_PRECONDITION, ObjectInfo, Precondition, opaque_etag
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.pipeline import BodyPipeline, Hasher
from strongroom.sealed.policy import Protection
from strongroom.sealed.record import plain_record, sealed_record
from strongroom.store.base import Part, PartWriter, Stored, Writer

EncodePart = Callable[[PartEntry], dict[str, bytes]]


@dataclass(frozen=True, slots=True)
class Description:
    """What goes into an object's record and does not come from its bytes: headers, checksum, tags (already sealed)."""

    headers: Mapping[str, str]
    checksum: ObjectChecksum | None = None
    tags: Mapping[str, bytes] | None = None


class _Forgets(Protocol):
    async def abort(self) -> None: ...


class BodyWriter:
    """Takes a body through a pipeline to a writer, which can abort."""

    _pipeline: BodyPipeline
    _writer: _Forgets

    @property
    def size(self) -> int:
        """Bytes of plaintext taken so far."""
        return self._pipeline.size

    @property
    def md5(self) -> bytes | None:
        """The MD5 of the plaintext, after :meth:`finish`, where it was computed."""
        return self._pipeline.md5

    async def write(self, data: Buffer) -> None:
        """Take the next piece of the body. The caller must not change it afterwards. Raises StoreError."""
        await self._pipeline.write(data)

    async def finish(self) -> None:
        """The body has ended; all digests are known when this returns."""
        await self._pipeline.finish()

    async def abort(self) -> None:
        """Forget what was written. Harmless after commit."""
        await self._pipeline.abort()
        await self._writer.abort()


class AnyObjectWriter(BodyWriter, ABC):
    """Takes the body of one object, for a store or, in pass-through, for the backend; readers see nothing of it before
    :meth:`commit` returns.
    """

    protection: Protection
    """How the object is being encrypted."""

    @abstractmethod
    async def commit(self, description: Description) -> ObjectInfo:
        """Make the object whole and visible. Raises StoreError."""


class ObjectWriter(AnyObjectWriter):
    """Takes the body of one object for a store."""

    _writer: Writer

    def __init__(
        self,
        pipeline: BodyPipeline,
        writer: Writer,
        protection: Protection,
        sealing: tuple[Header, ObjectKey] | None,
        opaque: bool,
        listed: Listed | None,
        on_condition: Callable[[Precondition], OnCondition],
    ) -> None:
        self._pipeline = pipeline
        self._writer = writer
        self.protection = protection
        self._sealing = sealing
        self._opaque = opaque
        self._listed = listed
        self._on_condition = on_condition

    async def commit(self, description: Description, precondition: Precondition = NO_PRECONDITION) -> ObjectInfo:
        """Make the object whole, durable and visible.

        Raises as :class:`~strongroom.sealed.conditions.OnCondition` does, StoreFull.
        """
        digest = self._pipeline.md5
        header: Header | None = None
        etag = opaque_etag(self.protection.kind) if self._opaque or digest is None else digest.hex()
        metadata = Metadata(description.headers, etag, description.checksum)
        if self._sealing is None:
            record = plain_record(metadata)
        else:
            header, object_key = self._sealing
            header = header.resized(self.size, etag if self._opaque else "")
            record = sealed_record(header, record_key(object_key), metadata, self._listed)
        record.update(description.tags or {})
        if precondition is NO_PRECONDITION:  # most writes: a context that would check nothing is not entered
            stored = await self._writer.commit(record)
        else:
            async with self._on_condition(precondition) as when:
                stored = await self._writer.commit(record, when=when)
        return info_of(stored, self.size, metadata, header, multipart=False)


class SealedPartWriter(BodyWriter):
    """Takes the body of one part of an upload."""

    _writer: PartWriter

    def __init__(
        self,
        number: int,
        pipeline: BodyPipeline,
        writer: PartWriter,
        kind: Kind,
        nonce: bytes,
        stand_in: bytes | None,
        encode: EncodePart,
    ) -> None:
        self._number = number
        self._pipeline = pipeline
        self._writer = writer
        self._nonce = nonce
        self._stand_in = stand_in
        self._encode = encode
        self.kind = kind
        """How the upload is encrypted."""

    def watch(self, md5: bool, hashers: Sequence[Hasher]) -> None:
        """As BodyPipeline has it."""
        self._pipeline.watch(md5, hashers)

    async def commit(self, checksum: bytes = b"") -> tuple[PartEntry, Part]:
        """Make the part durable, with its raw ``checksum``. Raises NoSuchUpload, StoreFull."""
        digest = self._stand_in or self._pipeline.md5
        assert digest is not None
        entry = PartEntry(self._number, self.size, self._nonce, digest, checksum)
        return entry, await self._writer.commit(self._encode(entry))


def info_of(
    stored: Stored, size: int, metadata: Metadata, header: AnyHeader | None, multipart: bool, tags: int = 0
) -> ObjectInfo:
    """What is told of an object that is stored like this; ``header`` is None if it is plain."""
    wrapped = header.wrapped if header else None
    return ObjectInfo(
        key=stored.key,
        size=size,
        modified=stored.modified,
        etag=metadata.etag,
        kind=header.kind if header else Kind.PLAIN,
        identity=stored.identity,
        headers=metadata.headers,
        checksum=metadata.checksum,
        key_id=wrapped.key_id if wrapped else "",
        bucket_key=header is not None and header.bucket_key,
        multipart=multipart,
        tag_count=tags,
        upload=metadata.upload,
    )
