"""The sealed store: objects whose bytes and metadata are encrypted on the way into a store and opened on the way out.

It decides how to encrypt (:mod:`~strongroom.sealed.policy`), gets the keys (:mod:`~strongroom.sealed.keyholder`), and
sees to it that nothing that is to be encrypted reaches the store in plaintext. Multipart uploads are in
:mod:`~strongroom.sealed.uploads`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from strongroom.kms.base import KMS
from strongroom.kms.master import MasterKey
from strongroom.sealed.check import CheckDamaged, ForeignKMS
from strongroom.sealed.checked import CheckedKMS
from strongroom.sealed.conditions import OnCondition
from strongroom.sealed.context import check_added, object_name
from strongroom.sealed.dare import Sealer, sealed_size
from strongroom.sealed.defaults import Defaults
from strongroom.sealed.envelope import EnvelopeInvalid, Header
from strongroom.sealed.errors import CustomerKeyNotApplicable, PreconditionFailed
from strongroom.sealed.etags import ETags, plain_metadata
from strongroom.sealed.guard import WriteGuard
from strongroom.sealed.keyholder import Keyholder, protection_of
from strongroom.sealed.keys import Kind, ObjectKey, only_nonce
from strongroom.sealed.legacy import AnyHeader, Inherited, headed, legacy_tags
from strongroom.sealed.listed import LISTED, Listed
from strongroom.sealed.listing_keys import ListingKeys
from strongroom.sealed.objects import (
    NO_PRECONDITION,
    Listing,
    ObjectInfo,
    Precondition,
)
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.opened import OpenedRecords
from strongroom.sealed.outer import Outer
from strongroom.sealed.pipeline import BodyPipeline, Hasher
from strongroom.sealed.policy import SSE_S3, Protection, decide
from strongroom.sealed.record import MULTIPART
from strongroom.sealed.tags import NO_TAGS, open_tags, seal_tags, tag_count, without_tags
from strongroom.sealed.uploads import Uploads
from strongroom.sealed.writing import ObjectWriter, info_of
from strongroom.secret import Secret
from strongroom.store.base import ALWAYS, Bucket, Condition, Store, Stored
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchBucket, ObjectChanged
from strongroom.threads import Threads

_CORS = "cors"
"""The name among a bucket's settings."""

_TAGGED_AGAIN = 64
"""Attempts to set tags: with a storage that never finds the condition met, a request would go on for ever."""


