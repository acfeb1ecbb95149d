"""What the names of a large folder cost other clients of the shared folder: how many are sorted at a time."""

from __future__ import annotations

import random

import pytest

from strongroom.store.nas import walk


@pytest.mark.parametrize("count", [0, 1, 399, 400, 10_000])
def test_few_of_the_names_of_a_large_folder_are_sorted_at_a_time(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_SHARE", 200)
    names = [f"backup-{number:05}".encode() for number in range(count)]
    mixed = random.Random(1).sample(names, count)
    shares = walk.shares(mixed)
    assert max(map(len, shares)) < 3 * 200
    assert [name for share in shares for name in sorted(share)] == names
