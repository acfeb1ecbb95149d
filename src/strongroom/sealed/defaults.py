"""The default encryption of buckets: how it is kept among a bucket's settings, and for how long it is remembered."""

from __future__ import annotations

import time

from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import Protection
from strongroom.sealed.remembered import Lately
from strongroom.store.base import Store
from strongroom.store.errors import StoreError

_SETTING = "encryption"
_BUCKET_KEY = "+BUCKET_KEY"
_KINDS = {kind.name: kind for kind in (Kind.SSE_S3, Kind.SSE_KMS)}
"""The kinds that a bucket can have as its default. "Not encrypted" is not among them: whoever alters the storage could
overrule auto-encryption with it.
"""


class Defaults:
    """How the buckets of a store encrypt an object if the request does not say.

    ``seconds``: for how long :meth:`get_soon` may remember an answer, and so miss a change made elsewhere; 0 for not at
    all.
    """

    def __init__(self, store: Store, seconds: float = 0.0) -> None:
        self._store = store
        self._seconds = seconds
        self._known: Lately[str, Protection | None] = Lately(seconds)

    async def get(self, bucket: str) -> Protection | None:
        """The default of a bucket, None where it has none. Raises NoSuchBucket, StoreError."""
        document = (await self._store.bucket(bucket)).settings.get(_SETTING)
        return _decode(bucket, document) if document else None

    async def get_soon(self, bucket: str) -> Protection | None:
        """As :meth:`get`, but the answer may be some seconds old."""
        if not self._seconds:
            return await self.get(bucket)
        now = time.monotonic()
        if self._known.holds(bucket, now):
            return self._known.known(bucket)
        protection = await self.get(bucket)
        self._known.keep(bucket, protection, now)
        return protection

    async def set(self, bucket: str, protection: Protection | None) -> None:
        """Set or remove (None) the default of a bucket. Raises NoSuchBucket, StoreError."""
        document = None if protection is None else _encode(protection)
        await self._store.set_bucket(bucket, _SETTING, document)
        self.forget(bucket)

    def forget(self, bucket: str) -> None:
        """Forget a bucket that was removed: one of the same name may follow."""
        self._known.forget(bucket, time.monotonic())


def _encode(protection: Protection) -> bytes:
    """The kind, whether with bucket keys, and the name of the master key if one is named."""
    kind = protection.kind.name + (_BUCKET_KEY if protection.bucket_key else "")
    return (f"{kind} {protection.key_id}" if protection.key_id else kind).encode()


def _decode(bucket: str, document: bytes) -> Protection:
    try:
        kind, _, key_id = document.decode().partition(" ")
        of_bucket = kind.endswith(_BUCKET_KEY)
        return Protection(_KINDS[kind.removesuffix(_BUCKET_KEY)], key_id=key_id, bucket_key=of_bucket)
    except (KeyError, UnicodeDecodeError):
        raise StoreError(f"the default encryption of the bucket {bucket!r} is damaged") from None
