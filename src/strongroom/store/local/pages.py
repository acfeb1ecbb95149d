"""Reads pages of listings, and remembers short ones until somebody writes to the index: folders, and what is polled.

A page of folders costs a search of the index for each of them. Who waits for new objects in a folder, or plans a query
over the files in it, asks for the same page again and again.
"""

from __future__ import annotations

from sys import getsizeof

from strongroom.store.base import Page
from strongroom.store.local.listing import list_objects
from strongroom.store.local.revision import Revision
from strongroom.store.local.scans import Scans
from strongroom.store.recent import Recent

MOST = 8 * 1024**2
"""Bytes of memory for pages, about: 100 of 1,000 folders each."""

SHORT = 64
"""Objects of a page that is remembered, at most. A page of more is better read again: it takes much memory, and what
it costs goes mostly into what is done with its objects."""

_PAGE = 1000  # about how many bytes a page takes, besides its entries
_OBJECT = 500  # about how many bytes an object takes, besides its record
_PREFIX = getsizeof("") + 8  # bytes that a common prefix takes, besides its text
_CHARACTER = 4  # bytes that a character takes, at most


class Pages:
    """Pages of objects, for one thread. Callers share what they are given, and do not alter it."""

    def __init__(self, scans: Scans, revision: Revision) -> None:
        self._scans = scans
        self._revision = revision
        self._of: bytes | None = None
        self._pages: Recent[tuple[int, str, str, str, int], Page] = Recent(MOST)

    async def page(self, bucket: int, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """A page of a bucket's objects, as Store.list returns it."""
        now = self._revision.now()
        if now != self._of:
            self._of = now
            self._pages.clear()
        asked = bucket, prefix, delimiter, after, limit
        page = self._pages.get(asked)
        if page is None:
            page = await self._scans.read(lambda connection: list_objects(connection, *asked))
            if len(page.objects) <= SHORT and now is not None and self._of == now == self._revision.now():
                self._pages.keep(asked, page, _weight(asked, page))
        return page


def _weight(asked: tuple[int, str, str, str, int], page: Page) -> int:
    names = [*asked[1:4], *page.prefixes, *[stored.key for stored in page.objects]]
    records = sum([_OBJECT + getsizeof(stored.record) for stored in page.objects])
    return _PAGE + records + _PREFIX * len(page.prefixes) + _CHARACTER * sum(map(len, names))
