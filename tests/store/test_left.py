"""The layout of MinIO's S3 gateway over another store: names, their order, and what ends what was left."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from strongroom.sealed.dare import Sealer, new_nonce
from strongroom.store.base import ALWAYS, LEFT, MAX_KEY, Condition, Page, Reader, Stored
from strongroom.store.errors import ConditionFailed, NameRefused, NoSuchObject, Refused, Unavailable
from strongroom.store.left import LeftStore
from strongroom.store.left.names import DATA, DOCUMENT
from strongroom.store.left.store import CLEAN, NONE
from strongroom.store.local import LocalStore
from tests.store.kinds import content_of, get, left_over, put

T = TypeVar("T")


def run(
    directory: Path, use: Callable[[LeftStore], Awaitable[T]], inner: Callable[[Path], LocalStore] = LocalStore
) -> T:
    async def started() -> T:
        store = left_over(directory, inner)
        await store.start()
        try:
            await store.create_bucket("bucket")
            return await use(store)
        finally:
            await store.stop()

    return asyncio.run(started())


async def leave(store: LeftStore, key: str, content: bytes = b"streams") -> bytes:
    """What MinIO's gateway writes for an object; its document."""
    fields = {
        "version": "1.0.0", "format": "gw", "etag": "e", "meta": {},
        "stat": {"size": len(content), "modTime": "2019-07-17T00:00:00Z"},
    }  # fmt: skip
    document = json.dumps(fields).encode()
    await put(store.inner, key + DATA, content)
    await put(store.inner, key + DOCUMENT, document)
    return document


def names(page: Page) -> list[str]:
    return sorted([*(stored.key for stored in page.objects), *page.prefixes], key=str.encode)


