"""Sealing an object's key anew while its stored bytes stay: for a copy that shares the bytes of its source, for another
master key, or for our own format in the place of MinIO's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.sealed.envelope import Header
from strongroom.sealed.keys import Kind, ObjectKey, record_key
from strongroom.sealed.legacy import LegacyHeader, with_nonces
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.objects import NO_PRECONDITION, ObjectInfo, Precondition, opaque_etag
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.policy import Protection
from strongroom.sealed.record import plain_record, seal_parts, sealed_record
from strongroom.sealed.writing import Description, info_of

if TYPE_CHECKING:
    from strongroom.sealed.store import SealedStore


async def seal_anew(
    objects: SealedStore,
    bucket: str,
    key: str,
    protection: Protection,
    object_key: ObjectKey,
    size: int,
    shown_etag: str,
    metadata: Metadata,
    parts: Sequence[PartEntry] | None,
) -> tuple[Header, dict[str, bytes], bytes]:
    """The header, record and annex of an object whose key is sealed anew for this name.

    ``shown_etag`` stands in the header, in the clear; where it is "", the ETag is sealed for listings. ``parts`` are
    None where the object was not uploaded in parts. Raises KMSError, NoKMS.
    """
    header = await objects.keyholder.seal(bucket, key, protection, object_key, size, parts is not None)
    header = header.resized(size, shown_etag)
    listed = None if shown_etag else await objects.listed(bucket, key, protection.kind)
    secret = record_key(object_key)
    annex = b"" if parts is None else seal_parts(header, secret, list(parts))
    return header, sealed_record(header, secret, metadata, listed), annex


async def parts_with_nonces(source: OpenObject) -> list[PartEntry] | None:
    """The part table of an object, to be sealed anew; None where it was not uploaded in parts.

    That of a legacy object lacks the nonces of the streams, which are looked up. Raises Damaged.
    """
    if not source.info.multipart:
        return None
    parts = list(await source.parts())
    if source.sealing is None or not isinstance(source.sealing[0], LegacyHeader):
        return parts
    return [part async for part in with_nonces(source.reader, source.sealing[1], parts)]


def is_shareable(objects: SealedStore, source: OpenObject, protection: Protection) -> bool:
    """Whether a copy can have the stored bytes of its source, sealed for its own name, instead of bytes of its own."""
    if (source.sealing is None) != (protection.kind is Kind.PLAIN):
        return False
    source_opaque = bool(source.sealing and source.sealing[0].etag)
    return objects.opaque(protection.kind) or not source_opaque


async def share(
    objects: SealedStore,
    source: OpenObject,
    bucket: str,
    key: str,
    protection: Protection,
    description: Description,
    precondition: Precondition = NO_PRECONDITION,
) -> ObjectInfo:
    """Put the bytes of a source that :func:`is_shareable` under a name, without moving them.

    Raises as SealedStore.begin and ObjectWriter.commit do.
    """
    info, parts = source.info, await parts_with_nonces(source)
    opaque = objects.opaque(protection.kind)
    etag = opaque_etag(protection.kind, len(parts or ())) if opaque else info.etag
    metadata = Metadata(description.headers, etag, description.checksum)
    header: Header | None = None
    if source.sealing is None:
        record, annex = plain_record(metadata, multipart=info.multipart), await source.reader.annex()
    else:
        shown = etag if opaque else ""
        header, record, annex = await seal_anew(
            objects, bucket, key, protection, source.sealing[1], info.size, shown, metadata, parts
        )
    record.update(description.tags or {})
    when = await objects.condition(bucket, key, precondition)
    store = objects.outer.writing(bucket, key, protection)
    stored = await store.copy(source.reader, bucket, key, record, annex, when)
    return info_of(stored, info.size, metadata, header, info.multipart)
