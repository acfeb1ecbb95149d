"""How much of a file system uploads may use, and how often it is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from strongroom.store.errors import StoreFull
from strongroom.store.local.room import KEPT, Room

GIB = 1024**3
BLOCK = 4096


def file_system(free: int, size: int = 100 * GIB) -> SimpleNamespace:
    """What statvfs(2) says of one."""
    return SimpleNamespace(f_frsize=BLOCK, f_blocks=size // BLOCK, f_bavail=free // BLOCK)


def test_a_file_system_with_much_room_is_asked_seldom() -> None:
    room = Room(Path(), lambda: 0)
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
    room = Room(Path(), lambda: 0)
    with mock.patch("os.statvfs", return_value=file_system(kept + BLOCK, size)):
        room.take(BLOCK)
        with pytest.raises(StoreFull):
            room.take(BLOCK + 1)
        with pytest.raises(StoreFull):
            room.take_in_index(0)


def test_what_the_index_does_not_use_any_more_is_room_for_the_index_alone() -> None:
    unused = 1024**2
    room = Room(Path(), lambda: unused)
    with mock.patch("os.statvfs", return_value=file_system(KEPT)):
        room.take_in_index(100_000)
        with pytest.raises(StoreFull):
            room.take_in_index(unused)
        with pytest.raises(StoreFull):
            room.take(1)
