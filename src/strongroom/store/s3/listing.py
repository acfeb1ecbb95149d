"""Listings of the S3 store: the backend's, without the hidden names, each object with its record.

The listing that S3 has does not tell what the metadata say (MinIO's can). They come from a HEAD for each object, many
at a time, and are remembered by the backend's ETag, size and time, so that an object that did not change is asked for
once.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TypeVar

from strongroom.store.base import Page, Stored
from strongroom.store.errors import Damaged, NameRefused, NoSuchObject, Refused, Unavailable
from strongroom.store.paging import Rolled
from strongroom.store.recent import Recent, weight_of
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client, LengthUnknown, Request
from strongroom.store.s3.metadata import Described, describe, unquoted
from strongroom.store.s3.records import Unrecorded, complete

T = TypeVar("T")
R = TypeVar("R")

_PAGE = 1000
_AT_ONCE = 128
_REMEMBERED = 64 * 1024**2  # bytes of memory: 40,000 objects with short names and few headers
_BATCH_DELETE = 1000
_IDLE_PAGES = 1000  # AWS passes over as many deleted versions before a name that is there
_UNTOLD = "\ufffd"  # stands for what XML cannot hold, in names that are listed without an encoding

Find = Callable[[str, str], Awaitable[Stored]]
"""The object under a bucket and a key, asked of the backend."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as the backend lists it; ``metadata`` where it lists them too (MinIO does, when asked)."""

    key: str
    size: int
    etag: str
    modified: int
    metadata: Mapping[str, str] | None = field(default=None, compare=False)

    def described(self) -> Described | None:
        """The object as its headers would tell, where they are listed so that this is sure. Raises Damaged."""
        if self.metadata is None or not all(map(str.isascii, self.metadata.values())):
            return None  # which bytes a listing means by other characters, only the headers tell
        return describe(self.key, self.size, {**self.metadata, "etag": self.etag}, self.modified)


@dataclass(frozen=True, slots=True)
class Names:
    """One page of the backend's listing. ``next`` is its token for the following one, or None."""

    objects: Sequence[Listed]
    prefixes: Sequence[str]
    next: str | None


class _Onward:
    """Sees to it that the pages of a listing get on, and to an end: a backend may list the same names again and again,
    or none at all, and say each time that more follow.
    """

    def __init__(self) -> None:
        self._last = ""
        self._idle = 0

    def check(self, page: Names, after: str) -> None:
        """Look at a page that was asked for behind ``after``. Raises Unavailable where it is one too many."""
        names_there: list[Listed | str] = [*page.objects[-1:], *page.prefixes[-1:]]
        last = max(map(_name, names_there), default="")
        known = max(self._last, after)
        self._idle = 0 if last > known else self._idle + 1
        self._last = max(last, known)
        if self._idle >= _IDLE_PAGES and page.next is not None:
            raise Unavailable(f"the backend's listing does not get on behind {self._last[:64]!r}")


class Listings:
    """Lists buckets. ``find`` asks for one object."""

    def __init__(self, client: Client, find: Find) -> None:
        self._client = client
        self._find = find
        self._known: Recent[tuple[str, Listed], Stored] = Recent(_REMEMBERED)

    async def page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """One page, as Store.list has it."""
        entries, more = await self._entries(bucket, prefix, delimiter, after, limit)
        objects = [entry for entry in entries if isinstance(entry, Listed)]
        stored = await each(objects, lambda listed: self._stored(bucket, listed))
        following = _name(entries[-1]) if more and entries else None
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
        token: str | None = None
        onward = _Onward()
        while True:
            wanted = min(_PAGE, limit + 2 - len(entries))
            page = await list_names(self._client, bucket, prefix, delimiter, after, wanted, token)
            onward.check(page, after)
            found: list[Listed | str] = [*page.objects, *page.prefixes]
            found.sort(key=_name)  # by code points, which is the order of the UTF-8 bytes
            hidden = any(names.is_hidden(_name(entry)) for entry in found)
            entries += [entry for entry in found if _name(entry) > after and await self._visible(bucket, entry)]
            if len(entries) > limit:
                return entries[:limit], True
            if page.next is None:
                return entries, False
            if len(entries) == limit and not delimiter and _name(entries[-1]) > names.LAST_HIDDEN:
                return entries, True  # more than the backend lists at a time; what follows is not hidden
            token = page.next
            if hidden and not delimiter:
                after, token = max(after, names.LAST_HIDDEN), None  # pass over what else is hidden at one go
                if entries:
                    after = max(after, _name(entries[-1]))

    async def _rolled_up(self, bucket: str, rolled: Rolled, after: str, limit: int) -> tuple[list[Listed | str], bool]:
        """The same at a delimiter that the backend is not asked about: with any but a slash, MinIO lists a common
        prefix again on the page that follows, for ever where its names fill one.
        """
        entries: list[Listed | str] = []
        position, token = (after + names.TOP if rolled.roll(after) == after else after), None
        onward = _Onward()
        while True:
            page = await list_names(self._client, bucket, rolled.prefix, "", position, min(_PAGE, limit + 2), token)
            onward.check(page, position)
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
            token = page.next
            if not page.objects:
                continue
            last = page.objects[-1].key
            common = rolled.roll(last)
            if names.is_hidden(last):
                position, token = names.LAST_HIDDEN, None  # pass over what else is hidden at one go
            elif common is not None and common + names.TOP > last:
                position, token = common + names.TOP, None  # and over what else has this prefix

    async def _begun(self, bucket: str, rolled: Rolled, after: str) -> list[str]:
        """The common prefix that a page begins within, where names behind ``after`` have it: not every backend lists
        it.
        """
        within = rolled.roll(after) if after.startswith(rolled.prefix) else None
        if within is None or within == after or names.is_hidden(within):
            return []
        page = await list_names(self._client, bucket, within, "", after, 1)
        return [within] if page.objects else []

    async def _visible(self, bucket: str, entry: Listed | str) -> bool:
        """Whether clients may see an entry: not a hidden name, nor a prefix that only hidden names have."""
        if isinstance(entry, Listed) or not names.HIDDEN.startswith(entry):
            return not names.is_hidden(_name(entry))
        if entry == names.HIDDEN:
            return False
        before = await list_names(self._client, bucket, entry, "", "", 1)
        behind = await list_names(self._client, bucket, entry, "", names.LAST_HIDDEN, 1)
        return any(not names.is_hidden(listed.key) for listed in (*before.objects, *behind.objects))

    async def _stored(self, bucket: str, listed: Listed) -> Stored | None:
        """An object with its record; None where it is gone meanwhile."""
        known = self._known.get((bucket, listed))
        if known is not None:
            return known
        try:
            stored = await self._asked(bucket, listed)
        except NoSuchObject:
            return None
        except (Damaged, Refused, LengthUnknown):
            # The listing goes on. What is wrong with the object, whoever reads it is told.
            return Stored(listed.key, listed.size, listed.modified, {":sse": b""}, listed.etag)
        if stored.size == listed.size and stored.identity.startswith(listed.etag):
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


