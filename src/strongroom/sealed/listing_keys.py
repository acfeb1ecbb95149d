"""Listing keys: each bucket has one, under which the ETags of its objects are sealed once more, for listings.

A page of a thousand objects then takes one key and not a thousand, each of which an external KMS would be asked for.
The key opens ETags and nothing else. It lies among the settings of the bucket, sealed as the object key of an object
with an empty name. For writing it is kept in memory for some minutes; for each page that is read, a KMS that can deny
it is asked again (``docs/decisions/0044-a-key-for-the-etags-of-a-bucket.md``).

Nothing depends on it: if it cannot be had, objects are recorded without the entry for listings, and listings open each
object's own record.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from strongroom.kms.base import KMSError, NoSuchKey, WrappedKeyInvalid
from strongroom.kms.master import MasterKey, master_of
from strongroom.sealed.envelope import EnvelopeInvalid, Header, decode_header
from strongroom.sealed.errors import NoKMS
from strongroom.sealed.keyholder import Keyholder
from strongroom.sealed.keys import ObjectKey, new_object_key
from strongroom.sealed.listed import ListingKey
from strongroom.sealed.policy import SSE_S3
from strongroom.sealed.remembered import Lately
from strongroom.store.base import Store
from strongroom.store.errors import StoreError

_SETTING = "listing-key"
_NAMELESS = ""  # no object has this name

_SECONDS = 240.0
"""How long a key is remembered: the bucket may be removed and made anew by another gateway."""

_SWEEP_SECONDS = 60.0
"""How often keys that are too old are forgotten, even if no request comes: a key stays five minutes at most."""

_FAILED_SECONDS = 10.0

_log = logging.getLogger("strongroom.sealed")


class _Found(NamedTuple):
    """A listing key, and the header that holds it sealed."""

    header: Header
    key: ListingKey


class ListingKeys:
    """The listing keys of a store's buckets."""

    def __init__(self, store: Store, keyholder: Keyholder) -> None:
        self._store = store
        self._keyholder = keyholder
        self._known: Lately[str, _Found] = Lately(_SECONDS)
        self._failed: Lately[str, None] = Lately(_FAILED_SECONDS)
        self._sweeping: asyncio.TimerHandle | None = None

    async def writing(self, bucket: str, make: bool = True) -> ListingKey | None:
        """The key for what is written now; if the bucket has none, it is made, or None. None if it cannot be had."""
        now = time.monotonic()
        if self._known.holds(bucket, now):
            return self._known.known(bucket).key
        if bucket in self._known:
            self._known.keep(bucket, self._known.known(bucket), now)  # only this request looks again; others use it
        return await self._or_none(bucket, lambda: self._found(bucket, make), writing=make)

    def asker(self, bucket: str) -> Asker:
        """An :class:`Asker` for the key of a bucket, for one page of a listing."""
        return Asker(self, bucket)

    async def reading(self, bucket: str) -> ListingKey | None:
        """The key of a bucket. None if the bucket has none, or it cannot be had.

        Unless the master key lies in memory, the KMS is asked each time: it may deny the key by now.
        """
        if not self._known.holds(bucket, time.monotonic()):
            return await self._or_none(bucket, lambda: self._found(bucket, make=False))
        found = self._known.known(bucket)
        if self._keyholder.may_be_kept(found.header):
            return found.key
        return await self._or_none(bucket, lambda: self._opened(bucket, found.header))

    def forget(self, bucket: str) -> None:
        """Forget the key of a bucket that was removed."""
        self._known.forget(bucket, time.monotonic())

    async def is_outdated(self, bucket: str, active: MasterKey) -> bool:
        """Whether the bucket has a key that is not under ``active``, the master key that wraps now. Raises
        StoreError.
        """
        document = (await self._store.bucket(bucket)).settings.get(_SETTING)
        return document is not None and not _is_under(document, active)

    async def replace(self, bucket: str) -> None:
        """Replace the key by a new one: whoever has a former master key shall not read the ETags of what is written
        from now on. Raises KMSError, NoKMS, StoreError.
        """
        await self._store.set_bucket(bucket, _SETTING, await self._sealed(bucket, new_object_key()))
        self._known.forget(bucket, time.monotonic())

    async def _or_none(
        self, bucket: str, find: Callable[[], Awaitable[ListingKey | None]], writing: bool = False
    ) -> ListingKey | None:
        """What ``find`` returns; None if it fails, and for some seconds after that, without another attempt."""
        if self._failed.holds(bucket, time.monotonic()):
            return None
        try:
            return await find()
        except (KMSError, NoKMS, StoreError, EnvelopeInvalid, OSError) as error:
            if writing and isinstance(error, NoSuchKey | WrappedKeyInvalid):
                level, what = logging.WARNING, "a bucket is written to under another master key than before"
            else:
                level, what = logging.INFO, "the listing key of a bucket cannot be had"
            _log.log(level, what, extra={"bucket": bucket, "reason": str(error)})
            self._failed.keep(bucket, None, time.monotonic())  # a KMS that hangs takes long to fail
            self._known.forget(bucket, time.monotonic())
            return None

    async def _found(self, bucket: str, make: bool) -> ListingKey | None:
        now = time.monotonic()
        document = (await self._store.bucket(bucket)).settings.get(_SETTING)
        if document is None:
            if not make:
                return None
            new = new_object_key()
            made = await self._sealed(bucket, new)
            document = await self._store.leave_setting(bucket, _SETTING, made)
            if document == made:
                return self._keep(bucket, decode_header(made), ListingKey(new), now)
        header = decode_header(document)
        return self._keep(bucket, header, await self._opened(bucket, header), now)

    def _keep(self, bucket: str, header: Header, key: ListingKey, now: float) -> ListingKey:
        self._known.keep(bucket, _Found(header, key), now)
        if self._sweeping is None:
            self._sweep_later()
        return key

    def _sweep_later(self) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        if self._known.forget_old(time.monotonic()):
            self._sweep_later()

    async def _opened(self, bucket: str, header: Header) -> ListingKey:
        return ListingKey(await self._keyholder.open_by_kms(bucket, _NAMELESS, header))

    async def _sealed(self, bucket: str, key: ObjectKey) -> bytes:
        return (await self._keyholder.seal(bucket, _NAMELESS, SSE_S3, key, 0)).encode()


class Asker:
    """Asks for the key of a bucket when it is first needed, and only once."""

    def __init__(self, keys: ListingKeys, bucket: str) -> None:
        self._keys = keys
        self._bucket = bucket
        self._asked: asyncio.Future[ListingKey | None] | None = None

    async def ask(self) -> ListingKey | None:
        """As :meth:`ListingKeys.reading`."""
        if self._asked is None:
            self._asked = asyncio.ensure_future(self._keys.reading(self._bucket))
        return await self._asked


def _is_under(document: bytes, master: MasterKey) -> bool:
    """Whether a key that is sealed like this is under a master key."""
    try:
        wrapped = decode_header(document).wrapped
    except EnvelopeInvalid:
        return False
    return wrapped is not None and master_of(wrapped) == master
