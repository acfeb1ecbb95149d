"""Listings: one page of names from a walk, then what is stored of each, read by several threads at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.store.base import DAMAGED_RECORD, Page, Stored
from strongroom.store.errors import Damaged, NoSuchObject
from strongroom.store.nas.folder import Folder, retried
from strongroom.store.nas.names import place_of
from strongroom.store.nas.objects import Objects
from strongroom.store.nas.probe import Traits
from strongroom.store.nas.threads import in_thread
from strongroom.store.nas.walk import Entries, Walk
from strongroom.store.paging import successor
from strongroom.threads import Threads

_AT_ONCE = 16  # threads for one page
_LEAST = 32  # objects from which another thread is worth its cost


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a page: keys, common prefixes, and whether there are more."""

    keys: Sequence[str]
    prefixes: Sequence[str]
    next: str | None


class Listings:
    """Listings of a folder's buckets. ``readers`` are the threads that read what is stored of objects."""

    def __init__(self, folder: Folder, traits: Traits, objects: Objects, pool: Threads, readers: Threads) -> None:
        self._folder = folder
        self._objects = objects
        self._pool = pool
        self._readers = readers
        self._entries = Entries(folder.now if traits.inodes else None, traits.stand_ins)

    async def page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page, as Store.list returns it."""
        names = await in_thread(self._pool, self._names, bucket, prefix, delimiter, after, limit)
        keys = names.keys
        share = max(_LEAST, -(-len(keys) // _AT_ONCE))
        starts = range(0, len(keys), share)
        read = [in_thread(self._readers, self._describe, bucket, keys[start : start + share]) for start in starts]
        stored = [one for some in await asyncio.gather(*read) for one in some]
        return Page(stored, names.prefixes, names.next)

    @retried
    def _names(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Names:
        with (
            self._folder.bucket(bucket) as descriptor,
            Walk(self._entries, descriptor, prefix.encode(), delimiter.encode()) as walk,
        ):
            return collect(walk, after.encode(), limit)

    @retried
    def _describe(self, bucket: str, keys: Sequence[str]) -> list[Stored]:
        """What is stored of these objects, which are in order; those that are gone by now are left out."""
        found: list[Stored] = []
        at = 0
        while at < len(keys):
            place = place_of(bucket, keys[at])
            with self._folder.walked(bucket, place.folders) as above:
                while True:
                    if above is not None:
                        found += self._describe_one(above, bucket, keys[at])
                    at += 1
                    if at == len(keys) or place_of(bucket, keys[at]).folders != place.folders:
                        break
        return found

    def _describe_one(self, above: int, bucket: str, key: str) -> list[Stored]:
        place = place_of(bucket, key)
        try:
            descriptor, found = self._objects.finder.open_in(above, place)
        except NoSuchObject:
            return []
        except (Damaged, PermissionError):
            return self._unread(above, place.leaf, key)
        os.close(descriptor)
        return [found.stored]

    def _unread(self, above: int, leaf: bytes, key: str) -> list[Stored]:
        """The entry for an object that cannot be read: that it is there, with its size and time."""
        try:
            status = os.stat(leaf, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return []
        identity = f"{status.st_ino:016x}{status.st_mtime_ns:016x}"
        return [Stored(key, status.st_size, status.st_mtime_ns, DAMAGED_RECORD, identity)]


def collect(walk: Walk, after: bytes, limit: int) -> Names:
    """The first ``limit`` names of a walk that come after ``after``."""
    least = b""
    if after:
        least = successor(after) if walk.rolled(after) == after else after + b"\0"
    keys: list[str] = []
    prefixes: list[str] = []
    last = ""
    while (found := walk.next(least)) is not None:
        name, is_prefix = found
        if len(keys) + len(prefixes) == limit:
            return Names(keys, prefixes, last)
        last = name.decode()
        (prefixes if is_prefix else keys).append(last)
        least = successor(name) if is_prefix else name + b"\0"
    return Names(keys, prefixes, None)
