"""What a walk over all objects meets: somebody says stop, and clients remove buckets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.maintenance import walk
from strongroom.maintenance.auditing import Audit, AuditReport
from strongroom.maintenance.encrypting import Encryption
from strongroom.report import Report
from strongroom.sealed.policy import SSE_S3
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.base import Stored
from strongroom.store.errors import NoSuchBucket
from strongroom.store.local.store import LocalStore

COUNT = 5


def with_objects(directory: Path, use: Callable[[SealedStore], Awaitable[None]]) -> None:
    """Use a store with two buckets, an encrypted object on each of five pages in each."""

    async def run() -> None:
        objects = SealedStore(LocalStore(directory), StaticKMS("key", Secret(bytes(32))), upload_secret=Secret("x"))
        await objects.start()
        try:
            for bucket in ("one", "two"):
                await objects.create_bucket(bucket)
                for number in range(COUNT):
                    writer = await objects.begin(bucket, str(number), SSE_S3, 0)
                    await writer.finish()
                    await writer.commit(Description({}))
            await use(objects)
        finally:
            await objects.stop()

    asyncio.run(run())


@pytest.fixture(autouse=True)
def _pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_PAGE", 1)


def test_one_that_passes_over_all_objects_stops_too(tmp_path: Path) -> None:
    report, stop = Report("", "", datetime.now(UTC)), asyncio.Event()

    async def use(objects: SealedStore) -> None:
        real, pages = objects.store.list, 0

        async def list_(*arguments: object) -> object:
            nonlocal pages
            pages += 1
            stop.set()
            return await real(*arguments)  # type: ignore[arg-type]

        objects.store.list = list_  # type: ignore[assignment, method-assign]
        await Encryption(objects, [], 1).run(report, stop, lambda: None)
        assert (report.finished, pages) == (False, 1)

    with_objects(tmp_path, use)


def test_a_bucket_that_a_client_removes_meanwhile_ends_nothing(tmp_path: Path) -> None:
    report = AuditReport("", "", datetime.now(UTC))

    async def use(objects: SealedStore) -> None:
        removed = False

        def ended() -> None:
            nonlocal removed
            removed = True

        real = objects.store.list

        async def list_(bucket: str, *arguments: object) -> object:
            if bucket == "one" and removed:
                for number in range(COUNT):
                    await objects.delete(bucket, str(number))
                await objects.delete_bucket(bucket)
            return await real(bucket, *arguments)  # type: ignore[arg-type]

        objects.store.list = list_  # type: ignore[assignment, method-assign]
        await Audit(objects, [], 1, read=False, customer_key=None).run(report, asyncio.Event(), ended)
        assert (report.finished, report.failed_count) == (True, 0)
        assert COUNT < report.done < 2 * COUNT
        assert report.notes == ["one: the bucket was removed meanwhile"]

    with_objects(tmp_path, use)


def test_a_bucket_that_was_named_and_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def use(objects: SealedStore) -> None:
        with pytest.raises(NoSuchBucket):
            await Encryption(objects, ["one", "three"], 1).run(
                Report("", "", datetime.now(UTC)), asyncio.Event(), lambda: None
            )

    with_objects(tmp_path, use)


def test_of_a_page_nothing_more_is_begun_once_it_stops() -> None:
    stop, done = asyncio.Event(), list[str]()

    async def page() -> AsyncIterator[tuple[str, Stored]]:
        for number in range(10):
            yield "bucket", Stored(str(number), 0, 0, {}, "")

    async def work(_: str, stored: Stored) -> None:
        done.append(stored.key)
        stop.set()

    assert asyncio.run(walk.for_each(page(), work, 1, stop)) is False
    assert done == ["0"]
