"""Rewrapping: an object's key sealed anew under the master key that wraps now. Its bytes stay as they are.

What is bound to the header that keeps the key (metadata, part table) is sealed anew with it. Tags have an envelope of
their own and go the same way by themselves, those of SSE-C objects too.
"""

from __future__ import annotations

from strongroom.kms.base import WrappedKey
from strongroom.kms.master import MasterKey, master_of
from strongroom.sealed.envelope import EnvelopeInvalid, Header, decode_header
from strongroom.sealed.errors import NotAdopted
from strongroom.sealed.keyholder import object_name
from strongroom.sealed.keys import Kind, record_key
from strongroom.sealed.legacy import inherited
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.record import Record, header_of, open_parts, open_record, seal_parts, sealed_record
from strongroom.sealed.store import SealedStore
from strongroom.sealed.tags import TAGS_SSE, tag_count
from strongroom.store.base import Condition, Damaged, Reader, Stored, Upload


def masters_of(bucket: str, stored: Stored) -> frozenset[MasterKey]:
    """The master keys that are needed to read an object and its tags. Raises Damaged, LegacyNotCovered."""
    try:
        legacy = inherited(bucket, stored)
        header = legacy.header if legacy else header_of(stored.record)
        return _masters(header.wrapped if header else None, stored.record)
    except EnvelopeInvalid as error:
        raise Damaged(f"{object_name(bucket, stored.key)!r}: {error}") from error


def masters_of_upload(bucket: str, upload: Upload) -> frozenset[MasterKey]:
    """The master keys that are needed to complete an upload, and to read the object then. Raises Damaged."""
    try:
        header = header_of(upload.record)
        return _masters(header.wrapped if header else None, upload.record)
    except EnvelopeInvalid as error:
        raise Damaged(f"the upload of {object_name(bucket, upload.key)!r}: {error}") from error


def _masters(wrapped: WrappedKey | None, record: Record) -> frozenset[MasterKey]:
    tags = record.get(TAGS_SSE)
    keys = (wrapped, decode_header(tags).wrapped if tags is not None else None)
    return frozenset(master_of(key) for key in keys if key is not None)


class Rewrapper:
    """Rewraps objects for the master key ``active``."""

    def __init__(self, objects: SealedStore, active: MasterKey) -> None:
        self._objects = objects
        self._active = active

    async def rewrap(self, bucket: str, key: str) -> bool:
        """Rewrap an object; False if nothing of it is wrapped by another master key. It is whole at any moment.

        Raises NoSuchObject, ConditionFailed where it is written at this very moment; NotAdopted for an object that
        MinIO left; Damaged, KMSError, SealedError.
        """
        objects = self._objects
        reader = await objects.outer.read(bucket, key, None, lambda store: store.open(bucket, key, whole=False))
        try:
            stored = reader.stored
            if not masters_of(bucket, stored) - {self._active}:
                return False
            if inherited(bucket, stored) is not None:
                raise NotAdopted(f"MinIO left {object_name(bucket, key)!r}: adopting it seals it anew")
            record, annex = dict(stored.record), None
            header = header_of(record)
            if header is not None and self._is_due(header):
                changed, annex = await self._sealed_anew(bucket, reader, header)
                record.update(changed)
            if TAGS_SSE in record and self._is_due(decode_header(record[TAGS_SSE])):
                tags = await objects.tags_of(bucket, stored)
                record.update(await objects.seal_tags(bucket, key, Kind.SSE_S3, tags, tag_count(stored.record)))
        except EnvelopeInvalid as error:
            raise Damaged(f"{object_name(bucket, key)!r}: {error}") from error
        finally:
            await reader.close()
        await objects.protection(bucket, SSE_S3)  # refused where others write there with another KMS
        store = objects.outer.writing(bucket, key, Protection(header.kind) if header is not None else SSE_S3)
        await store.rewrite(bucket, key, record, annex, Condition(identity=stored.identity))
        return True

    def _is_due(self, header: Header) -> bool:
        return header.wrapped is not None and master_of(header.wrapped) != self._active

    async def _sealed_anew(self, bucket: str, reader: Reader, old: Header) -> tuple[dict[str, bytes], bytes | None]:
        """What changes in the record, and the annex, None where it stays."""
        keyholder, key = self._objects.keyholder, reader.stored.key
        object_key = await keyholder.open(bucket, key, old, None)
        secret = record_key(object_key)
        metadata = open_record(reader.stored.record, secret)
        new, _ = await keyholder.seal(bucket, key, Protection(old.kind), object_key, old.size, old.multipart)
        new = new.resized(old.size, old.etag)
        annex = None
        if old.multipart:
            annex = seal_parts(new, secret, list(open_parts(old, secret, await reader.annex())))
        return sealed_record(new, secret, metadata), annex
