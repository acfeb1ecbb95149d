"""What is left behind is swept after its time, and nothing that somebody still uses."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from strongroom.store.errors import NoSuchUpload
from strongroom.store.nas import NasStore
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.probe import Traits
from tests.store.kinds import PLAIN, get, put

HOUR = 3600


def age(path: Path, seconds: float = 2 * HOUR) -> None:
    """Let a file or folder look as if nobody had touched it for a time."""
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def started(directory: Path, traits: Traits | None = None) -> NasStore:
    return NasStore(directory, sweep_age=HOUR, traits=traits)


async def sweep(directory: Path) -> None:
    """Start a gateway, which sweeps, and stop it when it has."""
    store = started(directory)
    await store.start()
    await store.buckets()
    await asyncio.to_thread(store._sweep.run)
    await store.stop()


def test_what_nobody_touched_for_its_time_is_swept_and_nothing_else(tmp_path: Path) -> None:
    tmp = tmp_path / ".strongroom.sys" / "tmp"

    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "kept", b"x")
        old = await store.create_upload("bucket", "old", PLAIN, os.urandom(16))
        new = await store.create_upload("bucket", "new", PLAIN, os.urandom(16))
        uploads = tmp_path / ".strongroom.sys" / "uploads" / "bucket"
        writer = await store.part_writer("bucket", "old", old.upload_id, 1, None)
        await writer.write(b"x")
        await writer.commit({})
        for file in uploads.rglob("*"):
            age(file)
        os.utime(uploads / new.upload_id)
        (tmp / "of a killed gateway").write_bytes(b"old")
        age(tmp / "of a killed gateway")
        (tmp / "being written").write_bytes(b"new")
        age(tmp_path / "bucket" / "kept")
        await sweep(tmp_path)
        assert [file.name for file in tmp.iterdir()] == ["being written"]
        assert await store.upload("bucket", "new", new.upload_id) == new
        with pytest.raises(NoSuchUpload):
            await store.upload("bucket", "old", old.upload_id)
        assert await get(store, "kept") == b"x"
        await store.stop()

    asyncio.run(use())


def test_an_upload_that_a_gateway_feeds_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        writer = await store.part_writer("bucket", "k", upload.upload_id, 1, None)
        await writer.write(b"x" * 200_000)
        age(tmp_path / ".strongroom.sys" / "uploads" / "bucket" / upload.upload_id)
        monkeypatch.setattr("strongroom.store.nas.writing._TOUCH_SECONDS", 0.0)
        await writer.write(b"y")
        await sweep(tmp_path)
        part = await writer.commit({})
        await store.complete("bucket", "k", upload.upload_id, [part], PLAIN)
        assert await get(store, "k") == b"x" * 200_000 + b"y"
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize("step", ["locked_if_free", "now"])
@pytest.mark.parametrize("reason", [errno.EIO, errno.ESTALE, errno.ENOLCK])
def test_a_sweep_that_fails_is_logged_and_the_next_one_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str, reason: int
) -> None:
    monkeypatch.setattr("strongroom.store.nas.store._SWEEP_SECONDS", 0.0)
    failing: list[Exception] = [OSError(reason, os.strerror(reason)), ValueError("of a kind that nobody expects")]

    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        work, turns = getattr(store._folder, step), [*failing, None, None]
        loop, swept = asyncio.get_running_loop(), asyncio.Event()

        def fail_at_first(*args: str) -> object:
            error = turns.pop(0) if turns else None
            if error is not None:
                raise error
            if not turns:  # a whole sweep has been since the errors
                loop.call_soon_threadsafe(swept.set)
            return work(*args)

        monkeypatch.setattr(store._folder, step, fail_at_first)
        left = tmp_path / ".strongroom.sys" / "tmp" / "of a killed gateway"
        left.write_bytes(b"old")
        age(left)
        waiting = asyncio.create_task(swept.wait())
        await asyncio.wait([store._sweeping, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert not left.exists()
        await store.stop()
        assert store._sweeping.cancelled()

    asyncio.run(use())
    warnings = [record.getMessage() for record in caplog.records if record.name == "strongroom.store"]
    assert all(any(str(error) in warning for warning in warnings) for error in failing)


def test_what_cannot_be_removed_keeps_nothing_else_from_being_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tmp, rmdir = tmp_path / ".strongroom.sys" / "tmp", os.rmdir

    def busy(name: str, *, dir_fd: int | None = None) -> None:
        if name == "held open":
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        rmdir(name, dir_fd=dir_fd)

    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        store._sweeping.cancel()  # before it began
        await store.create_bucket("bucket")
        upload = await store.create_upload("bucket", "k", PLAIN, os.urandom(16))
        (tmp / "held open").mkdir()
        for old in (tmp / "held open", tmp_path / ".strongroom.sys" / "uploads" / "bucket" / upload.upload_id):
            age(old)
        with monkeypatch.context() as patched:
            patched.setattr("os.rmdir", busy)
            await asyncio.to_thread(store._sweep.run)
        with pytest.raises(NoSuchUpload):
            await store.upload("bucket", "k", upload.upload_id)
        assert "held open" in caplog.text
        age(tmp / "held open")
        await asyncio.to_thread(store._sweep.run)
        assert list(tmp.iterdir()) == []
        await store.stop()

    asyncio.run(use())


def test_sidecars_of_files_that_others_removed_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.store.nas.sweep._SHARDS", 1)  # all of them in one hour
    beside = tmp_path / ".strongroom.sys" / "beside"
    bare = Traits(attributes=False, links=False)

    async def use() -> None:
        store = started(tmp_path, bare)
        await store.start()
        await store.create_bucket("bucket")
        for name in ("kept", "gone"):
            await put(store, name, b"x")
        (tmp_path / "bucket" / "gone").unlink()
        sidecars = [file for file in beside.rglob("*") if file.is_file()]
        assert len(sidecars) == 2
        for file in sidecars:
            age(file)
            file.parent.rename(beside / "00") if not (beside / "00").exists() else file.rename(
                beside / "00" / file.name
            )
        store._sweep.run()
        assert len([file for file in beside.rglob("*") if file.is_file()]) == 1
        await store.stop()

    asyncio.run(use())


def test_sidecars_of_a_later_release_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.store.nas.sweep._SHARDS", 1)
    shard = tmp_path / ".strongroom.sys" / "beside" / "00"

    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        shard.mkdir()
        for name, content in (("later", b"SRP2"), ("damaged", b"SRQ1")):
            (shard / name).write_bytes(content)
            age(shard / name)
        store._sweep.run()
        assert [file.name for file in shard.iterdir()] == ["later"]
        await store.stop()

    asyncio.run(use())


def test_sidecars_of_files_in_a_closed_folder_do_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = tmp_path / ".strongroom.sys" / "beside"
    walked = Folder.walked

    def closed(self: Folder, bucket: str, folders: Sequence[bytes]) -> AbstractContextManager[int | None]:
        if b"closed" in folders:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return walked(self, bucket, folders)

    async def use() -> None:
        store = started(tmp_path, Traits(attributes=False))
        await store.start()
        await store.create_bucket("bucket")
        for key in ("closed/o", "gone"):
            await put(store, key, b"x", {**PLAIN, "x-amz-meta-a": b"b"})
        (tmp_path / "bucket" / "gone").unlink()
        await store.stop()
        for file in shards.rglob("*"):
            age(file)
        monkeypatch.setattr(Folder, "walked", closed)
        sweeper = started(tmp_path, Traits(attributes=False))
        await sweeper.start()
        assert len([file for file in shards.rglob("*") if file.is_file()]) == 2
        for shard in range(256):
            sweeper._sweep._sidecars(time.time_ns(), f"{shard:02x}")
        assert len([file for file in shards.rglob("*") if file.is_file()]) == 1
        await sweeper.stop()

    asyncio.run(use())


@pytest.mark.parametrize("held", [False, True])
def test_a_folder_that_a_killed_gateway_made_is_opened_to_others(tmp_path: Path, held: bool) -> None:
    folder = tmp_path / "bucket" / "folder"

    async def use() -> None:
        store = started(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        folder.mkdir(0o700)
        if held:
            (folder / "of somebody who closed it").touch()
        await put(store, "folder/o", b"x")
        await store.stop()

    asyncio.run(use())
    assert folder.stat().st_mode & 0o777 == (0o700 if held else 0o755)
