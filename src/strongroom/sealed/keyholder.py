"""The keyholder: makes and opens object keys, with data keys of the KMS or the client's key. Knows nothing of bytes.

It keeps no keys, except bucket keys (see :mod:`strongroom.kms.bucket_keys`).
"""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.kms.base import KMS, Context, KMSError, WrappedKey
from strongroom.kms.bucket_keys import BucketKeys
from strongroom.kms.master import MasterKey, master_of
from strongroom.sealed.context import kms_context, object_name
from strongroom.sealed.envelope import EnvelopeInvalid, Header
from strongroom.sealed.errors import (
    ContextRefused,
    CustomerKeyNeeded,
    CustomerKeyNotApplicable,
    CustomerKeyWrong,
    NoKMS,
)
from strongroom.sealed.keys import (
    ExternalKey,
    KeyRefused,
    Kind,
    ObjectKey,
    new_iv,
    new_object_key,
    open_object_key,
    seal_object_key,
)
from strongroom.sealed.legacy import AnyHeader, LegacyHeader
from strongroom.sealed.policy import PLAIN, Protection, master_key_name
from strongroom.secret import Secret

_PROBE = {"strongroom": "probe"}  # no object has this context: that of one in a bucket has "BUCKET/KEY" as its value


def protection_of(bucket: str, header: AnyHeader | None, customer_key: Secret | None = None) -> Protection:
    """The protection that an object with this header has: with it, its key is sealed anew in the same way.

    Raises ContextRefused.
    """
    if header is None:
        return PLAIN
    if header.kind is not Kind.SSE_KMS or header.wrapped is None:
        return Protection(header.kind, customer_key)
    context = header.added_context(bucket) if isinstance(header, LegacyHeader) else header.context
    key_id = header.wrapped.key_id if header.named else ""
    return Protection(header.kind, None, key_id, context, header.bucket_key)