class SealedStore:
    """Objects, encrypted as asked, in a store.

    ``compat``: ETags of SSE-S3 and plain objects are MD5s; without it they are opaque, and no MD5 is computed.
    ``upload_secret`` seals what an open SSE-C upload needs between requests (see :mod:`~strongroom.sealed.uploads`).
    ``defaults_seconds``: for how long the default encryption of a bucket may be remembered, where seeing a change late
    cannot store anything in plaintext.
    ``bucket_key_seconds``: for how long bucket keys are kept, 0 for not at all.
    """

    def __init__(
        self,
        store: Store,
        kms: KMS | None,
        *,
        auto_encrypt: bool = False,
        compat: bool = True,
        upload_secret: Secret,
        outer: Outer | None = None,
        guard: WriteGuard | None = None,
        defaults_seconds: float = 0.0,
        bucket_key_seconds: float = 0.0,
    ) -> None:
        self.store = store
        self.keyholder = Keyholder(kms, bucket_key_seconds)
        self.pool = Threads(2 * (os.cpu_count() or 1) + 2, "sealed")
        self.uploads = Uploads(self, upload_secret)
        self._kms = kms
        self._auto_encrypt = auto_encrypt
        self._compat = compat
        self.outer = outer or Outer(store)
        self._guard = guard
        self._defaults = Defaults(store, defaults_seconds)
        self._listing_keys = ListingKeys(store, self.keyholder)
        self._etags = ETags(self.keyholder, self._listing_keys)
        self._opened = OpenedRecords()

    async def start(self) -> None:
        """Start store and KMS, in the process and event loop that will use them."""
        await self.store.start()
        if self._kms is not None:
            try:
                await self._kms.start()
            except BaseException:
                await self.stop()  # a KMS that turns out to be another one has given us a token
                raise

    async def stop(self) -> None:
        """Let go of everything."""
        if self._kms is not None:
            await self._kms.stop()
        await self.store.stop()
        self.pool.shutdown(wait=False)

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket. Raises BucketExists."""
        made = await self.store.create_bucket(name)
        self._forget(name)  # one of this name may have been removed elsewhere
        return made

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name. Raises NoSuchBucket."""
        return await self.store.bucket(name)

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets, by name."""
        return await self.store.buckets()

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket. Raises NoSuchBucket, BucketNotEmpty."""
        await self.store.delete_bucket(name)
        self._forget(name)

    def _forget(self, bucket: str) -> None:
        self._listing_keys.forget(bucket)
        self._defaults.forget(bucket)
        if self._guard is not None:
            self._guard.forget(bucket)

    async def default_encryption(self, bucket: str) -> Protection | None:
        """How the bucket encrypts objects whose request does not say: SSE-S3, SSE-KMS, or None. Raises NoSuchBucket."""
        return await self._defaults.get(bucket)

    async def replace_listing_keys(self, active: MasterKey, buckets: Sequence[str]) -> None:
        """Replace the listing keys of these buckets that are not under ``active``, the master key that wraps now.

        Raises KMSError, StoreError.
        """
        for bucket in buckets:
            # Removed meanwhile; or the KMS is not that of others who write there, which each object will say.
            with suppress(NoSuchBucket, ForeignKMS, CheckDamaged):
                if await self._listing_keys.is_outdated(bucket, active):
                    await self.protection(bucket, SSE_S3)
                    await self._listing_keys.replace(bucket)

    async def renew_checks(self, active: MasterKey, buckets: Sequence[str], whole: bool) -> None:
        """Seal anew, under the master key that wraps now (``active``), the check values of these buckets; if they are
        the ``whole`` place, its check value as well. Raises KMSError, ForeignKMS, CheckDamaged, StoreError.
        """
        if whole and isinstance(self._kms, CheckedKMS):
            await self._kms.renew(active)
        if self._guard is not None:
            for bucket in buckets:
                with suppress(NoSuchBucket):
                    await self._guard.renew(bucket, active)

    async def examine_check(self, bucket: str = "") -> MasterKey | None:
        """The master key that opens the check value of a bucket, or of the whole place if no bucket is named; None if
        there is no check value. Gateways that cannot use this key do not write there.

        Raises KMSError, ForeignKMS, CheckDamaged, NoSuchBucket, StoreError.
        """
        if bucket:
            return None if self._guard is None else await self._guard.examine(bucket)
        return await self._kms.examine() if isinstance(self._kms, CheckedKMS) else None

    async def set_default_encryption(self, bucket: str, protection: Protection | None) -> None:
        """Set or remove (None) the default. Raises NoSuchBucket; NoKMS if it needs a KMS and there is none."""
        decide(protection, None, False, self.keyholder.has_kms)
        await self._defaults.set(bucket, protection)

    async def cors(self, bucket: str) -> bytes | None:
        """The bucket's CORS rules (which web pages it lets in), as a document; None where it has none. Raises
        NoSuchBucket.
        """
        return (await self.store.bucket(bucket)).settings.get(_CORS)

    async def set_cors(self, bucket: str, document: bytes | None) -> None:
        """Set or remove (None) the bucket's CORS rules; the document is opaque here. Raises NoSuchBucket."""
        await self.store.set_bucket(bucket, _CORS, document)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def protection(self, bucket: str, asked: Protection | None) -> Protection:
        """How a new object in this bucket is encrypted. Raises NoSuchBucket, NoKMS, ContextRefused; ForeignKMS and
        CheckDamaged if a check value says that others write there with another KMS.
        """
        default = None
        if asked is None or asked.kind is Kind.PLAIN:
            # Without auto-encryption, missing a new default would store plaintext.
            default = await (self._defaults.get_soon(bucket) if self._auto_encrypt else self._defaults.get(bucket))
        elif asked.context:
            check_added(bucket, asked.context)
        protection = decide(asked, default, self._auto_encrypt, self.keyholder.has_kms)
        if asked is not None and asked.bucket_key is not None:
            protection = protection._replace(bucket_key=asked.bucket_key)
        if protection.kind is Kind.SSE_KMS:
            protection = protection._replace(bucket_key=await self._bucket_key(bucket, protection))
        elif protection.bucket_key is not None:
            protection = protection._replace(bucket_key=None)  # a bucket may have the setting; it is for SSE-KMS
        if self._guard is not None:
            await self._guard.admit(bucket)
        return protection

    async def _bucket_key(self, bucket: str, protection: Protection) -> bool:
        """Whether the data key of a new object is to be a bucket key: asked for, and allowed by the operator."""
        if not self.keyholder.keeps_bucket_keys:
            return False
        if protection.bucket_key is None:
            default = await self._defaults.get_soon(bucket)
            return default is not None and bool(default.bucket_key)
        return protection.bucket_key

    @property
    def encrypts_everything(self) -> bool:
        """Whether nothing is stored in plaintext."""
        return self._auto_encrypt

    def opaque(self, kind: Kind) -> bool:
        """Whether the ETag of an object of this kind is opaque."""
        return kind in (Kind.SSE_C, Kind.SSE_KMS) or not self._compat

    async def listed(self, bucket: str, key: str, kind: Kind) -> Listed | None:
        """What seals the ETag of a new object for listings. None if the ETag stands in the header, or no listing key
        can be had.
        """
        if kind is not Kind.SSE_S3 or self.opaque(kind):
            return None
        listing_key = await self._listing_keys.writing(bucket)
        return Listed(listing_key, object_name(bucket, key)) if listing_key is not None else None

    async def was_listed(self, bucket: str, stored: Stored) -> bool:
        """Whether an object has an entry for listings that the listing key of its bucket does not open."""
        if LISTED not in stored.record:
            return False
        listing_key = await self._listing_keys.writing(bucket, make=False)
        return listing_key is not None and listing_key.open(object_name(bucket, stored.key), stored.record) is None

    async def begin(
        self,
        bucket: str,
        key: str,
        asked: Protection | None,
        size: int | None,
        *,
        md5: bool = False,
        hashers: Sequence[Hasher] = (),
    ) -> ObjectWriter:
        """Begin an object of ``size`` bytes (None if not known); ``md5`` and ``hashers`` as BodyPipeline has them.

        Raises NoSuchBucket, NoKMS, KMSError, NameRefused.
        """
        protection = await self.protection(bucket, asked)
        sealing = sealer = None
        if protection.kind is not Kind.PLAIN:
            sealing = await self.keyholder.new(bucket, key, protection)
            sealer = Sealer(sealing[1], only_nonce(sealing[1]))
            size = None if size is None else sealed_size(size)
        opaque = self.opaque(protection.kind)
        listed = await self.listed(bucket, key, protection.kind)
        store = self.outer.writing(bucket, key, protection)
        writer = await store.writer(bucket, key, size, encrypted=sealing is not None)
        pipeline = BodyPipeline(self.pool, writer, sealer, md5 or not opaque, hashers)
        on_condition = partial(OnCondition, self.condition, bucket, key)
        return ObjectWriter(pipeline, writer, protection, sealing, opaque, listed, on_condition)

    async def condition(self, bucket: str, key: str, precondition: Precondition) -> Condition:
        """What the store must check for a precondition to hold. Raises PreconditionFailed; with If-Match also
        NoSuchObject, and KMSError, NoKMS or Damaged if the object's ETag cannot be read.
        """
        if precondition.if_none_match:
            return Condition(absent=True)
        if precondition.if_match is None:
            return ALWAYS if precondition.identity is None else Condition(identity=precondition.identity)
        stored = await self.stored(bucket, key)
        if precondition.if_match != "*":
            try:
                etag = await self._etags.of(bucket, stored)
            except EnvelopeInvalid as error:
                raise Damaged(f"{object_name(bucket, key)!r}: {error}") from error
            if etag != precondition.if_match:
                raise PreconditionFailed(f"the ETag of {object_name(bucket, key)!r} is another")
        return Condition(identity=precondition.identity or stored.identity)

    async def delete(self, bucket: str, key: str, precondition: Precondition = NO_PRECONDITION) -> bool:
        """Remove an object; True if there was one. Raises as :class:`OnCondition` does."""
        async with OnCondition(self.condition, bucket, key, precondition) as when:
            return await self.store.delete(bucket, key, when)

    # -- reading ---------------------------------------------------------------------------------------------------

    async def head(self, bucket: str, key: str, customer_key: Secret | None = None) -> ObjectInfo:
        """What is known of an object. Raises NoSuchBucket, NoSuchObject, KMSError, SealedError, Damaged."""
        stored = await self.outer.read(bucket, key, customer_key, lambda store: store.head(bucket, key))
        info, _ = await self._describe(bucket, stored, customer_key)
        return info

    async def open(
        self, bucket: str, key: str, customer_key: Secret | None = None, *, whole: bool = True
    ) -> OpenObject:
        """Open an object for reading; ``whole`` as Store.open has it. Raises as :meth:`head`."""
        reader = await self.outer.read(bucket, key, customer_key, lambda store: store.open(bucket, key, whole=whole))
        try:
            info, sealing = await self._describe(bucket, reader.stored, customer_key)
        except BaseException:
            await reader.close()
            raise
        return OpenObject(self.pool, bucket, reader, info, sealing)

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        """One page of a listing, as Store.list has it. ETags that the KMS denies are replaced by stand-ins."""
        page = await self.store.list(bucket, prefix, delimiter, after, limit)
        return Listing(await self._etags.page(bucket, page.objects), page.prefixes, page.next)

    async def _describe(
        self, bucket: str, stored: Stored, customer_key: Secret | None
    ) -> tuple[ObjectInfo, tuple[AnyHeader, ObjectKey] | None]:
        record, key = stored.record, stored.key
        try:
            found = self._opened.find(bucket, key, record) if customer_key is None else None
            if found is not None:
                metadata, sealing = found
                known = sealing[0]
                return info_of(stored, known.size, metadata, known, known.multipart, tag_count(record)), sealing
            legacy, header = headed(bucket, stored)
            tags = tag_count(record, legacy_tags(legacy))
            if header is None:
                if customer_key is not None:
                    name = object_name(bucket, key)
                    raise CustomerKeyNotApplicable(f"{name!r} is not encrypted with a key of the client's")
                metadata = legacy.metadata(None) if legacy else plain_metadata(stored)
                multipart = MULTIPART in record
                return info_of(stored, stored.size, metadata, None, multipart, tags), None
            object_key = await self.keyholder.open(bucket, key, header, customer_key)
            if isinstance(header, Header):
                may_be_kept = self.keyholder.may_be_kept(header)
                metadata = self._opened.metadata(bucket, key, record, (header, object_key), may_be_kept)
            else:
                assert legacy is not None
                metadata = legacy.metadata(object_key)
        except EnvelopeInvalid as error:
            raise Damaged(f"{object_name(bucket, key)!r}: {error}") from error
        return info_of(stored, header.size, metadata, header, header.multipart, tags), (header, object_key)

    async def stored(self, bucket: str, key: str) -> Stored:
        """An object as it lies in the store, unopened. Raises NoSuchObject; CustomerKeyNeeded if the storage says
        nothing of it without the client's key.
        """
        return await self.outer.read(bucket, key, None, lambda store: store.head(bucket, key))

    # -- tags ------------------------------------------------------------------------------------------------------

    async def seal_tags(
        self, bucket: str, key: str, protection: Protection, tags: str, count: int
    ) -> Mapping[str, bytes]:
        """Tags for a Description: entries of the record of an object of this name. Raises KMSError."""
        return await seal_tags(self.keyholder, bucket, key, protection, tags, count)

    async def tags(self, bucket: str, key: str) -> str:
        """The tags of an object, as a query string. Raises NoSuchObject, KMSError, Damaged."""
        return await self.tags_of(bucket, await self.stored(bucket, key))

    async def tags_of(self, bucket: str, stored: Stored) -> str:
        """As :meth:`tags`, of an object that was looked up already."""
        try:
            legacy, header = headed(bucket, stored)
            kind = header.kind if header else Kind.PLAIN
            return await open_tags(self.keyholder, bucket, stored.key, kind, stored.record, legacy_tags(legacy))
        except EnvelopeInvalid as error:
            raise Damaged(f"the tags of {object_name(bucket, stored.key)!r}: {error}") from error

    async def set_tags(self, bucket: str, key: str, tags: str, count: int) -> None:
        """Replace the tags of an object, "" to remove them. Raises NoSuchObject, KMSError; ForeignKMS and CheckDamaged
        as :meth:`protection`; ObjectChanged if the object is written over and over.
        """
        if self._guard is not None:
            await self._guard.admit(bucket)
        for _ in range(_TAGGED_AGAIN):
            stored = await self.stored(bucket, key)
            legacy, header = _headed(bucket, stored)
            protection = protection_of(bucket, header)
            sealed = await self.seal_tags(bucket, key, protection, tags, count)
            record = {**without_tags(stored.record), **(NO_TAGS if legacy else {}), **sealed}
            try:
                store = self.outer.writing(bucket, key, protection)
                await store.rewrite(bucket, key, record, None, Condition(identity=stored.identity))
            except ConditionFailed:
                continue  # the object was written meanwhile: these tags are for what is there now
            return
        raise ObjectChanged(f"{object_name(bucket, key)!r} was written each time that it was to get its tags")


def _headed(bucket: str, stored: Stored) -> tuple[Inherited | None, AnyHeader | None]:
    """As :func:`~strongroom.sealed.legacy.headed`; a plain record is checked as well. Raises Damaged."""
    try:
        found = headed(bucket, stored)
        if found == (None, None):
            plain_metadata(stored)
    except EnvelopeInvalid as error:
        raise Damaged(f"{object_name(bucket, stored.key)!r}: {error}") from error
    return found
