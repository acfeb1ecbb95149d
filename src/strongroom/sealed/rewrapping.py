"""Rewrapping: an object's key sealed anew under the master key that wraps now. Its bytes stay as they are.

What is bound to the header that keeps the key (metadata, part table) is sealed anew with it. Tags have an envelope of
their own, which is rewrapped by itself, also for SSE-C objects. If a client named the master key (SSE-KMS), the object
stays under the key of that name, unless the operator renames it: rewrapping then brings it under that key in the KMS
that wraps now, in the version that wraps now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from strongroom.kms.base import KMSError, KMSUnavailable, anew
from strongroom.kms.master import MasterKey, master_of
from strongroom.sealed.context import object_name
from strongroom.sealed.envelope import EnvelopeInvalid, Header, decode_header
from strongroom.sealed.errors import NotAdopted
from strongroom.sealed.keyholder import protection_of
from strongroom.sealed.keys import record_key
from strongroom.sealed.legacy import AnyHeader, headed, inherited
from strongroom.sealed.listed import LISTED
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.record import Record, header_of, open_parts, open_record
from strongroom.sealed.resealing import Kept, seal_anew
from strongroom.sealed.store import SealedStore
from strongroom.sealed.tags import TAGS_SSE, tag_count
from strongroom.store.base import Condition, Reader, Stored, Upload
from strongroom.store.errors import Damaged


class Use(NamedTuple):
    """A master key that is needed to read something; ``named``: a client named it (SSE-KMS)."""

    master: MasterKey
    named: bool


def uses_of(bucket: str, stored: Stored) -> frozenset[Use]:
    """The master keys that are needed to read an object and its tags. Raises Damaged, LegacyNotCovered."""
    try:
        return _uses(headed(bucket, stored)[1], stored.record)
    except EnvelopeInvalid as error:
        raise Damaged(f"{object_name(bucket, stored.key)!r}: {error}") from error


def uses_of_upload(bucket: str, upload: Upload) -> frozenset[Use]:
    """The master keys that are needed to complete an upload and to read the object it makes. Raises Damaged."""
    try:
        return _uses(header_of(upload.record), upload.record)
    except EnvelopeInvalid as error:
        raise Damaged(f"the upload of {object_name(bucket, upload.key)!r}: {error}") from error


def _uses(header: AnyHeader | None, record: Record) -> frozenset[Use]:
    tags = record.get(TAGS_SSE)
    found = (_use(header), _use(decode_header(tags) if tags is not None else None))
    return frozenset(use for use in found if use is not None)


def _use(header: AnyHeader | None) -> Use | None:
    if header is None or header.wrapped is None:
        return None
    return Use(master_of(header.wrapped), header.named)


class Rewrapper:
    """Rewraps objects for the master keys that wrap now.

    ``renamed`` maps names of master keys that clients gave to the names that replace them.
    """

    def __init__(self, objects: SealedStore, renamed: Mapping[str, str]) -> None:
        self._objects = objects
        self._renamed = renamed
        self._active: dict[str, MasterKey | KMSError] = {}

    async def active(self, key_id: str = "") -> MasterKey:
        """As :meth:`Keyholder.active`; the KMS is asked once for each name. Raises KMSError, NoKMS."""
        found = self._active.get(key_id)
        if found is None:
            try:
                found = await self._objects.keyholder.active(key_id)
            except KMSUnavailable:
                raise
            except KMSError as error:
                found = error
            self._active[key_id] = found
        if isinstance(found, KMSError):
            raise anew(found)
        return found

    async def outdated(self, uses: Iterable[Use]) -> frozenset[MasterKey]:
        """Those of these master keys that have been replaced: another one wraps now. Raises KMSError, NoKMS."""
        found = set()
        for master, named in uses:
            if master != await self.active(self._name(master.key_id) if named else ""):
                found.add(master)
        return frozenset(found)

    async def is_due(self, bucket: str, stored: Stored) -> bool:
        """Whether a key of an object is wrapped by a master key that has been replaced, or its ETag is sealed under a
        listing key that has. Raises Damaged, LegacyNotCovered, KMSError, NoKMS.
        """
        return bool(await self.outdated(uses_of(bucket, stored))) or await self._objects.was_listed(bucket, stored)

    async def rewrap(self, bucket: str, key: str) -> bool:
        """Rewrap an object; False if it is not due. Readers see it whole throughout.

        Raises NoSuchObject; ConditionFailed if a client writes the object meanwhile; NotAdopted for an object that
        MinIO left; Damaged, KMSError, SealedError.
        """
        objects = self._objects
        reader = await objects.outer.read(bucket, key, None, lambda store: store.open(bucket, key, whole=False))
        try:
            stored = reader.stored
            if not await self.is_due(bucket, stored):
                return False
            if inherited(bucket, stored) is not None:
                raise NotAdopted(f"MinIO left {object_name(bucket, key)!r}: adopting it seals it anew")
            record, annex = dict(stored.record), None
            header = header_of(record)
            if header is not None and (await self._uses_replaced(header) or await objects.was_listed(bucket, stored)):
                changed, annex = await self._sealed_anew(bucket, reader, header)
                record.pop(LISTED, None)
                record.update(changed)
            if TAGS_SSE in record and await self._uses_replaced(own := decode_header(record[TAGS_SSE])):
                tags, protection = await objects.tags_of(bucket, stored), self._protection(bucket, own)
                record.update(await objects.seal_tags(bucket, key, protection, tags, tag_count(stored.record)))
        except EnvelopeInvalid as error:
            raise Damaged(f"{object_name(bucket, key)!r}: {error}") from error
        finally:
            await reader.close()
        await objects.protection(bucket, SSE_S3)  # refused where others write there with another KMS
        store = objects.outer.writing(bucket, key, Protection(header.kind) if header is not None else SSE_S3)
        await store.rewrite(bucket, key, record, annex, Condition(identity=stored.identity))
        return True

    async def _uses_replaced(self, header: Header) -> bool:
        use = _use(header)
        return use is not None and bool(await self.outdated([use]))

    def _name(self, key_id: str) -> str:
        return self._renamed.get(key_id, key_id)

    def _protection(self, bucket: str, old: Header) -> Protection:
        protection = protection_of(bucket, old)
        return protection._replace(key_id=self._name(protection.key_id)) if old.named else protection

    async def _sealed_anew(self, bucket: str, reader: Reader, old: Header) -> tuple[dict[str, bytes], bytes | None]:
        """The entries of the record that change, and the new annex (None if there is none to change)."""
        keyholder, key = self._objects.keyholder, reader.stored.key
        object_key = await keyholder.open(bucket, key, old, None)
        secret = record_key(object_key)
        metadata = open_record(reader.stored.record, secret)
        parts = open_parts(old, secret, await reader.annex()) if old.multipart else None
        kept = Kept(object_key, old.size, metadata, parts, shown_etag=old.etag)
        _, record, annex = await seal_anew(self._objects, bucket, key, self._protection(bucket, old), kept)
        return record, annex if old.multipart else None
