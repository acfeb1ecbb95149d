"""The backend's own listing: pages of names, including hidden ones, with the peculiarities of each backend.

Knows nothing of what clients may see, nor of records.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import compress

from strongroom.store.concurrently import each
from strongroom.store.errors import NameRefused, NoSuchObject, Refused, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import Described, describe, unquoted

PAGE = 1000
"""The most names that the backend lists at a time."""

_IDLE_PAGES = 1000  # AWS may skip as many deleted versions before it comes to a name that is there
_UNTOLD = "\ufffd"  # stands for characters that XML cannot hold, in names that are listed without an encoding


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as the backend lists it, with ``metadata`` if it lists them, too (MinIO does when asked)."""

    key: str
    size: int
    etag: str
    modified: int
    metadata: Mapping[str, str] | None = field(default=None, compare=False)

    def described(self) -> Described | None:
        """The object as its headers would describe it; None unless the listing shows them exactly. Raises Damaged."""
        if self.metadata is None or not all(map(str.isascii, self.metadata.values())):
            return None  # only the headers tell which bytes a listing means by other characters
        return describe(self.key, self.size, {**self.metadata, "etag": self.etag}, self.modified)


@dataclass(frozen=True, slots=True)
class Names:
    """One page of the backend's listing. ``next`` is its token for the next page, or None."""

    objects: Sequence[Listed]
    prefixes: Sequence[str]
    next: str | None


def name_of(entry: Listed | str) -> str:
    """The name of an entry of a listing: an object's key, or a common prefix."""
    return entry if isinstance(entry, str) else entry.key


async def list_names(
    client: Client, bucket: str, prefix: str, delimiter: str, after: str, limit: int, token: str | None = None
) -> Names:
    """One page of the backend's listing, including hidden names. Raises StoreError."""
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
    found = [name for name in (*map(name_of, wider.objects), *wider.prefixes) if name > prefix]
    return Names(
        [listed for listed in wider.objects if listed.key.startswith(prefix) and listed.key > after],
        [name for name in wider.prefixes if name.startswith(prefix) and name > after],
        wider.next if all(name.startswith(prefix) for name in found) else None,
    )


async def _list_minio(
    client: Client, bucket: str, prefix: str, delimiter: str, after: str, limit: int, token: str | None
) -> Names:
    """The same from a MinIO.

    It counts names before ``after`` as listed if they stand beside the folder of ``after`` (``a.1`` beside ``a/1``),
    and so ends the listing early. It does not if it goes on from a token of its own, so when a listing ends, it is
    asked for once more with such a token. Releases without these tokens list less then, and the first answer counts.
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
    """The names in either of two answers, as far as the second one goes."""
    objects = {listed.key: listed for listed in (*ended.objects, *resumed.objects)}
    prefixes = {*ended.prefixes, *resumed.prefixes}
    last: list[Listed | str] = [*resumed.objects[-1:], *resumed.prefixes[-1:]]
    end = max(map(name_of, last), default="")
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
        with suppress(xml.BadAnswer):  # MinIO names elements after metadata, even if no element can have such a name
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
    if limit == PAGE:
        raise Unavailable(f"{request}: the backend cannot tell the names of {PAGE} objects in a row")
    return await _list_names(client, bucket, prefix, delimiter, after, PAGE, token)


async def _told(client: Client, bucket: str, page: Names) -> Names:
    """A page without the names that the backend has but cannot express: versitygw writes U+FFFD for control characters.

    Nothing is found under such a name, and a listing that goes on after it skips other names. So if it is the token,
    it is replaced by the last name that is real (versitygw's tokens are names), or by "" if there is none.
    """

    async def is_object(listed: Listed) -> bool:
        if _UNTOLD not in listed.key:
            return True
        try:
            answer = await client.send(Request("HEAD", bucket, listed.key))
        except NoSuchObject:
            return False
        except Refused:
            return True  # it cannot be looked at without a client's key
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
    """The page that was asked for with ``token``. Raises BadAnswer, also if its token for the next page is the same."""
    root = xml.read(document)
    if root.name != "ListBucketResult":
        raise xml.BadAnswer("it is no listing")
    encoded = root.text("EncodingType", "") == "url"
    objects = [_listed(node, encoded) for node in root.all("Contents")]
    prefixes = [node.key("Prefix", encoded) for node in root.all("CommonPrefixes")]
    following = root.text("NextContinuationToken") if root.text("IsTruncated", "false") == "true" else None
    if following is not None and following == token:
        raise xml.BadAnswer("it goes on where it began, for ever")
    return Names(objects, prefixes, following)


def _listed(node: xml.Node, encoded: bool) -> Listed:
    """An entry of a listing. Of names that end in a slash, s3proxy tells nothing else. Raises BadAnswer."""
    key = node.key("Key", encoded)
    size, modified = ("0", "1970-01-01") if key.endswith("/") else (None, None)
    return Listed(
        key,
        node.number("Size", size),
        unquoted(node.text("ETag", "")),
        node.moment("LastModified", modified),
        next((_metadata(listed) for listed in node.all("UserMetadata")), None),
    )


def _metadata(listed: xml.Node) -> Mapping[str, str]:
    """Metadata as MinIO lists them: as elements of their names or, in releases of 2022, as pairs. Raises BadAnswer."""
    pairs = listed.all("Items")
    return {pair.text("Key").lower(): pair.text("Value") for pair in pairs} if pairs else listed.texts()


class Walk:
    """The pages of the backend's listing, one after the other, with the names after ``after``.

    It checks that they advance, so that they come to an end: a backend may list the same names again and again, or
    none at all, and say each time that more follow.
    """

    def __init__(self, client: Client, bucket: str, prefix: str, delimiter: str, after: str) -> None:
        self.after = after
        """The name after which names are asked for."""
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._delimiter = delimiter
        self._token: str | None = None
        self._last = ""
        self._idle = 0

    async def page(self, limit: int) -> Names:
        """The next page, of up to ``limit`` names. Raises StoreError; Unavailable if the listing does not advance."""
        page = await list_names(
            self._client, self._bucket, self._prefix, self._delimiter, self.after, limit, self._token
        )
        self._check(page)
        self._token = page.next
        return page

    def skip_to(self, after: str) -> None:
        """Go on with the names after ``after``."""
        self.after, self._token = after, None

    def _check(self, page: Names) -> None:
        ends: list[Listed | str] = [*page.objects[-1:], *page.prefixes[-1:]]
        last = max(map(name_of, ends), default="")
        known = max(self._last, self.after)
        self._idle = 0 if last > known else self._idle + 1
        self._last = max(last, known)
        if self._idle >= _IDLE_PAGES and page.next is not None:
            raise Unavailable(f"the backend's listing does not get on behind {self._last[:64]!r}")


async def hidden_names(client: Client, bucket: str, folder: str, after: str = "") -> AsyncIterator[str]:
    """The hidden names below a folder that come after ``after``, in order."""
    async for listed in hidden_objects(client, bucket, folder, after):
        yield listed.key


async def hidden_objects(client: Client, bucket: str, folder: str, after: str = "") -> AsyncIterator[Listed]:
    """The hidden objects below a folder whose names come after ``after``, in order. Names outside the folder, which no
    backend should list, are skipped.
    """
    walk = Walk(client, bucket, folder, "", after)
    while True:
        page = await walk.page(PAGE)
        for listed in page.objects:
            if listed.key.startswith(folder):
                yield listed
        if page.next is None:
            return
