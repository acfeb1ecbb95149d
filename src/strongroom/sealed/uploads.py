"""Multipart uploads of the sealed store.

The object key is made when the upload is opened; each part is a stream of its own under a key derived from it. What is
recorded of a part (its size, its stream's nonce, ETag, checksum) is sealed under the record key and bound to the
upload.

In S3, an SSE-C upload is completed, and its parts are listed, without the client's key. The record key (which opens no
data) therefore lies in the upload's record, sealed under a key derived from the server's own secret, and is removed
with the upload. The same secret proves by the upload's id, which the client sends, that the record is the one that the
upload was opened with, and that a plain upload was opened as one. Gateways that share uploads share that secret.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.sealed.conditions import OnCondition
from strongroom.sealed.context import object_name
from strongroom.sealed.dare import Sealer, StreamInvalid, new_nonce, plaintext_size, sealed_size
from strongroom.sealed.envelope import EnvelopeInvalid, Header, open_box, seal_box
from strongroom.sealed.errors import CustomerKeyNotApplicable, UnencryptedUpload
from strongroom.sealed.keys import Kind, RecordKey, new_object_key, part_key, record_key
from strongroom.sealed.metadata import Metadata, ObjectChecksum
from strongroom.sealed.objects import NO_PRECONDITION, ObjectInfo, Precondition, multipart_etag, opaque_etag
from strongroom.sealed.parts import PartEntry, encode_parts
from strongroom.sealed.pipeline import BodyPipeline
from strongroom.sealed.policy import Protection
from strongroom.sealed.record import (
    header_of,
    open_record,
    plain_record,
    read_parts,
    read_plain,
    seal_parts,
    sealed_record,
)
from strongroom.sealed.tags import tag_count, tag_entries
from strongroom.sealed.writing import Description, SealedPartWriter, info_of
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED, Part, Upload, UploadPage
from strongroom.store.errors import Damaged

if TYPE_CHECKING:
    from strongroom.sealed.store import SealedStore

_PART = ":part"
_STATE = ":state"
_PART_PURPOSE = b"part"
_STATE_PURPOSE = b"strongroom v1 upload state\0"
_PLAIN_PURPOSE = b"strongroom v1 plain upload\0"
_SEALED_PURPOSE = b"strongroom v1 sealed upload\0"
_TOKEN = 16
_NO_NONCE = bytes(12)
_NONCE = 12


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """An open upload. ``checksum`` is the checksum that was announced, without a value; None if none was."""

    key: str
    upload_id: str
    started: int
    kind: Kind
    key_id: str
    checksum: ObjectChecksum | None = None
    bucket_key: bool = False


@dataclass(frozen=True, slots=True)
class PartInfo:
    """A part of an open upload."""

    entry: PartEntry
    modified: int
    stored: Part


@dataclass(frozen=True, slots=True)
class _Opened:
    """An upload with what is needed to read and write its records; ``key`` is None if it is plain."""

    upload: Upload
    header: Header | None
    key: RecordKey | None = field(repr=False)
    metadata: Metadata


def _token_of(upload_id: str) -> bytes:
    """The bytes of an upload's id, as stores write them; b"" for an id that no store wrote."""
    try:
        token = bytes.fromhex(upload_id) if len(upload_id) == 2 * _TOKEN else urlsafe_b64decode(upload_id + "==")
    except ValueError:
        return b""
    return token if len(token) == _TOKEN else b""


def _random(size: int) -> bytes:
    """The beginning of a token. Its first bit is not set: an id in base64url then begins with a letter, and with no
    ``-``, which aws-cli would take for an option.
    """
    token = bytearray(os.urandom(size))
    token[0] &= 0x7F
    return bytes(token)


