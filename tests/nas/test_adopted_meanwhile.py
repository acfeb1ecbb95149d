"""Readers of a folder that MinIO left, while its objects are adopted, written over and deleted.

Each look at what lies beside a file in turn is the one after which another operation comes in between.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.sealed.dare import Sealer, new_nonce
from strongroom.store.base import ALWAYS, FOUND, LEFT, Record
from strongroom.store.errors import NoSuchObject
from strongroom.store.nas import left as left_module
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.layout import MARK, Beside, Segment
from strongroom.store.nas.left import Left
from strongroom.store.nas.names import Place, place_of
from strongroom.store.nas.objects import NewObject, Objects
from strongroom.store.nas.probe import Traits
from tests.nas.steps import BARE, PLAIN, SEALED

PLACE = place_of("bucket", "a/o")
DOCUMENT = json.dumps({"version": "1.0.2", "meta": {"content-type": "text/x-left"}}).encode()
KINDS = {
    "plain": (b"plain", PLAIN),
    "encrypted": (bytes(Sealer(bytes(32), new_nonce()).seal(b"x", final=True)), SEALED),
}
LOOKS = 3


class _Reader:
    """What reads the folder, and lets another operation come in, after a number of looks at what lies beside."""

    def __init__(self, directory: Path, traits: Traits) -> None:
        self.folder = Folder(directory, 0o022)
        self.folder.open()
        left = Left(self.folder)
        left.open()
        self.beside = BesideStore(self.folder, traits)
        self.objects = Objects(self.folder, traits, self.beside, left)

    def read(self, looks: int, meanwhile: Callable[[], object]) -> Record:
        """The record of the object."""
        find, left = self.beside.find, looks

        def interrupted(descriptor: int, found: os.stat_result, place: Place) -> Beside | None:
            nonlocal left
            beside, left = find(descriptor, found, place), left - 1
            if left == -1:
                meanwhile()
            return beside

        self.beside.find = interrupted  # type: ignore[method-assign]
        try:
            descriptor, found = self.objects.finder.open(PLACE.bucket, PLACE.key)
        finally:
            self.beside.find = find  # type: ignore[method-assign]
        os.close(descriptor)
        return found.stored.record

    def adopt(self, record: Record) -> None:
        self.objects.rewrite(NewObject(PLACE, record, b"", ALWAYS), False)

    def put(self, content: bytes, record: Record) -> None:
        draft, head = Draft(self.folder), MARK if ":sse" in record else b""
        draft.append(head + content)
        self.objects.put(draft, NewObject(PLACE, record, b"", ALWAYS), (Segment(len(head), len(content)),))


def leave(directory: Path, content: bytes, document: bytes | None = DOCUMENT) -> None:
    """What MinIO writes for an object."""
    beside = directory / ".minio.sys" / "buckets" / "bucket" / "a" / "o"
    beside.mkdir(parents=True)
    (directory / ".minio.sys" / "format.json").write_text(json.dumps({"version": "1", "format": "fs"}))
    (directory / "bucket" / "a").mkdir(parents=True)
    (directory / "bucket" / "a" / "o").write_bytes(content)
    if document is not None:
        (beside / "fs.json").write_bytes(document)


@pytest.mark.parametrize("traits", [Traits(), BARE], ids=["attributes", "bare"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("looks", range(LOOKS))
def test_an_object_that_is_adopted_meanwhile_is_minios_or_ours(
    tmp_path: Path, traits: Traits, kind: str, looks: int
) -> None:
    content, record = KINDS[kind]
    leave(tmp_path, content)
    reader, adopter = _Reader(tmp_path, traits), _Reader(tmp_path, traits)
    assert reader.read(looks, lambda: adopter.adopt(record)) in ({LEFT: DOCUMENT}, record)
    assert reader.read(LOOKS, lambda: None) in ({LEFT: DOCUMENT}, record)


@pytest.mark.parametrize("traits", [Traits(), BARE], ids=["attributes", "bare"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("over", KINDS)
@pytest.mark.parametrize("looks", range(LOOKS))
def test_an_object_that_is_written_over_meanwhile_is_the_old_or_the_new(
    tmp_path: Path, traits: Traits, kind: str, over: str, looks: int
) -> None:
    leave(tmp_path, KINDS[kind][0])
    reader, writer = _Reader(tmp_path, traits), _Reader(tmp_path, traits)
    new = KINDS[over][1]
    assert reader.read(looks, lambda: writer.put(b"new", new)) in ({LEFT: DOCUMENT}, new)


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_is_deleted_meanwhile_is_not_there(tmp_path: Path, kind: str) -> None:
    leave(tmp_path, KINDS[kind][0])
    reader, other = _Reader(tmp_path, Traits()), _Reader(tmp_path, Traits())
    with pytest.raises(NoSuchObject):
        reader.read(0, lambda: other.objects.remove(PLACE, ALWAYS))


def test_a_file_without_a_document_is_found_or_its_document_is_lost(tmp_path: Path) -> None:
    for kind, record in (("plain", {FOUND: b""}), ("encrypted", {LEFT: b""})):
        directory = tmp_path / kind
        directory.mkdir()
        leave(directory, KINDS[kind][0], None)
        assert _Reader(directory, Traits()).read(LOOKS, lambda: None) == record


def test_a_link_that_comes_meanwhile_leads_to_no_folder_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, elsewhere = tmp_path / "share", tmp_path / "elsewhere"
    (elsewhere / "o").mkdir(parents=True)
    leave(share, b"plain")
    documents = share / ".minio.sys" / "buckets" / "bucket"

    def put_a_link(descriptor: int) -> None:
        (documents / "a").rename(documents / "former")
        (documents / "a").symlink_to(elsewhere)

    monkeypatch.setattr(left_module, "sync", put_a_link)
    _Reader(share, Traits()).adopt(PLAIN)
    assert (documents / "a").is_symlink() and (elsewhere / "o").is_dir()
