"""The folder of an export: whatever the keys, each object lies by itself and within the folder, and is found again."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.transfer.folder import MANIFEST, Exported, Folder
from strongroom.transfer.s3 import Listed

NOW = datetime(2026, 1, 1, tzinfo=UTC)

PARTS = st.one_of(
    st.sampled_from(
        ["", ".", "..", "a", "A", "b", "a.", ".strongroom-export", MANIFEST, "x" * 255, "x" * 256, "é", "\u202e"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
KEYS = st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(bool)
NAMES = st.tuples(st.sampled_from(["bucket", "another", ".strongroom-export", MANIFEST, "..", "a"]), KEYS)


def listed(name: tuple[str, str]) -> Listed:
    return Listed(*name, len(content(name)), hashlib.md5(content(name)).hexdigest(), NOW)


def content(name: tuple[str, str]) -> bytes:
    """Other bytes for each object, whose length tells little."""
    return hashlib.sha256(repr(name).encode()).digest()[: 1 + len(name[1]) % 8]


def export(folder: Folder, names: Sequence[tuple[str, str]]) -> None:
    for name in names:
        path, body, one = folder.temporary(*name), content(name), listed(name)
        path.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        folder.add(path, Exported(*name, "", len(body), digest, one.etag, one.modified.isoformat(), "", {}, {}, ""))


def check(directory: Path, names: Sequence[tuple[str, str]]) -> None:
    """The manifest names each object once, and each at a file of its own within the directory, with its bytes."""
    lines = [json.loads(line) for line in (directory / MANIFEST).read_text().splitlines()]
    assert [(line["bucket"], line["key"]) for line in lines] == sorted(
        names, key=lambda name: tuple(map(str.encode, name))
    )
    files = [directory / line["file"] for line in lines]
    assert len({file.resolve() for file in files}) == len(lines)
    for file, line in zip(files, lines, strict=True):
        assert file.resolve().is_relative_to(directory.resolve()) and file != directory / MANIFEST
        assert file.read_bytes() == content((line["bucket"], line["key"]))


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True), st.integers(0, 8))
@example([("bucket", "a"), ("bucket", "a/b"), ("bucket", "a//b"), ("bucket", "a/./b"), ("bucket", "../a/b")], 2)
@example([("a", "b/c"), ("a", "b"), ("..", "a/b"), (MANIFEST, "a"), (".strongroom-export", "tmp/manifest.jsonl")], 3)
def test_each_object_lies_by_itself_within_the_folder_and_is_found_again(
    names: list[tuple[str, str]], stopped_after: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        outside = Path(directory) / "outside"
        outside.write_bytes(b"of others")
        place = Path(directory) / "export"
        for some in (names[:stopped_after], names[stopped_after:]):
            with closing(Folder(place)) as folder:
                assert not any(map(folder.has, map(listed, some)))
                export(folder, some)
        check(place, names)
        with closing(Folder(place)) as folder:
            assert all(map(folder.has, map(listed, names)))
            export(folder, names)  # once more, each over itself
        check(place, names)
        assert sorted(file.name for file in Path(directory).iterdir()) == ["export", "outside"]
        assert outside.read_bytes() == b"of others"


def test_what_changed_at_the_source_or_is_not_there_any_more_is_exported_again(tmp_path: Path) -> None:
    one = listed(("bucket", "a/b"))
    with closing(Folder(tmp_path)) as folder:
        export(folder, [("bucket", "a/b")])
        assert folder.has(one)
        for changed in (
            replace(one, etag="other"),
            replace(one, size=one.size + 1),
            replace(one, modified=NOW + timedelta(seconds=1)),
            replace(one, key="a/c"),
            replace(one, bucket="another"),
        ):
            assert not folder.has(changed)
    file = tmp_path / "bucket" / "a" / "b"
    for spoil in (lambda: file.write_bytes(b""), file.unlink):
        spoil()
        with closing(Folder(tmp_path)) as folder:
            assert not folder.has(one)


def test_a_link_that_somebody_put_in_the_place_of_an_object_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "export"
    outside.write_bytes(b"of others")
    with closing(Folder(place)) as folder:
        export(folder, [("bucket", "first")])
        (place / "bucket" / "o").symlink_to(outside)
        export(folder, [("bucket", "o")])
    assert outside.read_bytes() == b"of others"
    check(place, [("bucket", "first"), ("bucket", "o")])


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_a_last_line_that_was_cut_short_is_that_of_an_object_to_be_exported_again(tmp_path: Path, cut: int) -> None:
    names = [("bucket", "a"), ("bucket", "b")]
    with closing(Folder(tmp_path)) as folder:
        export(folder, names)
    manifest = tmp_path / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[: -cut or None])
    with closing(Folder(tmp_path)) as folder:
        assert [folder.has(listed(name)) for name in names] == [True, not cut]
        export(folder, names[1:])
    check(tmp_path, names)