def test_an_object_that_was_left_is_read_under_its_own_name(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        document = await leave(store, "a/b")
        stored = await store.head("bucket", "a/b")
        assert (stored.key, stored.size, stored.record) == ("a/b", 7, {LEFT: document})
        assert stored.modified == 1_563_321_600 * 1_000_000_000
        reader = await store.open("bucket", "a/b")
        assert (await content_of(reader), await reader.annex()) == (b"streams", b"")
        await reader.close()
        for hidden in ("a/b" + DATA, "a/b" + DOCUMENT, "a/b/.minio/ID/1/part.meta"):
            with pytest.raises(NoSuchObject):
                await store.head("bucket", hidden)
            with pytest.raises(NameRefused):
                await store.writer("bucket", hidden, 1)
            assert not await store.delete("bucket", hidden)

    run(tmp_path, use)


@pytest.mark.parametrize("condition", [False, True])
def test_what_is_written_over_it_ends_it(tmp_path: Path, condition: bool) -> None:
    async def use(store: LeftStore) -> None:
        await leave(store, "o")
        left = await store.head("bucket", "o")
        await put(store, "o", b"new", when=Condition(identity=left.identity) if condition else None)
        assert await get(store, "o") == b"new"
        assert not (await store.inner.list("bucket", "o/", "", "", 10)).objects

    run(tmp_path, use)


def test_conditions_are_of_what_was_left(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await leave(store, "o")
        left = await store.head("bucket", "o")
        for when in (Condition(absent=True), Condition(identity="left another"), Condition(identity="another")):
            with pytest.raises(ConditionFailed):
                await put(store, "o", b"new", when=when)
        await put(store, "o", b"new")
        with pytest.raises(ConditionFailed):
            await store.delete("bucket", "o", Condition(identity=left.identity))
        assert await get(store, "o") == b"new"

    run(tmp_path, use)


def test_it_is_copied_rewritten_and_removed(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        for key in ("copied", "rewritten", "removed"):
            await leave(store, key, key.encode())
        reader = await store.open("bucket", "copied")
        await store.copy(reader, "bucket", "copy", {":etag": b"x"}, b"")
        await reader.close()
        assert (await get(store, "copy"), await get(store, "copied")) == (b"copied", b"copied")
        left = await store.head("bucket", "rewritten")
        await store.rewrite("bucket", "rewritten", {":etag": b"x"}, b"annex", Condition(identity=left.identity))
        reader = await store.open("bucket", "rewritten")
        assert (await content_of(reader), await reader.annex()) == (b"rewritten", b"annex")
        await reader.close()
        assert await store.delete("bucket", "removed")
        assert not await store.delete("bucket", "removed")
        below = [stored.key for stored in (await store.inner.list("bucket", "", "", "", 100)).objects]
        assert sorted(below) == sorted(["copied" + DOCUMENT, "copied" + DATA, "copy", "rewritten"])

    run(tmp_path, use)


def test_a_bucket_that_was_clean_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unavailable(name: str) -> None:
        raise Unavailable(name)

    async def use(store: LeftStore) -> None:
        await store.inner.set_bucket("bucket", CLEAN, NONE)
        assert await store.is_clean("bucket")
        await store.inner.set_bucket("bucket", CLEAN, None)  # as one that others made anew
        await leave(store, "a")
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 301)
        with monkeypatch.context() as away:
            away.setattr(store.inner, "bucket", unavailable)
            await put(store, "b", b"")
        assert await store.inner.delete("bucket", "b")
        assert (await store.head("bucket", "a")).key == "a"
        assert await store.delete("bucket", "a") and not (await store.inner.list("bucket", "", "", "", 9)).objects

    run(tmp_path, use)


def test_a_bucket_is_clean_when_nothing_is_left_and_is_not_searched_then(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await leave(store, "o")
        await put(store.inner, "unfinished/.minio/ID/1/part.meta", b"{}")
        now = time.time_ns()
        assert not await store.tidy("bucket", now - 3_600_000_000_000)
        assert not await store.tidy("bucket", now + 1_000_000_000)
        assert names(await store.inner.list("bucket", "", "", "", 10)) == ["o" + DOCUMENT, "o" + DATA]
        assert await get(store, "o") == b"streams"
        await store.delete("bucket", "o")
        assert await store.tidy("bucket", now)
        await leave(store, "o")
        with pytest.raises(NoSuchObject):
            await store.head("bucket", "o")

    run(tmp_path, use)


def test_streams_that_lost_their_document_are_removed_and_nothing_else_is(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await leave(store, "o", b"x")
        await put(store.inner, "lost" + DATA, bytes(Sealer(bytes(32), new_nonce()).seal(b"x" * 70_000, final=True)))
        await put(store.inner, "home" + DATA, b"somebody's")
        assert not await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        kept = names(await store.inner.list("bucket", "", "", "", 10))
        assert kept == ["home" + DATA, "o" + DOCUMENT, "o" + DATA]

    run(tmp_path, use)


def test_what_was_left_under_a_later_object_is_removed_once_nobody_can_be_adopting_it(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await put(store.inner, "older", b"older")
        await leave(store, "older")
        for key in ("adopted", "empty"):
            await leave(store, key, b"" if key == "empty" else b"streams")
            await put(store.inner, key, b"ours")
        assert not await store.tidy("bucket", time.time_ns() - 3_600_000_000_000)
        assert len((await store.inner.list("bucket", "", "", "", 10)).objects) == 9
        assert not await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        below = names(await store.inner.list("bucket", "", "", "", 10))
        assert below == ["adopted", "empty", "older", "older" + DOCUMENT, "older" + DATA]

    run(tmp_path, use)


class _HidingBelow(LocalStore):
    """A store that lists nothing below an object, as a MinIO does."""

    @property
    def hides_below(self) -> bool:
        return True

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        page = await super().list(bucket, prefix, delimiter, after, limit)
        keys = {stored.key for stored in page.objects}
        shown = [stored for stored in page.objects if stored.key.partition("/")[0] not in keys - {stored.key}]
        return Page(shown, page.prefixes, page.next)


def test_what_no_listing_shows_below_a_later_object_is_removed_as_well(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        for key in ("adopted", "begun"):
            await leave(store, key)
            await put(store.inner, key, b"ours")
        await store.inner.delete("bucket", "begun" + DOCUMENT)  # the streams would have been next
        streams = bytes(Sealer(bytes(32), new_nonce()).seal(b"x" * 70_000, final=True))
        await put(store.inner, "begun" + DATA, streams)
        await put(store.inner, "home", b"somebody's")
        await put(store.inner, "home" + DATA, b"somebody's")
        assert not await store.tidy("bucket", time.time_ns() - 3_600_000_000_000)
        assert await get(store.inner, "adopted" + DATA) == b"streams"
        assert not await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        await store.inner.delete("bucket", "home" + DATA)  # it was nobody's to remove but theirs
        assert await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        for name in ("adopted" + DATA, "adopted" + DOCUMENT, "begun" + DATA):
            with pytest.raises(NoSuchObject):
                await store.inner.head("bucket", name)
        assert await get(store, "adopted") == b"ours"

    run(tmp_path, use, _HidingBelow)


class _UnderAClientsKey(_HidingBelow):
    """One that keeps streams under a key of a client's, without which it shows nothing of them."""

    async def head(self, bucket: str, key: str) -> Stored:
        if key.endswith(DATA):
            raise Refused(400, "BadRequest", "", f"HEAD {bucket}/{key}")
        return await super().head(bucket, key)


def test_streams_that_cannot_be_looked_at_go_with_their_document_and_do_not_end_the_tidying(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await leave(store, "adopted")
        for key in ("adopted", "no-document", "x" * 1020):
            await put(store.inner, key, b"ours")
        await put(store.inner, "no-document" + DATA, b"somebody's")
        assert not await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        for name in ("adopted" + DATA, "adopted" + DOCUMENT):
            with pytest.raises(NoSuchObject):
                await store.inner.open("bucket", name)
        assert await get(store, "adopted") == b"ours"

    run(tmp_path, use, _UnderAClientsKey)


def test_objects_of_others_with_such_names_are_theirs(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        keys = ["home/.minio/certs/public.crt", "home/.minio/config.json"]
        for key in keys:
            await put(store, key, b"theirs")
        assert names(await store.list("bucket", "", "", "", 10)) == keys
        assert names(await store.list("bucket", "home/", "/", "", 10)) == ["home/.minio/"]
        assert await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        assert names(await store.list("bucket", "", "", "", 10)) == keys

    run(tmp_path, use)


def test_a_clean_bucket_has_nothing_to_tidy_whatever_names_its_objects_have(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        assert await store.tidy("bucket", 0)
        keys = ["copied/.minio/ID/1/part.meta", "copied/.minio/data"]
        for key in keys:
            await put(store, key, bytes(Sealer(bytes(32), new_nonce()).seal(b"x", final=True)))
        assert await store.tidy("bucket", time.time_ns() + 1_000_000_000)
        assert names(await store.list("bucket", "", "", "", 10)) == keys

    run(tmp_path, use)


def test_uploads_that_were_not_completed_are_not_seen(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        await put(store.inner, "a/b/.minio/ID/1/part.meta", b"{}")
        await put(store.inner, "a/b/.minio/ID/dare.meta", b"{}")
        for prefix, delimiter in (("", "/"), ("a/", "/"), ("a/b/", "/"), ("", "")):
            assert names(await store.list("bucket", prefix, delimiter, "", 10)) == []

    run(tmp_path, use)


@pytest.mark.parametrize("seed", range(12))
def test_listings_are_those_of_plain_names_in_their_order(tmp_path: Path, seed: int) -> None:
    """Any page of any listing, against a model: the names themselves, sorted and rolled up."""
    chosen = random.Random(seed)
    keys = sorted({"".join(chosen.choices("ab-./", k=chosen.randint(1, 6))) for _ in range(60)})
    keys = [key for key in keys if "//" not in key and not key.startswith("/") and not key.endswith("/")]

    async def use(store: LeftStore) -> None:
        for key in keys:
            if chosen.random() < 0.5:
                await leave(store, key)
            else:
                await put(store, key, b"ours")
                if chosen.random() < 0.2:
                    await leave(store, key)  # left over: ours goes first
        for _ in range(60):
            prefix = chosen.choice(["", "", "a", "a/", "b-", "a-b", "ab/"])
            delimiter = chosen.choice(["", "/", "-"])
            limit = chosen.choice([1, 2, 3, 1000])
            expected = rolled_up(keys, prefix, delimiter)
            found, after = [], ""
            while True:
                page = await store.list("bucket", prefix, delimiter, after, limit)
                found += names(page)
                if page.next is None:
                    break
                after = page.next
            assert found == expected, (prefix, delimiter, limit)

    run(tmp_path, use)


def rolled_up(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    found = set()
    for key in keys:
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if at < 0 else key[: at + len(delimiter)])
    return sorted(found, key=str.encode)


@pytest.mark.parametrize("beside", ["a-", "a/-"])
def test_a_name_that_belongs_before_a_whole_page_is_not_missed(tmp_path: Path, beside: str) -> None:
    """The document of ``a`` stands behind more names that begin with ``a-``, or ``a/-``, than are read at once."""

    async def use(store: LeftStore) -> None:
        for n in range(1100):
            await put(store, f"{beside}{n:04}", b"x")
        await leave(store, "a")
        for delimiter in ("", "/"):
            page = await store.list("bucket", "", delimiter, "", 2)
            assert names(page) == rolled_up(["a", f"{beside}0000"], "", delimiter)

    run(tmp_path, use)


class _RefusingLongNames(LocalStore):
    """A store that takes no longer names than S3 does."""

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        if len(key) > MAX_KEY:
            raise Refused(400, "BadRequest", "", key)
        return await super().open(bucket, key, whole=whole)

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        if len(key) > MAX_KEY:
            raise NameRefused(key)
        return await super().delete(bucket, key, when)


def test_nothing_is_looked_for_under_a_name_too_long_for_what_was_left(tmp_path: Path) -> None:
    async def use(store: LeftStore) -> None:
        key = "k" * MAX_KEY
        await put(store, key, b"new", when=Condition(absent=True))
        assert await get(store, key) == b"new"
        assert await store.delete("bucket", key)
        with pytest.raises(NoSuchObject):
            await store.head("bucket", key)

    run(tmp_path, use, _RefusingLongNames)