def _name(entry: Listed | str) -> str:
    return entry if isinstance(entry, str) else entry.key


async def list_names(
    client: Client, bucket: str, prefix: str, delimiter: str, after: str, limit: int, token: str | None = None
) -> Names:
    """One page of the backend's listing, hidden names and all. Raises StoreError."""
    if not client.is_minio:
        return await _list_names(client, bucket, prefix, delimiter, after, limit, token)
    try:
        return await _list_minio(client, bucket, prefix, delimiter, after, limit, token)
    except (NameRefused, Refused) as error:
        taken = names.taken_by_minio(prefix, after)
        if taken == (prefix, after) or (isinstance(error, Refused) and error.code != "XMinioInvalidResourceName"):
            raise
    if taken is None:
        return Names([], [], None)
    wider = await _list_minio(client, bucket, taken[0], delimiter, taken[1], limit, token)
    found = [name for name in (*map(_name, wider.objects), *wider.prefixes) if name > prefix]
    return Names(
        [listed for listed in wider.objects if listed.key.startswith(prefix) and listed.key > after],
        [name for name in wider.prefixes if name.startswith(prefix) and name > after],
        wider.next if all(name.startswith(prefix) for name in found) else None,
    )


async def _list_minio(
    client: Client, bucket: str, prefix: str, delimiter: str, after: str, limit: int, token: str | None
) -> Names:
    """The same of MinIO.

    It counts names before ``after`` as listed, where they stand beside the folder of ``after`` (``a.1`` beside
    ``a/1``), and ends the listing early. It does not where it goes on from a token of its own, so an end is asked for
    once more with one. A release that has no such tokens lists less then, and the first answer holds.
    """
    page = await _list_names(client, bucket, prefix, delimiter, after, limit, token)
    within_folder = after.startswith(prefix) and "/" in after[prefix.rfind("/") + 1 :]
    if page.next is not None or token is not None or not within_folder:
        return page
    resumed = base64.b64encode(f"{after}[minio_cache:v2,return:]".encode()).decode()
    with suppress(Refused):
        return _together(page, await _list_names(client, bucket, prefix, delimiter, after, limit, resumed))
    return page


def _together(ended: Names, resumed: Names) -> Names:
    """What either of two answers has, as far as the second one goes."""
    objects = {listed.key: listed for listed in (*ended.objects, *resumed.objects)}
    prefixes = {*ended.prefixes, *resumed.prefixes}
    last: list[Listed | str] = [*resumed.objects[-1:], *resumed.prefixes[-1:]]
    end = max(map(_name, last), default="")
    return Names(
        [objects[key] for key in sorted(objects) if resumed.next is None or key <= end],
        sorted(prefix for prefix in prefixes if resumed.next is None or prefix <= end),
        resumed.next,
    )