class Uploads:
    """The multipart uploads of a sealed store."""

    def __init__(self, sealed: SealedStore, secret: Secret) -> None:
        self._sealed = sealed
        self._state_key = hmac.digest(secret.reveal(), _STATE_PURPOSE, "sha256")

    async def create(self, bucket: str, key: str, protection: Protection, description: Description) -> UploadInfo:
        """Open an upload, protected as SealedStore.protection decided. ``description.checksum`` announces algorithm and
        kind. Raises NoSuchBucket, KMSError, NameRefused.
        """
        metadata = Metadata(description.headers, checksum=description.checksum)
        header = None
        if protection.kind is Kind.PLAIN:
            record = plain_record(metadata)
        else:
            keyholder = self._sealed.keyholder
            object_key = new_object_key()
            header = await keyholder.seal(bucket, key, protection, object_key, 0, multipart=True)
            record = sealed_record(header, record_key(object_key), metadata)
            if protection.kind is Kind.SSE_C:
                record[_STATE] = self._seal_state(object_name(bucket, key), header, record_key(object_key))
        record.update(description.tags or {})
        store = self._sealed.outer.writing(bucket, key, protection)
        token = self._token(object_name(bucket, key), record.get(ENCRYPTED))
        upload = await store.create_upload(bucket, key, record, token)
        return _info(upload, header, metadata)

    async def get(self, bucket: str, key: str, upload_id: str) -> UploadInfo:
        """An open upload. Raises NoSuchUpload, KMSError, UnencryptedUpload, Damaged."""
        opened = await self._open(bucket, key, upload_id)
        return _info(opened.upload, opened.header, opened.metadata)

    async def begin_part(
        self, bucket: str, key: str, upload_id: str, number: int, size: int | None, customer_key: Secret | None = None
    ) -> tuple[UploadInfo, SealedPartWriter]:
        """Begin a part of ``size`` bytes (None if not known). Returns also its upload.

        Raises NoSuchUpload, KMSError, CustomerKey…, UnencryptedUpload, Damaged.
        """
        store = self._sealed.store
        upload = await store.upload(bucket, key, upload_id)
        sealer, nonce, kind, secret = None, _NO_NONCE, Kind.PLAIN, None
        try:
            header = header_of(upload.record)
            if header is None:
                self._check_plain(object_name(bucket, key), upload_id)
                if customer_key is not None:
                    raise CustomerKeyNotApplicable(f"the upload of {key!r} is not encrypted with a key of the client's")
                metadata = read_plain(upload.record)
            else:
                self._check_sealed(object_name(bucket, key), upload)
                object_key = await self._sealed.keyholder.open(bucket, key, header, customer_key)
                nonce, kind, secret = new_nonce(), header.kind, record_key(object_key)
                metadata = open_record(upload.record, secret, of_upload=True)
                sealer = Sealer(part_key(object_key, number), nonce)
                size = None if size is None else sealed_size(size)
        except EnvelopeInvalid as error:
            raise Damaged(f"the upload of {object_name(bucket, key)!r}: {error}") from error
        opaque = self._sealed.opaque(kind)
        outer = self._sealed.outer.writing(bucket, key, Protection(kind, customer_key))
        writer = await outer.part_writer(bucket, key, upload_id, number, size)
        pipeline = BodyPipeline(self._sealed.pool, writer, sealer, md5=not opaque)

        def encode(entry: PartEntry) -> dict[str, bytes]:
            return {_PART: _encode_part(entry, header, secret)}

        stand_in = os.urandom(16) if opaque else None
        part = SealedPartWriter(number, pipeline, writer, kind, nonce, stand_in, encode)
        return _info(upload, header, metadata), part

    async def parts(
        self, bucket: str, key: str, upload_id: str, after: int, limit: int
    ) -> tuple[UploadInfo, Sequence[PartInfo], int | None]:
        """The upload, its parts with numbers above ``after``, and the number to pass for the next page, or None.

        Raises NoSuchUpload, KMSError, UnencryptedUpload, Damaged.
        """
        opened = await self._open(bucket, key, upload_id)
        page = await self._sealed.store.parts(bucket, key, upload_id, after, limit)
        parts = [self._part(bucket, opened, part) for part in page.parts]
        return _info(opened.upload, opened.header, opened.metadata), parts, page.next

    async def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[PartInfo],
        checksum: ObjectChecksum | None,
        precondition: Precondition = NO_PRECONDITION,
    ) -> ObjectInfo:
        """Make one object of these parts, in this order.

        Raises as :class:`OnCondition` does; PartChanged, NoSuchUpload, KMSError, UnencryptedUpload, Damaged.
        """
        opened = await self._open(bucket, key, upload_id, anew=True)
        header, secret = opened.header, opened.key
        kind = header.kind if header else Kind.PLAIN
        entries = [part.entry for part in parts]
        size = sum(entry.size for entry in entries)
        opaque = self._sealed.opaque(kind)
        etag = opaque_etag(kind, len(entries)) if opaque else multipart_etag([entry.md5 for entry in entries])
        metadata = opened.metadata._replace(etag=etag, checksum=checksum, upload=upload_id)
        if header is None or secret is None:
            record, annex = plain_record(metadata, multipart=True), encode_parts(entries)
        else:
            header = header.resized(size, etag if opaque else "")
            listed = await self._sealed.listed(bucket, key, kind)
            record, annex = sealed_record(header, secret, metadata, listed), seal_parts(header, secret, entries)
        record.update(tag_entries(opened.upload.record))
        stored_parts = [part.stored for part in parts]
        async with OnCondition(self._sealed.condition, bucket, key, precondition) as when:
            stored = await self._sealed.store.complete(bucket, key, upload_id, stored_parts, record, annex, when)
        return info_of(stored, size, metadata, header, multipart=True, tags=tag_count(record))

    async def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload and drop its parts. Raises NoSuchUpload."""
        await self._sealed.store.abort_upload(bucket, key, upload_id)

    async def list(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """Open uploads, as Store.uploads has them."""
        return await self._sealed.store.uploads(bucket, prefix, delimiter, after, limit)

    async def _open(self, bucket: str, key: str, upload_id: str, anew: bool = False) -> _Opened:
        """``anew``: with the header for the object that it becomes, another one for each attempt to complete it: what
        was recorded for one attempt, of other parts, must not open for another. (SSE-KMS and SSE-C have random ETags in
        it.)
        """
        upload = await self._sealed.store.upload(bucket, key, upload_id)
        name = object_name(bucket, key)
        try:
            header = header_of(upload.record)
            if header is None:
                self._check_plain(name, upload_id)
                return _Opened(upload, None, None, read_plain(upload.record))
            self._check_sealed(name, upload)
            if header.kind is Kind.SSE_C:
                secret = self._open_state(name, header, upload.record.get(_STATE, b""))
            elif anew and header.kind is Kind.SSE_S3:
                object_key, header = await self._sealed.keyholder.open_anew(bucket, key, header)
                secret = record_key(object_key)
            else:
                secret = record_key(await self._sealed.keyholder.open(bucket, key, header, None))
            return _Opened(upload, header, secret, open_record(upload.record, secret, of_upload=True))
        except EnvelopeInvalid as error:
            raise Damaged(f"the upload of {name!r}: {error}") from error

    def _part(self, bucket: str, opened: _Opened, part: Part) -> PartInfo:
        encoded = part.record.get(_PART, b"")
        try:
            if opened.header is not None and opened.key is not None:
                encoded = open_box(opened.key, _PART_PURPOSE, opened.header.encode(), encoded)
            (entry,) = read_parts(encoded)
            size = part.size if opened.header is None else plaintext_size(part.size)
            if (entry.number, entry.size) != (part.number, size):
                raise EnvelopeInvalid("its record is that of another part")
        except (EnvelopeInvalid, StreamInvalid, ValueError) as error:
            name = object_name(bucket, opened.upload.key)
            raise Damaged(f"part {part.number} of the upload of {name!r}: {error}") from error
        return PartInfo(entry, part.modified, part)

    def _token(self, name: str, header: bytes | None, start: bytes = b"") -> bytes:
        """An upload's id that proves what it was opened with: this header, or no encryption (None). Whoever alters the
        storage cannot make one for another record, and so cannot have the next parts stored in plaintext, or under a
        key of their choice.
        """
        start = start or _random(_TOKEN // 2)
        opened_with = _PLAIN_PURPOSE + start if header is None else _SEALED_PURPOSE + start + sha256(header).digest()
        proof = hmac.digest(self._state_key, opened_with + name.encode(), "sha256")
        return start + proof[: _TOKEN - len(start)]

    def _proves(self, upload_id: str, name: str, header: bytes | None) -> bool:
        token = _token_of(upload_id)
        return hmac.compare_digest(token, self._token(name, header, token[: _TOKEN // 2]))

    def _check_sealed(self, name: str, upload: Upload) -> None:
        """Raises EnvelopeInvalid if an encrypted upload was not opened with this record."""
        if not self._proves(upload.upload_id, name, upload.record[ENCRYPTED]):
            raise EnvelopeInvalid("its record is that of another, or the server's secret key was changed since")

    def _check_plain(self, name: str, upload_id: str) -> None:
        """Raises EnvelopeInvalid if an upload was not opened as a plain one, UnencryptedUpload if none is allowed."""
        if not self._proves(upload_id, name, None):
            raise EnvelopeInvalid(
                "its record says that it is not encrypted, which it was, or the server's secret key was changed since"
            )
        if self._sealed.encrypts_everything:
            raise UnencryptedUpload(f"the upload of {name!r} was opened before everything was to be encrypted")

    def _seal_state(self, name: str, header: Header, secret: RecordKey) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + AESGCM(self._state_key).encrypt(nonce, secret, name.encode() + b"\0" + header.encode())

    def _open_state(self, name: str, header: Header, state: bytes) -> RecordKey:
        try:
            opened = AESGCM(self._state_key).decrypt(
                state[:_NONCE], state[_NONCE:], name.encode() + b"\0" + header.encode()
            )
        except (InvalidTag, ValueError):
            raise EnvelopeInvalid(
                "its state does not open: it is damaged, or the server's secret key was changed since it was opened"
            ) from None
        return RecordKey(opened)


def _encode_part(entry: PartEntry, header: Header | None, secret: RecordKey | None) -> bytes:
    encoded = encode_parts([entry])
    if header is None or secret is None:
        return encoded
    return seal_box(secret, _PART_PURPOSE, header.encode(), encoded)


def _info(upload: Upload, header: Header | None, metadata: Metadata) -> UploadInfo:
    kind = header.kind if header else Kind.PLAIN
    key_id = header.wrapped.key_id if header and header.wrapped else ""
    of_bucket = header is not None and header.bucket_key
    return UploadInfo(upload.key, upload.upload_id, upload.started, kind, key_id, metadata.checksum, of_bucket)
