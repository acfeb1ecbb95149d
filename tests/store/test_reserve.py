"""What is kept for removing objects, if there is no other space."""

from __future__ import annotations

import errno
import gc
import os
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.errors import StoreFull
from strongroom.store.local import LocalStore, commits, reserve
from strongroom.store.local.blobs import Blobs
from strongroom.store.local.reserve import SIZE, Reserve
from tests.mounts import image_mounted, small_file_system
from tests.store.kinds import put
from tests.store.test_local import run

MIB = 1024**2


def allocated(directory: Path) -> int:
    return (directory / "reserve").stat().st_blocks * 512


def test_it_takes_up_space_until_it_is_given_up_and_again_after_that(tmp_path: Path) -> None:
    kept = Reserve(tmp_path)
    assert not kept.is_given_up
    for _ in range(2):
        kept.keep()
        kept.keep()
        assert allocated(tmp_path) >= SIZE and not kept.is_given_up
        for _ in range(2):
            kept.give_up()
            assert allocated(tmp_path) == 0 and kept.is_given_up
        assert not kept.give_up()


def test_it_takes_a_sixteenth_of_a_small_file_system_and_nothing_where_there_is_no_room(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", 64) as disk:
        kept = Reserve(disk)
        filler = disk / "filler"
        filler.write_bytes(bytes(62 * MIB))
        kept.keep()
        assert not kept.is_given_up and not (disk / "reserve").exists()  # what never was there is not missed
        filler.unlink()
        kept.keep()
        assert allocated(disk) == 4 * MIB
        os.truncate(disk / "reserve", MIB)  # as if whoever filled it had been killed
        kept.keep()
        assert allocated(disk) == 4 * MIB
        kept.give_up()
        filler.write_bytes(bytes(62 * MIB))
        kept.keep()
        assert allocated(disk) == 0 and kept.is_given_up


def test_where_no_space_can_be_taken_in_advance_nothing_is_kept_and_nothing_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    kept = Reserve(tmp_path)
    for _ in range(2):
        kept.keep()
        assert not kept.give_up()  # or a removal would be tried again for ever
        assert not kept.is_given_up and not (tmp_path / "reserve").exists()
        (tmp_path / "reserve").write_bytes(b"")  # given up where it could be filled once, say before a move


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    (tmp_path / "reserve").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        Reserve(tmp_path).keep()
    assert (tmp_path / "other").read_bytes() == b""


@pytest.mark.parametrize("full", [True, False])
def test_what_sqlite_says_of_a_quota_is_told_from_a_disk_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    def refused(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
        raise error

    monkeypatch.setattr(commits, "has_room", lambda directory: not full)

    async def use(store: LocalStore) -> None:
        with pytest.raises(StoreFull if full else sqlite3.OperationalError):
            await store._committer.commit(refused)

    run(tmp_path, use)


def test_only_what_removes_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve, "SIZE", MIB)

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        commit: Any = store._committer.commit
        kept = store._reserve

        async def full(write: Any, **how: Any) -> Any:
            if not kept.is_given_up:
                raise StoreFull("no space is left for the index")
            return await commit(write, **how)

        monkeypatch.setattr(store._committer, "commit", full)
        with pytest.raises(StoreFull):
            await put(store, "p", b"bytes")
        with pytest.raises(StoreFull):
            await store.set_bucket("bucket", "setting", b"value")
        assert not kept.is_given_up
        assert await store.delete("bucket", "o")
        assert kept.is_given_up
        with pytest.raises(StoreFull):
            await put(store, "p", b"bytes")

    run(tmp_path, use)


@pytest.mark.parametrize("times", [1, 2])
def test_a_removal_that_a_quota_refused_in_which_there_is_room_by_now_is_tried_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")
        commit, refused = store._committer.commit, [error] * times

        async def refuse(write: Any, **how: Any) -> Any:
            if refused:
                raise refused.pop()
            return await commit(write, **how)

        monkeypatch.setattr(store._committer, "commit", refuse)
        if times == 1:
            assert await store.delete("bucket", "o")
        else:  # the disk fails
            with pytest.raises(sqlite3.OperationalError):
                await store.delete("bucket", "o")

    run(tmp_path, use)


@pytest.mark.parametrize("filled_again", [0, 3])
def test_a_removal_is_tried_again_as_long_as_there_is_something_to_give_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filled_again: int
) -> None:
    tries = 0

    async def use(store: LocalStore) -> None:
        await put(store, "o", b"bytes")

        async def full(write: Any, **how: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries <= filled_again:
                store._reserve.keep()
            raise StoreFull("no space is left for the index")

        monkeypatch.setattr(store._committer, "commit", full)
        with pytest.raises(StoreFull):
            await store.delete("bucket", "o")

    run(tmp_path, use)
    assert tries == 2 + max(0, filled_again - 1)


async def fill(store: LocalStore) -> None:
    """Put an object."""
    await put(store, "o", b"bytes")


async def remove(store: LocalStore) -> None:
    """Remove it again."""
    assert await store.delete("bucket", "o")


def use_up(directory: Path) -> None:
    """Fill the disk or the quota to the last byte."""
    with (directory / "filler").open("wb", buffering=0) as file:
        for piece in (MIB, 4096):
            with suppress(OSError):
                while file.write(bytes(piece)):
                    pass


def test_a_store_opens_on_a_disk_that_others_filled_while_it_was_closed(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", 96) as disk:
        run(disk, fill)
        use_up(disk)
        run(disk, remove)
        gc.collect()  # what the first try to open it had open


def test_a_store_opens_in_a_quota_of_btrfs_which_lets_no_file_be_cut_when_it_is_used_up(tmp_path: Path) -> None:
    with image_mounted("btrfs", tmp_path) as mounted:
        limited = mounted / "limited"
        for command in (f"quota enable {mounted}", f"subvolume create {limited}", f"qgroup limit 40M {limited}"):
            subprocess.run(["btrfs", *command.split()], check=True, capture_output=True)
        run(limited, fill)
        use_up(limited)
        run(limited, remove)
        gc.collect()


def test_a_store_opens_where_no_directory_can_be_made_without_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path, fill)

    class Full(Blobs):
        def __init__(self, directory: Path) -> None:
            if not Reserve(directory).is_given_up:
                raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
            super().__init__(directory)

    monkeypatch.setattr("strongroom.store.local.store.Blobs", Full)
    monkeypatch.setattr("strongroom.store.local.schema.has_room", lambda directory: False)
    run(tmp_path, remove)
