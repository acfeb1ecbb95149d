"""Objects that MinIO left behind, as the sealed store sees them: what a store's record says of one, and how it opens.

A store that finds such an object puts its document (``fs.json``, ``dare.meta``) into the record, as :data:`LEFT`.
Streams and part keys are as in our own format; the envelope and the metadata are not, and nothing authenticates the
metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from strongroom.kms.base import Context, WrappedKey
from strongroom.kms.transit import PROVIDER_UNBOUND
from strongroom.legacy.context import bound_name
from strongroom.legacy.datakey import PROVIDER, wrapped_by_vault
from strongroom.legacy.document import SSE_C, SSE_KMS, SSE_S3, LegacyObject, Sealing, read_document
from strongroom.legacy.errors import LegacyDamaged, NotCovered
from strongroom.legacy.package import PackageRefused
from strongroom.legacy.seals import etag_with_key, etag_without_key, open_object_key
from strongroom.sealed.context import context_text, object_name
from strongroom.sealed.dare import (
    NONCE,
    Opener,
    StreamInvalid,
    last_package,
    plaintext_size,
    sealed_size,
    stream_nonce,
)
from strongroom.sealed.envelope import EnvelopeInvalid, Header
from strongroom.sealed.errors import LegacyNotCovered
from strongroom.sealed.keys import ExternalKey, Kind, ObjectKey, part_key
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.record import header_of
from strongroom.store.base import LEFT, Reader, Stored
from strongroom.store.errors import Damaged

_KINDS = {SSE_S3: Kind.SSE_S3, SSE_C: Kind.SSE_C, SSE_KMS: Kind.SSE_KMS}
_UNKNOWN_NONCE = b""
_UNKNOWN_MD5 = bytes(16)


@dataclass(frozen=True, slots=True)
class LegacyHeader:
    """For an object that MinIO left, what :class:`~strongroom.sealed.envelope.Header` is for our own.

    ``etag`` is "" if it is sealed, else as MinIO showed it.
    """

    kind: Kind
    size: int
    sealing: Sealing
    etag: str
    parts: tuple[PartEntry, ...] | None

    @property
    def wrapped(self) -> WrappedKey | None:
        """The data key as MinIO's KMS wrapped it; None for SSE-C."""
        if self.kind is Kind.SSE_C:
            return None
        # What MinIO had Vault wrap is what our own transit KMS wraps without associated data.
        provider = PROVIDER_UNBOUND if wrapped_by_vault(self.sealing.wrapped) else PROVIDER
        return WrappedKey(provider, self.sealing.key_id, self.sealing.wrapped)

    @property
    def bucket_key(self) -> bool:
        """MinIO has no bucket keys."""
        return False

    @property
    def named(self) -> bool:
        """False: MinIO, which had one master key, recorded its name but not whether a client had given it."""
        return False

    @property
    def multipart(self) -> bool:
        """Whether each part is a stream of its own."""
        return self.parts is not None

    def kms_context(self, bucket: str, key: str) -> Context:
        """The context that the data key was wrapped with."""
        return {bucket: bound_name(bucket, key), **self.sealing.context}

    def added_context(self, bucket: str) -> str:
        """The encryption context that the client gave, without the object's name. Raises ContextRefused."""
        return context_text({name: value for name, value in self.sealing.context.items() if name != bucket})

    def open(self, external: ExternalKey, bucket: str, key: str) -> ObjectKey:
        """The object key. Raises EnvelopeInvalid."""
        try:
            return ObjectKey(open_object_key(external, self.sealing, bound_name(bucket, key)))
        except PackageRefused:
            raise EnvelopeInvalid(f"the sealed object key of {object_name(bucket, key)!r} does not open") from None
        except LegacyDamaged as error:
            raise EnvelopeInvalid(str(error)) from error


AnyHeader = Header | LegacyHeader
"""The header of an object, in our own format or in MinIO's: it says how the object key is sealed."""


@dataclass(frozen=True, slots=True)
class Inherited:
    """An object that MinIO left: its document, its plaintext's length in bytes, and its header (None if plain)."""

    document: LegacyObject
    size: int
    header: LegacyHeader | None

    def metadata(self, object_key: ObjectKey | None) -> Metadata:
        """What MinIO recorded of the object. Raises EnvelopeInvalid."""
        try:
            etag = etag_with_key(self.document, object_key) if object_key else self.document.etag
        except LegacyDamaged as error:
            raise EnvelopeInvalid(str(error)) from error
        return Metadata(self.document.headers, etag)


def inherited(bucket: str, stored: Stored) -> Inherited | None:
    """The legacy object that a store's record describes; None for one of our own. Raises Damaged, LegacyNotCovered."""
    document = stored.record.get(LEFT)
    return None if document is None else _read(bucket, stored, document)


def _read(bucket: str, stored: Stored, document: bytes) -> Inherited:
    name = object_name(bucket, stored.key)
    try:
        legacy = read_document(document)
        if legacy.sealing is None:
            return Inherited(legacy, stored.size, None)
        if legacy.stored and not stored.size:  # an empty stream opens under any key: nothing else would notice
            raise LegacyDamaged(f"it has no stored bytes, and {legacy.stored} were recorded")
        parts = _parts_of(legacy)
        size = sum(part.size for part in parts) if parts is not None else plaintext_size(stored.size)
        kind, etag = _KINDS[legacy.sealing.domain], etag_without_key(legacy) or ""
        header = LegacyHeader(kind, size, legacy.sealing, etag, parts)
        return Inherited(legacy, size, header)
    except (LegacyDamaged, StreamInvalid) as error:
        raise Damaged(f"{name!r}, left by MinIO: {error}") from error
    except NotCovered as error:
        raise LegacyNotCovered(f"{name!r}, left by MinIO, is not readable here: {error}") from error


def headed(bucket: str, stored: Stored) -> tuple[Inherited | None, AnyHeader | None]:
    """The legacy object (None for one of our own) and the header of the object (None if it is plain).

    Raises EnvelopeInvalid, Damaged, LegacyNotCovered.
    """
    document = stored.record.get(LEFT)
    if document is None:
        return None, header_of(stored.record)
    legacy = _read(bucket, stored, document)
    return legacy, legacy.header


def legacy_tags(legacy: Inherited | None) -> str:
    """The tags that MinIO recorded of an object, as a query string."""
    return legacy.document.tags if legacy else ""


async def with_nonces(reader: Reader, object_key: ObjectKey, parts: Sequence[PartEntry]) -> AsyncIterator[PartEntry]:
    """The parts with the nonces of their streams, which MinIO's document lacks. They are taken from the last package of
    each stream, which proves its nonce (see :mod:`~strongroom.sealed.dare`). Raises Damaged.
    """
    offset = 0
    for part in parts:
        nonce = bytes(NONCE)
        if part.size:
            package, at, length = last_package(part.size)
            last = b"".join([bytes(chunk) async for chunk in reader.stream(offset + at, length)])
            opener = Opener(part_key(object_key, part.number), part.size, package)
            try:
                opener.open_packages(last)
            except StreamInvalid as error:
                raise Damaged(f"part {part.number} of {reader.stored.key!r}, left by MinIO: {error}") from error
            nonce = stream_nonce(last)
        yield replace(part, nonce=nonce)
        offset += sealed_size(part.size)


def _parts_of(legacy: LegacyObject) -> tuple[PartEntry, ...] | None:
    if legacy.parts is None:
        return None
    return tuple(
        PartEntry(part.number, plaintext_size(part.stored), _UNKNOWN_NONCE, _UNKNOWN_MD5) for part in legacy.parts
    )
