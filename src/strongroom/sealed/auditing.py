"""Auditing one object: what it turns out to be when it is opened, whatever a listing says of it."""

from __future__ import annotations

from typing import NamedTuple

from strongroom.kms.master import MasterKey
from strongroom.sealed.context import object_name
from strongroom.sealed.envelope import EnvelopeInvalid
from strongroom.sealed.errors import CustomerKeyNeeded
from strongroom.sealed.keys import Kind
from strongroom.sealed.legacy import inherited
from strongroom.sealed.record import TAGS, header_of
from strongroom.sealed.rewrapping import uses_of
from strongroom.sealed.store import SealedStore
from strongroom.sealed.tags import TAGS_SSE, open_tags
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED, Stored, Upload
from strongroom.store.errors import Damaged


class Finding(NamedTuple):
    """What an object is: how it is encrypted, in whose format, and the master keys needed to read it and its tags.

    ``opened``: its seals were opened; False if that needs a client's key that was not given. ``tags_clear``: its tags
    stand in the clear though the object is encrypted.
    """

    kind: Kind
    legacy: bool
    masters: frozenset[MasterKey]
    opened: bool
    tags_clear: bool


async def examine(
    objects: SealedStore, bucket: str, listed: Stored, customer_key: Secret | None, *, read: bool
) -> Finding:
    """Open an object: its key, its record, its part table, its tags; with ``read`` also every byte of it.

    What is opened is thereby authenticated. ``listed`` is the object's entry in a listing; ``customer_key`` is tried on
    SSE-C objects. Raises NoSuchObject, Damaged, KMSError, SealedError (not CustomerKeyNeeded), ObjectChanged.
    """
    key = listed.key
    try:
        source = await objects.open(bucket, key, None, whole=read)
    except CustomerKeyNeeded:
        if customer_key is None:
            return await _unopened(objects, bucket, listed)
        source = await objects.open(bucket, key, customer_key, whole=read)
    try:
        await source.parts()  # raises Damaged unless the part table opens, or reads, and adds up to the recorded size
        await source.body()  # the same unless as many bytes are stored as that makes
        await source.reader.check()
        if read:
            async for _ in source.stream(0, source.info.size):
                pass
        await objects.tags_of(bucket, source.reader.stored)
        return _finding(bucket, source.reader.stored, source.info.kind, opened=True)
    finally:
        await source.close()


async def examine_upload(objects: SealedStore, bucket: str, upload: Upload) -> None:
    """Open what the KMS can open of an open upload: its record, unless that needs a client's key, and its tags.

    Raises NoSuchUpload, NoSuchBucket, Damaged, KMSError, SealedError.
    """
    try:
        header = header_of(upload.record)
        if header is None:
            return
        if header.kind is not Kind.SSE_C:
            await objects.uploads.get(bucket, upload.key, upload.upload_id)
        await open_tags(objects.keyholder, bucket, upload.key, header.kind, upload.record)
    except EnvelopeInvalid as error:
        raise Damaged(f"the upload of {object_name(bucket, upload.key)!r}: {error}") from error


async def _unopened(objects: SealedStore, bucket: str, listed: Stored) -> Finding:
    """What an SSE-C object whose key was not given says of itself in the clear.

    Some storage gives out nothing of it without the key: then, what the listing says, which on some backends is no more
    than that it exists.
    """
    key = listed.key
    try:
        reader = await objects.outer.read(bucket, key, None, lambda store: store.open(bucket, key, whole=False))
    except CustomerKeyNeeded:
        if not listed.record.get(ENCRYPTED):
            return Finding(Kind.SSE_C, False, frozenset(), opened=False, tags_clear=False)
        await objects.tags_of(bucket, listed)
        return _finding(bucket, listed, Kind.SSE_C, opened=False)
    try:
        await reader.check()
        await objects.tags_of(bucket, reader.stored)
        return _finding(bucket, reader.stored, Kind.SSE_C, opened=False)
    finally:
        await reader.close()


def _finding(bucket: str, stored: Stored, kind: Kind, *, opened: bool) -> Finding:
    legacy = inherited(bucket, stored) is not None
    clear = kind is not Kind.PLAIN and bool(stored.record.get(TAGS)) and TAGS_SSE not in stored.record
    masters = frozenset(use.master for use in uses_of(bucket, stored))
    return Finding(kind, legacy, masters, opened, clear)
