"""Listings over the layout of MinIO's S3 gateway: objects under their own names, in the order of names.

The document of an object ``a`` is listed at ``a/.minio/dare.meta``, after ``a-b`` and before ``a0``; the object itself
belongs before both. So a name is returned only once no object that belongs before it can still come: the listing below
is past the place of that object's document, or the store was asked for it and there is none.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from strongroom.store.base import Page, Store, Stored
from strongroom.store.concurrently import each
from strongroom.store.errors import Damaged, NoSuchObject
from strongroom.store.left.names import DOCUMENT, before, is_hidden, left_object
from strongroom.store.paging import common_prefix

_PAGE = 1000
_AT_ONCE = 32
_FEW = 4

Find = Callable[[str, str], Awaitable[Stored | None]]
"""What MinIO left under a key. The second argument is the identity of its document if that is known, else ""."""


@dataclass(order=True, frozen=True, slots=True)
class _Entry:
    """A name and its object, None for a common prefix. If a name occurs twice, the object written by us sorts first."""

    name: bytes
    left: bool
    stored: Stored | None = field(compare=False)


@dataclass(slots=True)
class Wanted:
    """What a listing asks for."""

    bucket: str
    prefix: str
    delimiter: str
    after: str
    limit: int


class Merge:
    """One listing: what the store below has, with what MinIO left sorted in where it belongs."""

    def __init__(self, store: Store, wanted: Wanted, find: Find) -> None:
        self._store = store
        self._wanted = wanted
        self._find = find
        self._heap: list[_Entry] = []
        self._asked: set[str] = set()
        self._position: str | None = ""  # how far the store below has been read; None: to its end

    async def page(self) -> Page:
        """One page, as Store.list returns it."""
        objects: list[Stored] = []
        prefixes: list[str] = []
        last = self._wanted.after
        async for name, stored in self._names():
            if len(objects) + len(prefixes) == self._wanted.limit:
                return Page(objects, prefixes, last)
            last = name
            if stored is None:
                prefixes.append(name)
            else:
                objects.append(stored)
        return Page(objects, prefixes, None)

    async def _names(self) -> AsyncIterator[tuple[str, Stored | None]]:
        """All names in order, each once."""
        given, open_given = self._wanted.after, False
        source, after = self._wanted, self._wanted.after
        while self._position is not None or self._heap:
            if self._position is not None and (not self._heap or not await self._settled(self._heap[0].name.decode())):
                page = await self._store.list(source.bucket, source.prefix, self._below, after, _PAGE)
                await self._take(page)
                after = page.next or ""
                self._position = page.next
                continue
            entry = heapq.heappop(self._heap)
            name = entry.name.decode()
            if self._is_open(entry):
                if not open_given:
                    open_given = True
                    yield name, None
            elif name.encode() > given.encode() and not self._passed_over(name):
                given = name
                yield name, entry.stored

    @property
    def _below(self) -> str:
        """The delimiter for the store below. Any but "/" is handled here, since hidden names may contain it."""
        return "/" if self._wanted.delimiter == "/" else ""

    def _is_open(self, entry: _Entry) -> bool:
        """Whether this is the common prefix that ``after`` lies under: it sorts before ``after``, but has names after
        it, so it is listed.
        """
        name, after = entry.name.decode(), self._wanted.after
        return entry.stored is None and name != after and self._rolled(after) == name

    def _passed_over(self, name: str) -> bool:
        """Whether ``after`` is a common prefix and a name lies under it."""
        after = self._wanted.after
        return self._rolled(after) == after != "" and name.startswith(after)

    def _rolled(self, name: str) -> str | None:
        prefix = self._wanted.prefix
        return common_prefix(name, prefix, self._wanted.delimiter) if name.startswith(prefix) else None

    async def _settled(self, name: str) -> bool:
        """Whether nothing that belongs before ``name`` can still come. Asks the store for documents that the listing
        has not reached yet.

        If one is found, its object is added, and the answer is about the name that is first then.
        """
        for key in before(name):
            if not self._is_wanted(key) or self._is_behind(key) or key in self._asked:
                continue
            if len(self._heap) < _PAGE // 2:
                return False  # few names are at hand: reading on answers it, and brings more
            self._asked.add(key)
            stored = await self._find(key, "")
            if stored is not None:
                self._push(key, stored, left=True)
                return await self._settled(self._heap[0].name.decode())
        return True

    def _is_wanted(self, key: str) -> bool:
        return key.startswith(self._wanted.prefix) and key.encode() > self._wanted.after.encode()

    def _is_behind(self, key: str) -> bool:
        """Whether the store below has been read past the place where the document of ``key`` would be."""
        return self._position is None or self._position.encode() > (key + DOCUMENT).encode()

    async def _take(self, page: Page) -> None:
        """Add a page of the store below."""

        async def take(stored: Stored) -> None:
            base = left_object(stored.key)
            if base is not None and base.startswith(self._wanted.prefix):
                await self._take_left(base, stored.identity)
            elif not is_hidden(stored.key):
                self._push(stored.key, stored, left=False)

        async def take_prefix(prefix: str) -> None:
            if prefix != "/":
                await self._take_left(prefix[:-1], "")
            if await self._holds_more(prefix):
                heapq.heappush(self._heap, _Entry(prefix.encode(), False, None))

        await each(page.objects, take, _AT_ONCE)
        await each(page.prefixes, take_prefix, _AT_ONCE)

    async def _take_left(self, key: str, identity: str) -> None:
        """Add what MinIO left under a key, or what has replaced it since the page was read."""
        left = await self._find(key, identity)
        if left is not None:
            self._push(key, left, left=True)
            return
        with suppress(NoSuchObject, Damaged):
            self._push(key, await self._store.head(self._wanted.bucket, key), left=False)

    async def _holds_more(self, prefix: str) -> bool:
        """Whether a common prefix (``a/``) holds an object after ``after``, not counting the object ``a`` itself."""
        after = self._wanted.after if self._wanted.after.startswith(prefix) else ""
        while True:
            page = await self._store.list(self._wanted.bucket, prefix, "", after, _FEW)
            for stored in page.objects:
                name = stored.key if not is_hidden(stored.key) else left_object(stored.key) or ""
                if name.startswith(prefix) and name.encode() > self._wanted.after.encode():
                    return True
            if page.next is None:
                return False
            after = page.next

    def _push(self, key: str, stored: Stored, left: bool) -> None:
        rolled = self._rolled(key)
        if not key.startswith(self._wanted.prefix):
            return
        if rolled is None:
            heapq.heappush(self._heap, _Entry(key.encode(), left, stored))
        elif key.encode() > self._wanted.after.encode():
            heapq.heappush(self._heap, _Entry(rolled.encode(), left, None))
