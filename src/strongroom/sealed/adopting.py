"""Adopting objects that MinIO left: sealing them anew in our own format, in place. Their bytes stay as they are.

The streams and part keys of both formats are the same, so only what is recorded changes: the object key is sealed
anew, and from then on the metadata and the sizes of the parts are authenticated. Before that, every byte is read and
authenticated: only what opens under MinIO's seal gets ours.
"""

from __future__ import annotations

from strongroom.sealed.keyholder import protection_of
from strongroom.sealed.keys import Kind
from strongroom.sealed.legacy import Inherited, LegacyHeader, inherited
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.policy import Protection
from strongroom.sealed.record import plain_record
from strongroom.sealed.resealing import Kept, parts_with_nonces, seal_anew
from strongroom.sealed.store import SealedStore
from strongroom.sealed.tags import tag_entries
from strongroom.secret import Secret
from strongroom.store.base import Condition, Stored


def is_legacy(bucket: str, stored: Stored) -> bool:
    """Whether MinIO left the object. Raises Damaged or LegacyNotCovered if it did and the object cannot be read."""
    return inherited(bucket, stored) is not None


def needs_customer_key(bucket: str, stored: Stored) -> bool:
    """Whether MinIO left the object encrypted with a client's key (SSE-C). Raises as :func:`is_legacy`."""
    return _is_sse_c(inherited(bucket, stored))


async def adopt(objects: SealedStore, bucket: str, key: str, customer_key: Secret | None = None) -> bool:
    """Seal an object anew in our format; False if it is in our format already. Readers see it whole throughout.

    ``customer_key`` is needed for an SSE-C object, and ignored for others.
    Raises NoSuchObject; ConditionFailed if a client writes the object meanwhile; Damaged, KMSError, SealedError.
    """
    legacy = inherited(bucket, await objects.store.head(bucket, key))
    if legacy is None:
        return False
    customer_key = customer_key if _is_sse_c(legacy) else None
    source = await objects.open(bucket, key, customer_key)
    try:
        stored = source.reader.stored
        if not is_legacy(bucket, stored):
            return False
        async for _ in source.stream(0, source.info.size):
            pass  # raises Damaged if a byte is not as MinIO sealed it
        protection = protection_of(bucket, source.sealing[0] if source.sealing else None, customer_key)
        if protection.kind is not Kind.PLAIN:
            await objects.protection(bucket, protection)  # refused where others write there with another KMS
        record, annex = await _sealed_anew(objects, bucket, source, protection)
        record.update(await _tags(objects, bucket, source, protection))
    finally:
        await source.close()
    store = objects.outer.writing(bucket, key, protection)
    await store.rewrite(bucket, key, record, annex, Condition(identity=stored.identity))
    return True


def _is_sse_c(legacy: Inherited | None) -> bool:
    return legacy is not None and legacy.header is not None and legacy.header.kind is Kind.SSE_C


async def _sealed_anew(
    objects: SealedStore, bucket: str, source: OpenObject, protection: Protection
) -> tuple[dict[str, bytes], bytes]:
    """The record and annex of the object in our format. Its ETag stays what MinIO showed."""
    info, metadata = source.info, Metadata(source.info.headers, source.info.etag)
    if source.sealing is None:
        return plain_record(metadata), b""
    old, object_key = source.sealing
    assert isinstance(old, LegacyHeader)
    shown_etag = old.etag if info.kind is Kind.SSE_C else ""  # other ETags may be MD5s, which must be sealed
    kept = Kept(object_key, info.size, metadata, await parts_with_nonces(source), shown_etag)
    _, record, annex = await seal_anew(objects, bucket, info.key, protection, kept)
    return record, annex


async def _tags(objects: SealedStore, bucket: str, source: OpenObject, protection: Protection) -> dict[str, bytes]:
    entries = tag_entries(source.reader.stored.record)
    if entries:
        return entries  # set by Strongroom since; they are bound to the object's name and not to its seal
    tags = await objects.tags_of(bucket, source.reader.stored)
    return dict(await objects.seal_tags(bucket, source.info.key, protection, tags, source.info.tag_count))
