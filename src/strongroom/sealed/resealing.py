"""Sealing an object's key anew while its stored bytes stay: for a copy that shares the bytes of its source, for another
master key, or to replace MinIO's format by our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from strongroom.sealed.conditions import OnCondition
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
from strongroom.secret import Secret

if TYPE_CHECKING:
    from strongroom.sealed.store import SealedStore


@dataclass(frozen=True, slots=True)
class Kept:
    """What an object keeps when its key is sealed anew.

    ``size`` counts plaintext bytes; ``parts`` are None if the object was not uploaded in parts. ``shown_etag`` is the
    ETag that stands in the clear, in the header; "" if the ETag is sealed.
    """

    object_key: ObjectKey = field(repr=False)
    size: int
    metadata: Metadata
    parts: Sequence[PartEntry] | None
    shown_etag: str = ""


class Resealed(NamedTuple):
    """What the store is to keep with the bytes of an object whose key was sealed anew."""

    header: Header
    record: dict[str, bytes]
    annex: bytes


async def seal_anew(objects: SealedStore, bucket: str, key: str, protection: Protection, kept: Kept) -> Resealed:
    """Seal an object's key anew for this name and this protection, and what is recorded of the object with it.

    An ETag that is not shown in the header is also sealed for listings. Raises KMSError, NoKMS.
    """
    is_multipart = kept.parts is not None
    header = await objects.keyholder.seal(bucket, key, protection, kept.object_key, kept.size, is_multipart)
    header = header.resized(kept.size, kept.shown_etag)
    listed = None if kept.shown_etag else await objects.listed(bucket, key, protection.kind)
    secret = record_key(kept.object_key)
    annex = b"" if kept.parts is None else seal_parts(header, secret, list(kept.parts))
    return Resealed(header, sealed_record(header, secret, kept.metadata, listed), annex)


async def parts_with_nonces(source: OpenObject) -> list[PartEntry] | None:
    """The part table of an object, to be sealed anew; None if the object was not uploaded in parts.

    MinIO did not record the nonces of the parts' streams: for its objects they are read from the bytes. Raises Damaged.
    """
    if not source.info.multipart:
        return None
    parts = list(await source.parts())
    if source.sealing is None or not isinstance(source.sealing[0], LegacyHeader):
        return parts
    return [part async for part in with_nonces(source.reader, source.sealing[1], parts)]


def is_shareable(objects: SealedStore, source: OpenObject, source_key: Secret | None, protection: Protection) -> bool:
    """Whether a copy can share the stored bytes of its source (with the key sealed for the copy's name).

    ``source_key`` is the client's key that opened the source. Who has it can compute the object key, so only a copy
    under the same one has that object key, too.
    """
    if (source.sealing is None) != (protection.kind is Kind.PLAIN) or source_key != protection.customer_key:
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
    """Make a copy that shares the stored bytes of its source, for which :func:`is_shareable` is true.

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
        kept = Kept(source.sealing[1], info.size, metadata, parts, shown_etag=etag if opaque else "")
        header, record, annex = await seal_anew(objects, bucket, key, protection, kept)
    record.update(description.tags or {})
    store = objects.outer.writing(bucket, key, protection)
    async with OnCondition(objects.condition, bucket, key, precondition) as when:
        stored = await store.copy(source.reader, bucket, key, record, annex, when)
    return info_of(stored, info.size, metadata, header, info.multipart)
