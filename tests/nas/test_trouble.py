"""Trouble that a shared folder brings: files that belong to others, no space, clients that go away."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.maintenance.auditing import Audit, AuditReport
from strongroom.sealed.policy import SSE_S3
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.base import ALWAYS
from strongroom.store.errors import Forbidden, NoSuchBucket, NoSuchObject, NoSuchUpload, StoreFull, Unavailable
from strongroom.store.nas import NasStore, finding, locks, uploads
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.probe import Traits
from tests.http.raw import error_of
from tests.mounts import remount_read_only, small_file_system
from tests.nas.test_sweep import HOUR, age
from tests.server import NAS, Server
from tests.store.kinds import PLAIN, get, put
from tests.store.test_uploads import put_part


def test_a_file_that_is_closed_to_us_is_listed_but_not_read(tmp_path: Path) -> None:
    real = os.open

    def closed(path: object, *args: object, **named: object) -> int:
        if path == b"closed":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **named)  # type: ignore[arg-type]

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for key in ("closed", "open"):
            await put(store, key, b"12345")
        with mock.patch("os.open", closed):
            with pytest.raises(Forbidden):
                await store.open("bucket", "closed")
            with pytest.raises(Forbidden):
                await store.head("bucket", "closed")
            listed = (await store.list("bucket", "", "", "", 10)).objects
        assert [(stored.key, stored.size) for stored in listed] == [("closed", 5), ("open", 5)]
        await store.stop()

    asyncio.run(use())


@contextmanager
def closed_folder(name: str) -> Iterator[None]:
    """Let the folders of a name be closed to us; root, as which tests may run, could open any."""
    real = os.open

    def refusing(path: object, flags: int, *args: object, **named: object) -> int:
        if path in (name, name.encode()) and flags & os.O_DIRECTORY:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *args, **named)  # type: ignore[arg-type]

    with mock.patch("os.open", refusing):
        yield


@contextmanager
def unsearchable_folder(folder: Path) -> Iterator[None]:
    """Let the names in a folder be read, and nothing that has them be reached (mode 644)."""
    here = folder.stat()

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def refused(path: object, *args: object, **named: Any) -> Any:
            above = named.get("dir_fd")
            if above is not None and os.path.samestat(os.fstat(above), here):
                raise PermissionError(13, "Permission denied", path)
            return real(path, *args, **named)

        return refused

    with mock.patch("os.open", refusing(os.open)), mock.patch("os.stat", refusing(os.stat)):
        yield


def opened() -> int:
    """How many descriptors this process holds."""
    return len(os.listdir("/proc/self/fd"))


def test_an_audit_names_the_folders_that_it_cannot_look_into(tmp_path: Path) -> None:
    report = AuditReport("", "", datetime.now(UTC))

    async def use() -> None:
        objects = SealedStore(NasStore(tmp_path), StaticKMS("key", Secret(bytes(32))), upload_secret=Secret("x"))
        await objects.start()
        await objects.create_bucket("bucket")
        for key in ("o", "a/closed/o"):
            writer = await objects.begin("bucket", key, SSE_S3, 0)
            await writer.finish()
            await writer.commit(Description({}))
        before = opened()
        with closed_folder("closed"):
            await Audit(objects, [], 1, read=True, customer_key=None).run(report, asyncio.Event(), lambda: None)
        assert opened() == before
        await objects.stop()

    asyncio.run(use())
    assert report.done == 1
    assert [(failed.bucket, failed.key) for failed in report.failures] == [("bucket", "a/closed/")]


def test_refusals_of_a_closed_folder_leave_nothing_open(tmp_path: Path) -> None:
    (tmp_path / ".minio.sys" / "buckets" / "bucket" / "left").mkdir(parents=True)

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        store._sweeping.cancel()  # before it began, so that it opens nothing either
        await store.create_bucket("bucket")
        (tmp_path / "bucket" / "closed").mkdir()
        (tmp_path / "bucket" / "left").write_bytes(b"of a MinIO, whose document is closed")
        with closed_folder("closed"), closed_folder("left"):
            for turn in range(50):
                with pytest.raises(Forbidden):
                    await store.list("bucket", "closed/", "", "", 10)
                with pytest.raises(Forbidden):
                    await store.head("bucket", "left")
                if turn == 9:
                    before = opened()
        assert opened() <= before
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize("delimiter", ["", "/"])
def test_a_folder_that_can_be_read_but_not_searched_is_closed_and_spoils_no_listing(
    tmp_path: Path, delimiter: str
) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for key in ("a/o", "b/closed/o", "o"):
            await put(store, key, b"x")
        before = opened()
        with unsearchable_folder(tmp_path / "bucket" / "b" / "closed"):
            page = await store.list("bucket", "", delimiter, "", 10)
            assert [stored.key for stored in page.objects] == (["o"] if delimiter else ["a/o", "o"])
            assert list(page.prefixes) == (["a/"] if delimiter else [])
            with pytest.raises(Forbidden):
                await store.list("bucket", "b/closed/", delimiter, "", 10)
            assert await store.closed_folders(["bucket"]) == [("bucket", "b/closed/")]
        assert opened() == before
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize("step", ["fchmod", "fsync"])
def test_a_folder_that_cannot_be_made_ready_is_not_kept_open(tmp_path: Path, step: str) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        store._sweeping.cancel()  # before it began, so that it opens nothing either
        await store.create_bucket("bucket")
        real, bucket = getattr(os, step), (tmp_path / "bucket").stat()

        def failing(descriptor: int, *args: Any) -> None:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode) and (step == "fchmod" or os.path.samestat(found, bucket)):
                raise OSError(5, "Input/output error")
            real(descriptor, *args)

        for turn in range(50):
            with mock.patch(f"os.{step}", failing), pytest.raises(Unavailable, match="Input/output"):
                await put(store, f"{turn}/o", b"x")
            if turn == 9:
                before = opened()
        assert opened() <= before
        await store.stop()

    asyncio.run(use())


def test_a_closed_folder_is_missing_from_the_buckets_and_keeps_none_of_the_others_back(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        (tmp_path / "closed").mkdir()
        with closed_folder("closed"):
            assert [bucket.name for bucket in await store.buckets()] == ["bucket"]
            with pytest.raises(Forbidden):
                await store.bucket("closed")
        await store.stop()

    asyncio.run(use())


@contextmanager
def late_part(folder: Path) -> Iterator[None]:
    """Let a part that is on its way come into the folder of an upload just before that would be removed."""
    descriptor, rmdir = os.open(folder, os.O_RDONLY), os.rmdir
    coming = ["00002"]

    def late(name: str | bytes, *, dir_fd: int | None = None) -> None:
        if coming and os.path.samestat(os.stat(name, dir_fd=dir_fd), os.fstat(descriptor)):
            os.close(os.open(coming.pop(), os.O_CREAT, dir_fd=descriptor))
        rmdir(name, dir_fd=dir_fd)

    with mock.patch("os.rmdir", late):
        yield
    os.close(descriptor)
    assert not coming


@pytest.mark.parametrize("way", ["abort", "complete", "delete the bucket"])
def test_an_upload_ends_though_a_part_still_comes_which_is_swept_then(tmp_path: Path, way: str) -> None:
    reserved = tmp_path / ".strongroom.sys"

    async def use() -> None:
        store = NasStore(tmp_path, sweep_age=HOUR)
        await store.start()
        store._sweeping.cancel()  # before it began
        await store.create_bucket("bucket")
        upload_id = (await store.create_upload("bucket", "o", PLAIN, os.urandom(16))).upload_id
        writer = await store.part_writer("bucket", "o", upload_id, 1, None)
        await writer.write(b"x")
        part = await writer.commit({})
        with late_part(reserved / "uploads" / "bucket" / upload_id):
            if way == "abort":
                await store.abort_upload("bucket", "o", upload_id)
            elif way == "complete":
                await store.complete("bucket", "o", upload_id, [part], PLAIN)
            else:
                await store.delete_bucket("bucket")
        with pytest.raises((NoSuchUpload, NoSuchBucket)):
            await store.upload("bucket", "o", upload_id)
        assert len(list((reserved / "tmp").rglob("00002"))) == 1
        for file in (reserved / "tmp").rglob("*"):
            age(file)
        await asyncio.to_thread(store._sweep.run)
        assert list((reserved / "tmp").iterdir()) == []
        await store.stop()

    asyncio.run(use())


def test_parts_that_are_listed_while_their_upload_ends_are_not_told_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        upload = await store.create_upload("bucket", "o", PLAIN, os.urandom(16))
        for number in (1, 2, 3):
            await put_part(store, "o", upload.upload_id, number, b"x")
        real = finding.read_trailer

        def between(*arguments: Any) -> Any:
            monkeypatch.setattr("strongroom.store.nas.uploads.read_trailer", real)
            uploads.end(store._folder, "bucket", upload.upload_id)
            ended.append(upload.upload_id)
            return real(*arguments)

        ended: list[str] = []
        monkeypatch.setattr("strongroom.store.nas.uploads.read_trailer", between)
        with pytest.raises(NoSuchUpload):
            await store.parts("bucket", "o", upload.upload_id, 0, 10)
        assert ended == [upload.upload_id]
        await store.stop()

    asyncio.run(use())


def test_an_upload_of_a_bucket_that_is_deleted_meanwhile_is_one_of_no_bucket(tmp_path: Path) -> None:
    real = os.mkdir

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")

        def late(path: Any, *args: Any, **named: Any) -> None:
            if path != "bucket":  # the folder of the upload, in that of the bucket
                store._buckets.delete("bucket")
            real(path, *args, **named)

        with mock.patch("os.mkdir", late), pytest.raises(NoSuchBucket):
            await store.create_upload("bucket", "o", PLAIN, os.urandom(16))
        await store.stop()

    asyncio.run(use())


def test_a_commit_that_is_given_up_makes_the_object_whole_or_not_at_all(tmp_path: Path) -> None:
    content = os.urandom(500_000)

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for turn in range(20):
            key = f"o{turn}"
            writer = await store.writer("bucket", key, None)
            await writer.write(content)
            commit = asyncio.create_task(writer.commit(PLAIN))
            await asyncio.sleep(turn * 0.0002)
            commit.cancel()
            await asyncio.wait([commit])
            await writer.abort()
        await store.stop()
        again = NasStore(tmp_path)
        await again.start()
        for turn in range(20):
            try:
                assert await get(again, f"o{turn}") == content
            except NoSuchObject:
                continue
        assert list((tmp_path / ".strongroom.sys" / "tmp").iterdir()) == []
        await again.stop()

    asyncio.run(use())


def test_a_copy_that_is_given_up_reads_from_no_other_file(tmp_path: Path) -> None:
    content, begun, go_on = os.urandom(200_000), threading.Event(), threading.Event()
    real = Draft.clone

    def waiting(draft: Draft, source: int, offset: int, length: int) -> None:
        begun.set()
        go_on.wait(10)
        real(draft, source, offset, length)

    async def use() -> None:
        store = NasStore(tmp_path / "data")
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "source", content)
        source = await store.open("bucket", "source")
        with mock.patch.object(Draft, "clone", waiting):
            copying = asyncio.create_task(store.copy(source, "bucket", "copy", PLAIN, b""))
            await asyncio.to_thread(begun.wait, 10)
            copying.cancel()
            await asyncio.wait([copying])
            await source.close()
            with others.open("rb"), others.open("rb"):  # one of them gets the number of the source's descriptor
                go_on.set()
                await store.stop()
        assert (tmp_path / "data" / "bucket" / "copy").read_bytes() == content

    (tmp_path / "data").mkdir()
    others = tmp_path / "others"
    others.write_bytes(bytes(len(content)))
    asyncio.run(use())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    with small_file_system(tmp_path / "small", 24) as point:
        yield point


def test_a_full_folder_refuses_uploads_and_keeps_nothing_of_them(small: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", command=NAS, data=small, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        name = {"Bucket": "bucket", "Key": "o"}
        client.put_object(**name, Body=b"old")
        for _ in range(3):
            refused = error_of(client.put_object, **name, Body=bytes(30 * 1024 * 1024))
            assert refused == ("XMinioStorageFull", 507)
            assert server.unfinished_files() == []
        assert client.get_object(**name)["Body"].read() == b"old"
        client.put_object(**name, Body=bytes(10 * 1024 * 1024))
        assert client.get_object(**name)["ContentLength"] == 10 * 1024 * 1024


def test_a_folder_that_is_read_only_by_now_is_read_and_says_so_to_whoever_writes(small: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", command=NAS, data=small, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="o", Body=b"old")
        remount_read_only(small)
        for refused in (
            error_of(client.put_object, Bucket="bucket", Key="o", Body=b"new"),
            error_of(client.put_object, Bucket="bucket", Key="o", Body=bytes(1024 * 1024)),
            error_of(client.delete_object, Bucket="bucket", Key="o"),
            error_of(client.create_bucket, Bucket="another"),
            error_of(client.create_multipart_upload, Bucket="bucket", Key="o"),
        ):
            assert refused == ("ServiceUnavailable", 503)
        assert client.get_object(Bucket="bucket", Key="o")["Body"].read() == b"old"


@pytest.mark.parametrize("traits", [None, Traits(attributes=False)])
def test_an_object_that_is_seen_but_not_safe_yet_keeps_its_metadata(tmp_path: Path, traits: Traits | None) -> None:
    record = {":etag": b"e", "x-amz-meta-long": b"x" * 4000}  # too long for an attribute
    real = os.fsync

    def failing(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), (tmp_path / "bucket").stat()):
            raise OSError(5, "Input/output error")
        real(descriptor)

    async def use() -> None:
        store = NasStore(tmp_path, traits=traits)
        await store.start()
        await store.create_bucket("bucket")
        with mock.patch("os.fsync", failing), pytest.raises(Unavailable, match="Input/output"):
            await put(store, "o", b"x", record)
        assert (await store.head("bucket", "o")).record == record
        await store.stop()

    asyncio.run(use())


def test_where_no_space_is_left_whatever_needs_some_is_refused_and_removing_is_not(small: Path) -> None:
    async def use() -> None:
        store = NasStore(small, traits=Traits(attributes=False))
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "o", b"x")
        with pytest.raises(OSError, match="No space"), (small / "bucket" / "theirs").open("wb", buffering=0) as theirs:
            while True:
                theirs.write(bytes(4096))
        with pytest.raises(StoreFull):
            await store.create_bucket("another")
        with pytest.raises(StoreFull):
            await store.set_bucket("bucket", "setting", b"document")
        with pytest.raises(StoreFull):
            await store.rewrite("bucket", "o", {":tags": b"a=b"}, None, ALWAYS)
        assert [bucket.name for bucket in await store.buckets()] == ["bucket"]
        assert (await store.head("bucket", "o")).record == PLAIN
        await store.delete("bucket", "o")
        await store.delete("bucket", "theirs")
        await store.create_bucket("another")
        await store.stop()

    asyncio.run(use())


def test_a_quota_is_no_space(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        with mock.patch("os.pwrite", side_effect=OSError(122, "Disk quota exceeded")), pytest.raises(StoreFull):
            await put(store, "o", b"x")
        assert list((tmp_path / ".strongroom.sys" / "tmp").iterdir()) == []
        await store.stop()

    asyncio.run(use())


def test_a_gateway_that_stands_still_with_a_name_holds_up_no_others(tmp_path: Path) -> None:
    still = Folder(tmp_path, 0o022)

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        still.open()
        await store.create_bucket("bucket")
        await put(store, "other", b"other")
        with still.locked("bucket/held"):
            writes = [asyncio.create_task(put(store, "held", b"new")) for _ in range(100)]
            await asyncio.sleep(0)
            assert await asyncio.wait_for(get(store, "other"), 30) == b"other"
            ends = await asyncio.gather(*writes, return_exceptions=True)
        assert {type(end) for end in ends} == {Unavailable}
        await put(store, "held", b"now")
        still.close()
        await store.stop()

    with (
        mock.patch.object(locks, "_SHORT_WAIT", 0.2),
        mock.patch.object(locks, "_NEXT_WAIT", 0.1),
        mock.patch.object(locks, "_LONG_WAIT", 1.0),
    ):
        asyncio.run(use())


def test_those_who_wait_for_a_name_that_goes_from_one_to_the_next_have_it_as_they_came(tmp_path: Path) -> None:
    folder = Folder(tmp_path, 0o022)
    folder.open()
    had: list[int] = []

    def have(number: int) -> None:
        with folder.locked("name"):
            had.append(number)
            time.sleep(0.1)

    def waiting() -> int:
        line = folder._waiters._lines.get("name")
        return len(line.waiting) if line else 0

    threads = [threading.Thread(target=have, args=(number,)) for number in range(16)]
    with mock.patch.object(locks, "_SHORT_WAIT", 1.0):  # the last waits for longer
        with folder.locked("name"):
            for number, thread in enumerate(threads, 1):
                thread.start()
                while waiting() < number:
                    time.sleep(0.001)
        for thread in threads:
            thread.join()
    folder.close()
    assert had == list(range(16))


def test_an_object_that_is_there_though_the_answer_was_lost_keeps_its_metadata(tmp_path: Path) -> None:
    real = os.rename
    long = {**PLAIN, "x-amz-meta-long": b"x" * 8000}  # in a sidecar

    def lost(source: Any, target: Any, **named: Any) -> None:
        real(source, target, **named)
        if target == b"o":
            raise OSError(5, "Input/output error")

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        with mock.patch("os.rename", lost), pytest.raises(Unavailable, match="Input"):
            await put(store, "o", b"new", long)
        assert (await store.head("bucket", "o")).record == long
        await store.stop()

    asyncio.run(use())
