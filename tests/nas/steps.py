"""Ends a process before each step of an operation in turn, and looks at what is there then. Run by ``test_steps.py``.

python -m tests.nas.steps OPERATION attributes|bare
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strongroom.store.base import ALWAYS, Record
from strongroom.store.errors import NoSuchObject
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.finding import read_annex
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.layout import MARK, Segment
from strongroom.store.nas.names import place_of
from strongroom.store.nas.objects import NewObject, Objects
from strongroom.store.nas.probe import Traits
from strongroom.store.nas.uploads import OpenUpload, Uploads

KEY = "a/b/o"
PLAIN: Record = {":etag": b"e"}
LONG: Record = {":etag": b"e", "x-amz-meta-long": b"x" * 8000}
SEALED: Record = {":sse": b"header"}
STEPS = (
    "open", "pwrite", "fsync", "rename", "link", "unlink", "mkdir", "rmdir", "setxattr", "utime", "fchmod",
    "copy_file_range", "ftruncate",
)  # fmt: skip
BARE = Traits(attributes=False, links=False, inodes=False, steady_times=False, fine_times=False)

State = tuple[bytes, Record, bytes] | None


class Gateway:
    """The blocking parts of a store on a folder."""

    def __init__(self, directory: Path, traits: Traits) -> None:
        self.folder = Folder(directory, 0o022)
        self.folder.open()
        self.objects = Objects(self.folder, traits, BesideStore(self.folder, traits))
        self.uploads = Uploads(self.folder, self.objects)

    def put(self, content: bytes, record: Record, annex: bytes = b"", key: str = KEY) -> None:
        draft, head = Draft(self.folder), MARK if ":sse" in record else b""
        draft.append(head + content)
        new = NewObject(place_of("bucket", key), record, annex, ALWAYS)
        self.objects.put(draft, new, (Segment(len(head), len(content)),))

    def upload(self, content: bytes, record: Record) -> Callable[[], object]:
        """Upload a part; what completes the upload."""
        upload = self.uploads.create(place_of("bucket", KEY), record, os.urandom(16))
        draft = Draft(self.folder)
        draft.append(content)
        opened = OpenUpload(self.folder, "bucket", upload.upload_id)
        part = opened.put_part(draft, 1, len(content), {}, os.urandom(16), 1)
        new = NewObject(place_of("bucket", KEY), record, b"", ALWAYS)
        return lambda: self.uploads.complete(new, upload.upload_id, [part])

    def state(self) -> State:
        try:
            descriptor, found = self.objects.finder.open("bucket", KEY)
        except NoSuchObject:
            return None
        content = b"".join(os.pread(descriptor, s.length, s.offset) for s in found.segments)
        assert len(content) == found.stored.size
        annex = read_annex(descriptor, found)
        os.close(descriptor)
        return content, found.stored.record, annex


def _new(record: Record) -> NewObject:
    return NewObject(place_of("bucket", KEY), record, b"", ALWAYS)


# Each: the state before (None: no object), and what prepares the operation and gives it with the state after.
OPERATIONS: dict[str, tuple[State, Callable[[Gateway], tuple[Callable[[], object], State]]]] = {
    "put a plain object": (None, lambda g: (lambda: g.put(b"new", PLAIN), (b"new", PLAIN, b""))),
    "put an encrypted object": (None, lambda g: (lambda: g.put(b"new", SEALED, b"A"), (b"new", SEALED, b"A"))),
    "replace a plain by an encrypted one": (
        (b"old", LONG, b"O"), lambda g: (lambda: g.put(b"new", SEALED, b"A"), (b"new", SEALED, b"A")),
    ),
    "replace an encrypted by a plain one": (
        (b"old", SEALED, b"O"), lambda g: (lambda: g.put(b"new", LONG, b"A"), (b"new", LONG, b"A")),
    ),
    "replace a plain one by one of its length": (
        (b"old", PLAIN, b""), lambda g: (lambda: g.put(b"new", LONG, b"A"), (b"new", LONG, b"A")),
    ),
    "complete a plain upload": (
        (b"old", LONG, b""), lambda g: (g.upload(b"n" * 9000, PLAIN), (b"n" * 9000, PLAIN, b"")),
    ),
    "complete an encrypted upload": (
        (b"old", SEALED, b""), lambda g: (g.upload(b"n" * 9000, SEALED), (b"n" * 9000, SEALED, b"")),
    ),
    "rewrite a plain record": (
        (b"old", PLAIN, b"O"), lambda g: (lambda: g.objects.rewrite(_new(LONG), True), (b"old", LONG, b"O")),
    ),
    "rewrite an encrypted record": (
        (b"old", SEALED, b"O"),
        lambda g: (
            lambda: g.objects.rewrite(_new({**SEALED, ":tags": b"t"}), True), (b"old", {**SEALED, ":tags": b"t"}, b"O"),
        ),
    ),
    "delete": ((b"old", LONG, b"O"), lambda g: (lambda: g.objects.remove(place_of("bucket", KEY), ALWAYS), None)),
}  # fmt: skip


def _end_before(step: int) -> None:
    """Let this process end, as if it were killed, before the step of this number."""
    left = step

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return real(*args, **named)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def run(operation: str, traits: Traits) -> int:
    """End the operation before each of its steps; how many there are."""
    before, prepare = OPERATIONS[operation]
    for step in range(1000):
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "bucket").mkdir()
            gateway = Gateway(Path(directory), traits)
            if before is not None:
                gateway.put(before[0], before[1], before[2])
            act, after = prepare(gateway)
            child = os.fork()
            if not child:
                _end_before(step)
                act()
                os._exit(0)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            assert code in (0, 9), f"{operation}, step {step}: exit code {code}"
            found = gateway.state()
            assert found in ((after,) if code == 0 else (before, after)), f"{operation}, step {step}: {found}"
            gateway.put(b"again", PLAIN)  # nothing is locked, nothing in the way
            assert gateway.state() == (b"again", PLAIN, b"")
            gateway.folder.close()
            if code == 0:
                return step
    raise AssertionError(f"{operation} has no end")


if __name__ == "__main__":
    print(run(sys.argv[1], Traits() if sys.argv[2] == "attributes" else BARE))
