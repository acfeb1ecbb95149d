"""Listings of the S3 store: the backend's, without the hidden names, each object with its record.

S3's listing does not contain metadata (MinIO's can). They come from a HEAD for each object, many at a time, and are
remembered by the backend's ETag, size and time, so that an object that does not change is asked for only once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from strongroom.store.base import DAMAGED_RECORD, Page, Stored
from strongroom.store.concurrently import each
from strongroom.store.errors import Damaged, NoSuchObject, Refused
from strongroom.store.paging import Rolled
from strongroom.store.recent import Recent, weight_of
from strongroom.store.s3 import names
from strongroom.store.s3.backend_listing import PAGE, Listed, Walk, list_names, name_of
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Untold
from strongroom.store.s3.records import Unrecorded, complete

_REMEMBERED = 64 * 1024**2  # bytes of memory: 40,000 objects with short names and few headers

Find = Callable[[str, str], Awaitable[Stored]]
"""Asks the backend for the object under a bucket and a key."""


class Listings:
    """Lists buckets. ``find`` asks for one object."""

    def __init__(self, client: Client, find: Find) -> None:
        self._client = client
        self._find = find
        self._known: Recent[tuple[str, Listed], Stored] = Recent(_REMEMBERED)

    async def page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page, as Store.list returns it."""
        entries, more = await self._entries(bucket, prefix, delimiter, after, limit)
        objects = [entry for entry in entries if isinstance(entry, Listed)]
        stored = await each(objects, lambda listed: self._stored(bucket, listed))
        following = name_of(entries[-1]) if more and entries else None
        return Page(
            [found for found in stored if found is not None],
            [entry for entry in entries if isinstance(entry, str)],
            following,
        )

    async def _entries(
        self, bucket: str, prefix: str, delimiter: str, after: str, limit: int
    ) -> tuple[list[Listed | str], bool]:
        """Up to ``limit`` objects and common prefixes in order, and whether there are more."""
        if delimiter not in ("", "/") and self._client.software != "AmazonS3":
            return await self._rolled_up(bucket, Rolled(prefix, delimiter), after, limit)
        entries: list[Listed | str] = [*await self._begun(bucket, Rolled(prefix, delimiter), after)]
        walk = Walk(self._client, bucket, prefix, delimiter, after)
        while True:
            page = await walk.page(min(PAGE, limit + 2 - len(entries)))
            found: list[Listed | str] = [*page.objects, *page.prefixes]
            found.sort(key=name_of)  # by code points, which is the order of the UTF-8 bytes
            hidden = any(names.is_hidden(name_of(entry)) for entry in found)
            entries += [entry for entry in found if name_of(entry) > walk.after and await self._visible(bucket, entry)]
            if len(entries) > limit:
                return entries[:limit], True
            if page.next is None:
                return entries, False
            if len(entries) == limit and not delimiter and name_of(entries[-1]) > names.LAST_HIDDEN:
                return entries, True  # more than the backend lists at a time; what follows is not hidden
            if hidden and not delimiter:  # skip all other hidden names at once
                walk.skip_to(max([walk.after, names.LAST_HIDDEN, *map(name_of, entries[-1:])]))

    async def _rolled_up(self, bucket: str, rolled: Rolled, after: str, limit: int) -> tuple[list[Listed | str], bool]:
        """The same for a delimiter that the backend is not given: with any but a slash, MinIO lists a common prefix
        again on the next page, and does so for ever if its names fill a page.
        """
        entries: list[Listed | str] = []
        walk = Walk(
            self._client, bucket, rolled.prefix, "", after + names.TOP if rolled.roll(after) == after else after
        )
        while True:
            page = await walk.page(min(PAGE, limit + 2))
            for listed in page.objects:
                if names.is_hidden(listed.key) or not rolled.behind(listed.key, after):
                    continue
                common = rolled.roll(listed.key)
                if common is None:
                    entries.append(listed)
                elif not entries or entries[-1] != common:
                    entries.append(common)
                if len(entries) > limit:
                    return entries[:limit], True
            if page.next is None:
                return entries, False
            if not page.objects:
                continue
            last = page.objects[-1].key
            common = rolled.roll(last)
            if names.is_hidden(last):
                walk.skip_to(names.LAST_HIDDEN)  # skip all other hidden names at once
            elif common is not None and common + names.TOP > last:
                walk.skip_to(common + names.TOP)  # and all other names with this prefix

    async def _begun(self, bucket: str, rolled: Rolled, after: str) -> list[str]:
        """The common prefix that ``after`` lies within, if names after ``after`` have it, too: not every backend lists
        it. An empty list if there is none.
        """
        within = rolled.roll(after) if after.startswith(rolled.prefix) else None
        if within is None or within == after or names.is_hidden(within):
            return []
        page = await list_names(self._client, bucket, within, "", after, 1)
        return [within] if page.objects else []

    async def _visible(self, bucket: str, entry: Listed | str) -> bool:
        """Whether clients may see an entry: it is neither a hidden name nor a prefix that only hidden names have."""
        if isinstance(entry, Listed) or not names.HIDDEN.startswith(entry):
            return not names.is_hidden(name_of(entry))
        if entry == names.HIDDEN:
            return False
        before = await list_names(self._client, bucket, entry, "", "", 1)
        behind = await list_names(self._client, bucket, entry, "", names.LAST_HIDDEN, 1)
        return any(not names.is_hidden(listed.key) for listed in (*before.objects, *behind.objects))

    async def _stored(self, bucket: str, listed: Listed) -> Stored | None:
        """An object with its record; None if it is gone by now."""
        known = self._known.get((bucket, listed))
        if known is not None:
            return known
        try:
            stored = await self._asked(bucket, listed)
        except NoSuchObject:
            return None
        except (Damaged, Refused, Untold):
            # The listing goes on. Reading the object raises what is wrong with it.
            return Stored(listed.key, listed.size, listed.modified, DAMAGED_RECORD, listed.etag)
        if listed.etag and stored.size == listed.size and stored.identity.startswith(listed.etag):
            weight = weight_of(listed.key, stored.record) + len(listed.etag) + len(stored.identity)
            self._known.keep((bucket, replace(listed, metadata=None)), stored, weight)
        return stored

    async def _asked(self, bucket: str, listed: Listed) -> Stored:
        described = listed.described()
        if described is not None:
            with suppress(Unrecorded):  # perhaps it was replaced, or removed, since it was listed
                stored, _ = await complete(self._client, bucket, described)
                return stored
        return await self._find(bucket, listed.key)