async def _list_names(
    client: Client, bucket: str, prefix: str, delimiter: str, after: str, limit: int, token: str | None
) -> Names:
    query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit)), ("prefix", prefix)]
    if delimiter:
        query.append(("delimiter", delimiter))
    if token is not None:
        query.append(("continuation-token", token))
    elif after:
        query.append(("start-after", after))
    request = Request("GET", bucket, query=query)
    if client.is_minio:
        answer = await client.send(Request("GET", bucket, query=[*query, ("metadata", "true")]))
        with suppress(xml.BadAnswer):  # it makes elements of names of metadata, also of those that none can have
            return _read(answer.body, token)
    answer = await client.send(request)
    try:
        page = _read(answer.body, token)
    except xml.BadAnswer as error:
        raise Unavailable(f"{request}: the backend's listing: {error}") from error
    if _UNTOLD.encode() not in answer.body:
        return page
    told = await _told(client, bucket, page)
    if told.next or not page.next:
        return told
    if limit == _PAGE:
        raise Unavailable(f"{request}: the backend cannot tell the names of {_PAGE} objects in a row")
    return await _list_names(client, bucket, prefix, delimiter, after, _PAGE, token)


async def _told(client: Client, bucket: str, page: Names) -> Names:
    """A page without the names that the backend has but cannot tell: versitygw writes U+FFFD for control characters.
    Nothing is found under what it tells, and what goes on behind that passes over other names: such a token gives way
    to the last name that is told, which is what versitygw has for tokens; to "" where there is none.
    """

    async def is_object(listed: Listed) -> bool:
        if _UNTOLD not in listed.key:
            return True
        try:
            answer = await client.send(Request("HEAD", bucket, listed.key))
        except NoSuchObject:
            return False
        except Refused:
            return True  # it needs a client's key to be looked at
        return unquoted(answer.headers.get("etag", "")) == listed.etag

    async def is_prefix(prefix: str) -> bool:
        return _UNTOLD not in prefix or bool((await _list_names(client, bucket, prefix, "", "", 1, None)).objects)

    objects = list(compress(page.objects, await each(page.objects, is_object)))
    prefixes = list(compress(page.prefixes, await each(page.prefixes, is_prefix)))
    following = page.next
    if following and _UNTOLD in following:
        following = max([*(listed.key for listed in objects[-1:]), *prefixes[-1:]], default="")
    return Names(objects, prefixes, following)


def _read(document: bytes, token: str | None) -> Names:
    """The page that was asked for with ``token``. Raises BadAnswer, also where it would go on with the same."""
    root = xml.read(document)
    if root.name != "ListBucketResult":
        raise xml.BadAnswer("it is no listing")
    encoded = root.text("EncodingType", "") == "url"
    objects = [
        Listed(
            node.key("Key", encoded),
            node.number("Size"),
            unquoted(node.text("ETag", "")),
            node.moment("LastModified"),
            next((metadata.texts() for metadata in node.all("UserMetadata")), None),
        )
        for node in root.all("Contents")
    ]
    prefixes = [node.key("Prefix", encoded) for node in root.all("CommonPrefixes")]
    following = root.text("NextContinuationToken") if root.text("IsTruncated", "false") == "true" else None
    if following is not None and following == token:
        raise xml.BadAnswer("it goes on where it began, for ever")
    return Names(objects, prefixes, following)


async def hidden_names(client: Client, bucket: str, folder: str, after: str = "") -> AsyncIterator[str]:
    """The hidden names below a folder, in order, behind ``after``."""
    async for listed in hidden_objects(client, bucket, folder, after):
        yield listed.key


async def hidden_objects(client: Client, bucket: str, folder: str, after: str = "") -> AsyncIterator[Listed]:
    """The hidden objects below a folder, in order, behind the name ``after``; other names that a backend lists, which
    makes no sense, are passed over.
    """
    token: str | None = None
    onward = _Onward()
    while True:
        page = await list_names(client, bucket, folder, "", after, _PAGE, token)
        onward.check(page, after)
        for listed in page.objects:
            if listed.key.startswith(folder):
                yield listed
        if page.next is None:
            return
        token = page.next


async def remove_names(client: Client, bucket: str, keys: Sequence[str]) -> None:
    """Remove hidden objects. Raises StoreError where one stays."""
    for start in range(0, len(keys), _BATCH_DELETE):
        body = xml.deletion(keys[start : start + _BATCH_DELETE])
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        request = Request("POST", bucket, query=[("delete", "")], headers={"content-md5": digest}, body=body)
        answer = await client.send(request)
        try:
            errors = list(xml.read(answer.body).all("Error"))
        except xml.BadAnswer as error:
            raise Unavailable(f"{request}: the backend's answer: {error}") from error
        if errors:
            raise Refused(answer.status, errors[0].text("Code", ""), errors[0].text("Message", ""), str(request))


async def each(items: Sequence[T], ask: Callable[[T], Awaitable[R]], at_once: int = _AT_ONCE) -> list[R]:
    """What ``ask`` answers for each item, in order; up to ``at_once`` are asked for at a time."""
    results: list[R | None] = [None] * len(items)
    remaining = iter(enumerate(items))

    async def work() -> None:
        for index, item in remaining:
            results[index] = await ask(item)

    workers = [asyncio.ensure_future(work()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return results  # type: ignore[return-value]
