"""What every store promises of multipart uploads."""

from __future__ import annotations

import os
import re

import pytest

from strongroom.store.base import Condition, Part, Store
from strongroom.store.errors import ConditionFailed, NoSuchObject, NoSuchUpload, PartChanged
from tests.store.conftest import Run
from tests.store.kinds import PLAIN, SEALED, Kind, content_of, get, put

BOTH = pytest.mark.parametrize("record", [PLAIN, SEALED], ids=["plain", "encrypted"])


async def put_part(store: Store, key: str, upload_id: str, number: int, content: bytes) -> Part:
    writer = await store.part_writer("bucket", key, upload_id, number, len(content))
    await writer.write(content)
    return await writer.commit({"n": b"%d" % number})


@BOTH
@pytest.mark.parametrize("sizes", [[0], [5], [4096, 4096], [300_000, 1, 0, 4097], [200_000] * 12])
def test_an_upload_becomes_one_object_of_its_parts(
    kind: Kind, run: Run, record: dict[str, bytes], sizes: list[int]
) -> None:
    *first, last = sizes
    contents = [os.urandom(size) for size in (*(max(size, kind.least_part) for size in first), last)]
    whole = b"".join(contents)

    async def use(store: Store) -> None:
        upload = await store.create_upload("bucket", "a/k", record, os.urandom(16))
        assert re.fullmatch("[A-Za-z0-9_-]{16,64}", upload.upload_id)
        assert await store.upload("bucket", "a/k", upload.upload_id) == upload
        parts = [await put_part(store, "a/k", upload.upload_id, 2 * n, c) for n, c in enumerate(contents, 1)]
        with pytest.raises(NoSuchObject):
            await store.head("bucket", "a/k")
        stored = await store.complete("bucket", "a/k", upload.upload_id, parts, record, b"annex")
        assert (stored.size, stored.record) == (len(whole), record)
        assert await store.head("bucket", "a/k") == stored
        reader = await store.open("bucket", "a/k")
        assert await content_of(reader) == whole
        assert await reader.annex() == b"annex"
        for start in range(0, len(whole), max(70_001, len(whole) // 20)):
            piece = [chunk async for chunk in reader.stream(start, min(9000, len(whole) - start))]
            assert b"".join(piece) == whole[start : start + 9000]
        copied = await store.copy(reader, "bucket", "copy", record, b"")
        await reader.close()
        assert copied.size == len(whole) and await get(store, "copy") == whole
        await store.rewrite("bucket", "a/k", {**record, ":tags": b"a=b"}, None, Condition())
        assert await get(store, "a/k") == whole
        with pytest.raises(NoSuchUpload):
            await store.upload("bucket", "a/k", upload.upload_id)

    run(use)


def test_only_the_parts_that_are_named_make_the_object(kind: Kind, run: Run) -> None:
    filler = bytes(kind.least_part)

    async def use(store: Store) -> None:
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        old = await put_part(store, "k", upload.upload_id, 1, filler + b"old")
        await put_part(store, "k", upload.upload_id, 2, b"unwanted")
        last = await put_part(store, "k", upload.upload_id, 10_000, b"last")
        new = await put_part(store, "k", upload.upload_id, 1, filler + b"new")
        assert new.identity != old.identity
        missing = Part(3, 1, 0, {}, "0" * 32)
        for wrong in ([old, last], [new, missing]):
            with pytest.raises(PartChanged):
                await store.complete("bucket", "k", upload.upload_id, wrong, PLAIN)
        await store.complete("bucket", "k", upload.upload_id, [new, last], PLAIN)
        assert await get(store, "k") == filler + b"newlast"

    run(use)


def test_a_completion_whose_condition_fails_leaves_the_upload_open(run: Run) -> None:
    async def use(store: Store) -> None:
        there = await put(store, "k", b"there")
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        part = await put_part(store, "k", upload.upload_id, 1, b"part")
        for when in (Condition(absent=True), Condition(identity="other")):
            with pytest.raises(ConditionFailed):
                await store.complete("bucket", "k", upload.upload_id, [part], PLAIN, when=when)
        assert await get(store, "k") == b"there"
        await store.complete("bucket", "k", upload.upload_id, [part], PLAIN, when=Condition(identity=there.identity))
        assert await get(store, "k") == b"part"

    run(use)


def test_parts_come_in_pages_in_order(run: Run) -> None:
    async def use(store: Store) -> None:
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        put_ = [await put_part(store, "k", upload.upload_id, n, bytes(n)) for n in (7, 1, 300, 2)]
        by_number = sorted(put_, key=lambda part: part.number)
        first = await store.parts("bucket", "k", upload.upload_id, 0, 3)
        assert (list(first.parts), first.next) == (by_number[:3], 7)
        second = await store.parts("bucket", "k", upload.upload_id, 7, 3)
        assert (list(second.parts), second.next) == (by_number[3:], None)
        between = await store.parts("bucket", "k", upload.upload_id, 5, 1)
        assert (list(between.parts), between.next) == (by_number[2:3], 7)
        assert not (await store.parts("bucket", "k", upload.upload_id, 300, 3)).parts

    run(use)


def test_an_upload_that_ended_takes_no_more_parts(run: Run) -> None:
    async def use(store: Store) -> None:
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        late = await store.part_writer("bucket", "k", upload.upload_id, 1, None)
        await late.write(bytes(200_000))
        await store.abort_upload("bucket", "k", upload.upload_id)
        with pytest.raises(NoSuchUpload):
            await late.commit({})
        calls = [
            store.abort_upload("bucket", "k", upload.upload_id),
            store.part_writer("bucket", "k", upload.upload_id, 1, None),
            store.parts("bucket", "k", upload.upload_id, 0, 10),
            store.complete("bucket", "k", upload.upload_id, [], PLAIN),
            store.upload("bucket", "k", "../../etc"),
        ]
        for call in calls:
            with pytest.raises(NoSuchUpload):
                await call

    run(use)


def test_an_upload_belongs_to_its_key(run: Run) -> None:
    async def use(store: Store) -> None:
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        with pytest.raises(NoSuchUpload):
            await store.upload("bucket", "other", upload.upload_id)

    run(use)


def test_open_uploads_are_listed_by_key_and_time(run: Run) -> None:
    async def use(store: Store) -> None:
        made = [
            await store.create_upload("bucket", key, PLAIN, os.urandom(16))
            for key in ("b", "a/2", "a/1", "b", "a-", "é")
        ]
        in_order = [made[4], made[2], made[1], made[0], made[3], made[5]]
        page = await store.uploads("bucket", "", "", ("", ""), 10)
        assert (list(page.uploads), page.next) == (in_order, None)
        found, after = [], ("", "")
        while True:
            page = await store.uploads("bucket", "", "", after, 2)
            found += list(page.uploads)
            if page.next is None:
                break
            after = page.next
        assert found == in_order
        rolled = await store.uploads("bucket", "", "/", ("", ""), 2)
        assert ([u.key for u in rolled.uploads], list(rolled.prefixes), rolled.next) == (["a-"], ["a/"], ("a/", ""))
        behind = await store.uploads("bucket", "", "/", ("a/", ""), 10)
        assert [u.key for u in behind.uploads] == ["b", "b", "é"] and behind.prefixes == []
        assert [u.key for u in (await store.uploads("bucket", "", "", ("b", ""), 10)).uploads] == ["é"]
        assert [u.key for u in (await store.uploads("bucket", "a/", "", ("", ""), 10)).uploads] == ["a/1", "a/2"]

    run(use)


def test_a_page_of_uploads_from_a_marker_that_is_not_where_it_was(run: Run) -> None:
    async def use(store: Store) -> None:
        made = [await store.create_upload("bucket", key, PLAIN, os.urandom(16)) for key in ("a", "b/x", "k", "k", "k")]
        assert (await store.uploads("bucket", "", "", ("", ""), 0)).uploads == []
        before = await store.uploads("bucket", "b/", "", ("a", made[0].upload_id), 10)
        assert [upload.key for upload in before.uploads] == ["b/x"]
        page = await store.uploads("bucket", "k", "", ("", ""), 2)
        assert page.next is not None
        for upload in page.uploads:  # as those do who abort what they were shown
            await store.abort_upload("bucket", upload.key, upload.upload_id)
        assert list((await store.uploads("bucket", "k", "", page.next, 2)).uploads) == [made[4]]

    run(use)
