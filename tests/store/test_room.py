"""How much of a file system uploads may use, and how often it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from strongroom.store.errors import StoreFull
from strongroom.store.local.reserve import Reserve
from strongroom.store.local.room import KEPT, KEPT_FILES, Room

GIB = 1024**3
BLOCK = 4096


def file_system(free: int, size: int = 100 * GIB, free_files: int = 0, files: int = 0) -> SimpleNamespace:
    """What statvfs(2) says of one; by default one that has no number of files, as btrfs."""
    blocks = {"f_frsize": BLOCK, "f_blocks": size // BLOCK, "f_bavail": free // BLOCK}
    return SimpleNamespace(**blocks, f_files=files, f_favail=free_files)


def test_a_file_system_with_much_room_is_asked_seldom() -> None:
    room = Room(Path(), Reserve(Path()), lambda: 0)
    with mock.patch("os.statvfs", return_value=file_system(10 * GIB)) as asked, mock.patch("time.monotonic") as clock:
        clock.return_value = 1.0
        for _ in range(400):
            room.take(1024**2)
        assert asked.call_count == 1
        for _ in range(400):
            room.take(1024**2)
        assert asked.call_count == 2  # a sixteenth of what is free was used
        clock.return_value = 2.5
        room.take(1)
        assert asked.call_count == 3


@pytest.mark.parametrize(("size", "kept"), [(100 * GIB, KEPT), (128 * 1024**2, 32 * 1024**2)])
def test_some_room_is_kept(size: int, kept: int) -> None:
    room = Room(Path(), Reserve(Path()), lambda: 0)
    with mock.patch("os.statvfs", return_value=file_system(kept + BLOCK, size)):
        room.take(BLOCK)
        with pytest.raises(StoreFull):
            room.take(BLOCK + 1)
        with pytest.raises(StoreFull):
            room.take_in_index(0)


@pytest.mark.parametrize(("files", "kept"), [(1_000_000, KEPT_FILES), (400, 100)])
def test_some_files_are_kept(files: int, kept: int) -> None:
    room = Room(Path(), Reserve(Path()), lambda: 0)
    with mock.patch("os.statvfs", return_value=file_system(GIB, free_files=kept + 3, files=files)):
        room.take(BLOCK)
    with mock.patch("os.statvfs", return_value=file_system(GIB, free_files=kept + 2, files=files)):
        with pytest.raises(StoreFull):
            room.take(BLOCK)
        room.take_in_index(BLOCK)  # which is no more than the one file


def test_what_the_index_does_not_use_any_more_is_room_for_the_index_alone() -> None:
    unused = 1024**2
    room = Room(Path(), Reserve(Path()), lambda: unused)
    with mock.patch("os.statvfs", return_value=file_system(KEPT)):
        room.take_in_index(100_000)
        with pytest.raises(StoreFull):
            room.take_in_index(unused)
        with pytest.raises(StoreFull):
            room.take(1)


def test_while_the_reserve_is_given_up_only_unused_pages_are_there(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    reserve.keep()
    unused = 0
    room = Room(tmp_path, reserve, lambda: unused)
    with mock.patch("os.statvfs", return_value=file_system(10 * GIB)), mock.patch("time.monotonic") as clock:
        clock.return_value = 1.0
        room.take(BLOCK)
        room.use_reserve()
        with pytest.raises(StoreFull):
            room.take(BLOCK)
        with pytest.raises(StoreFull):
            room.take_in_index(0)
        unused = GIB
        room.take_in_index(BLOCK)
        reserve.keep()
        room.take(BLOCK)