class Keyholder:
    """Makes and opens object keys. ``kms`` may be None: then only SSE-C works.

    ``bucket_key_seconds``: for how long bucket keys are kept, 0 for not at all.
    """

    def __init__(self, kms: KMS | None, bucket_key_seconds: float = 0.0) -> None:
        self._kms = kms
        self._bucket_keys = BucketKeys(kms, bucket_key_seconds) if kms and bucket_key_seconds else None

    @property
    def keeps_bucket_keys(self) -> bool:
        """Whether bucket keys are kept."""
        return self._bucket_keys is not None

    @property
    def has_kms(self) -> bool:
        """Whether a KMS is configured."""
        return self._kms is not None

    def may_be_kept(self, header: AnyHeader) -> bool:
        """Whether the object key behind a header may outlive the request that asked for it: only if its master key lies
        in the memory of this process as well.
        """
        wrapped = header.wrapped
        return self._kms is not None and wrapped is not None and self._kms.in_memory(wrapped)

    async def active(self, key_id: str = "") -> MasterKey:
        """The master key that wraps new data keys now for this name ("" for the default one), found by having a data
        key wrapped.

        Raises KMSError, NoKMS.
        """
        (made,) = await self._require_kms().generate([_PROBE], key_id)
        return master_of(made.wrapped)

    async def new(self, bucket: str, key: str, protection: Protection) -> tuple[Header, ObjectKey]:
        """A new object key for an object, and the header that holds it sealed. Raises KMSError, NoKMS."""
        object_key = new_object_key()
        return await self.seal(bucket, key, protection, object_key, 0), object_key

    async def seal(
        self,
        bucket: str,
        key: str,
        protection: Protection,
        object_key: ObjectKey,
        size: int,
        multipart: bool = False,
    ) -> Header:
        """Seal an object key for the object of this name. Raises KMSError, NoKMS."""
        is_sse_kms = protection.kind is Kind.SSE_KMS
        bucket_keys = self._bucket_keys if is_sse_kms and protection.bucket_key else None
        key_id = master_key_name(protection.key_id) if protection.key_id else ""
        if protection.kind is Kind.SSE_C:
            assert protection.customer_key is not None
            external, wrapped = ExternalKey(protection.customer_key.reveal()), None
        else:
            context = kms_context(bucket, None if bucket_keys else key, protection.context)
            if bucket_keys is not None:
                data_key = await bucket_keys.generate(context, key_id)
            else:
                (data_key,) = await self._require_kms().generate([context], key_id)
            external, wrapped = ExternalKey(data_key.plaintext), data_key.wrapped
        iv = new_iv()
        sealed = seal_object_key(external, object_key, protection.kind, iv, object_name(bucket, key))
        return Header(
            protection.kind,
            size,
            iv,
            sealed,
            wrapped,
            multipart=multipart,
            context=protection.context,
            bucket_key=bucket_keys is not None,
            named=is_sse_kms and bool(key_id),
        )

    async def open(self, bucket: str, key: str, header: AnyHeader, customer_key: Secret | None) -> ObjectKey:
        """The object key that a header holds sealed.

        Raises KMSError, NoKMS; CustomerKeyNeeded, CustomerKeyNotApplicable, CustomerKeyWrong; EnvelopeInvalid if the
        right data key does not open it.
        """
        if header.kind is Kind.SSE_C:
            if customer_key is None:
                raise CustomerKeyNeeded(f"{object_name(bucket, key)!r} is encrypted with a key of the client's")
            return _open_with_customer_key(header, customer_key, bucket, key)
        if customer_key is not None:
            raise CustomerKeyNotApplicable(f"{object_name(bucket, key)!r} is not encrypted with a key of the client's")
        wrapped, context = _asked(header, bucket, key)
        if header.bucket_key and self._bucket_keys is not None:
            data_key = await self._bucket_keys.unwrap(wrapped, context)
        else:
            (answer,) = await self._require_kms().unwrap([(wrapped, context)])
            if isinstance(answer, KMSError):
                raise answer
            data_key = answer
        return _open(ExternalKey(data_key), header, bucket, key)

    async def open_anew(self, bucket: str, key: str, header: Header) -> tuple[ObjectKey, Header]:
        """As :meth:`open`, for SSE-S3. Returns also a header that seals the object key anew, with the same data key:
        what is bound to the one is not bound to the other.
        """
        (answer,) = await self._require_kms().unwrap([_asked(header, bucket, key)])
        if isinstance(answer, KMSError):
            raise answer
        external, iv = ExternalKey(answer), new_iv()
        object_key = _open(external, header, bucket, key)
        sealed = seal_object_key(external, object_key, header.kind, iv, object_name(bucket, key))
        return object_key, header._replace(iv=iv, sealed_key=sealed)

    async def open_by_kms(self, bucket: str, key: str, header: Header) -> ObjectKey:
        """As :meth:`open`, for what is always sealed under the KMS and never under a client's key. Raises KMSError,
        NoKMS, EnvelopeInvalid.
        """
        if header.kind is Kind.SSE_C:  # it was altered: asking the client for a key would be the wrong answer
            raise EnvelopeInvalid(f"what is kept of {object_name(bucket, key)!r} under the KMS names a client's key")
        return await self.open(bucket, key, header, None)

    async def open_many(
        self, bucket: str, headers: Sequence[tuple[str, AnyHeader]]
    ) -> list[ObjectKey | KMSError | EnvelopeInvalid]:
        """The object keys that the headers of SSE-S3 objects hold, from one call to the KMS; for a header that does not
        open, the error. Raises NoKMS.
        """
        questions = [_asked_or_why_not(header, bucket, key) for key, header in headers]
        asked = [question for question in questions if not isinstance(question, EnvelopeInvalid)]
        answers = iter(await self._require_kms().unwrap(asked))
        opened: list[ObjectKey | KMSError | EnvelopeInvalid] = []
        for (key, header), question in zip(headers, questions, strict=True):
            answer = question if isinstance(question, EnvelopeInvalid) else next(answers)
            if isinstance(answer, KMSError | EnvelopeInvalid):
                opened.append(answer)
                continue
            try:
                opened.append(_open(ExternalKey(answer), header, bucket, key))
            except EnvelopeInvalid as error:
                opened.append(error)
        return opened

    def _require_kms(self) -> KMS:
        if self._kms is None:
            raise NoKMS("this needs a KMS, and none is configured")
        return self._kms


def _asked(header: AnyHeader, bucket: str, key: str) -> tuple[WrappedKey, Context]:
    """What the KMS is asked to unwrap. Raises EnvelopeInvalid."""
    wrapped = header.wrapped
    if wrapped is None:
        raise EnvelopeInvalid(f"the record of {object_name(bucket, key)!r} names no data key")
    if isinstance(header, LegacyHeader):
        return wrapped, header.kms_context(bucket, key)
    try:
        return wrapped, kms_context(bucket, None if header.bucket_key else key, header.context)
    except ContextRefused as error:
        raise EnvelopeInvalid(str(error)) from None


def _asked_or_why_not(header: AnyHeader, bucket: str, key: str) -> tuple[WrappedKey, Context] | EnvelopeInvalid:
    try:
        return _asked(header, bucket, key)
    except EnvelopeInvalid as error:
        return error


def _open(external: ExternalKey, header: AnyHeader, bucket: str, key: str) -> ObjectKey:
    """The object key that is sealed under an external key. Raises EnvelopeInvalid."""
    if isinstance(header, LegacyHeader):
        return header.open(external, bucket, key)
    try:
        return open_object_key(external, header.sealed_key, header.kind, header.iv, object_name(bucket, key))
    except KeyRefused as error:
        raise EnvelopeInvalid(str(error)) from None


def _open_with_customer_key(header: AnyHeader, customer_key: Secret, bucket: str, key: str) -> ObjectKey:
    try:
        return _open(ExternalKey(customer_key.reveal()), header, bucket, key)
    except EnvelopeInvalid:
        # A wrong key and a damaged seal cannot be told apart: nothing of the client's key is recorded.
        raise CustomerKeyWrong(f"the key of the request does not open {object_name(bucket, key)!r}") from None
