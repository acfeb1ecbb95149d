"""Copying one object between two S3 that do what real ones seldom do: lose bytes, give others back, and fail."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from strongroom.secret import Secret
from strongroom.transfer import copying
from strongroom.transfer.copying import Copier, NotCopied, Stopped, Wishes
from strongroom.transfer.s3 import Described, Listed, S3Failed
from strongroom.transfer.state import State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = Secret(b"k" * 32)
PIECE = 10


@dataclass
class Memory:
    """An S3 with one object at most. ``fails``: the codes of the errors in which each operation ends first.
    ``conditions``: whether it insists on them.
    """

    described: Described | None = None
    body: bytes = b""
    part: int = 0
    fails: dict[str, list[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    keys: dict[str, Secret | None] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    fields: Mapping[str, Any] = field(default_factory=dict)
    arrived: list[bytes] = field(default_factory=list)
    conditions: bool = True

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if codes := self.fails.get(name):
            raise S3Failed(f"{name} failed", codes.pop(0))

    def describe(self, bucket: str, key: str, customer_key: Secret | None) -> Described:
        self._called("describe")
        if self.described is None:
            raise S3Failed("it is not there", "404")
        return self.described

    def etag(self, bucket: str, key: str, customer_key: Secret | None) -> str | None:
        self._called("etag")
        return self.described.etag if self.described else None

    def part_size(self, bucket: str, key: str, customer_key: Secret | None) -> int:
        return self.part

    def read(self, bucket: str, key: str, etag: str, customer_key: Secret | None) -> Iterator[bytes]:
        self._called("read")
        self.keys["read"] = customer_key
        assert self.described and self.described.etag == etag
        for start in range(0, len(self.body), 3):
            yield self.body[start : start + 3]

    def put(self, bucket: str, key: str, body: bytes, fields: Mapping[str, Any], over: str | None) -> str:
        self._called("put")
        self.fields, self.sizes = fields, [len(body)]
        return self._keep(body, over)

    def begin_upload(self, bucket: str, key: str, fields: Mapping[str, Any]) -> str:
        self._called("begin_upload")
        self.fields, self.sizes, self.arrived = fields, [], []
        return "upload"

    def put_part(
        self, bucket: str, key: str, upload: str, number: int, body: bytes, customer_key: Secret | None
    ) -> Mapping[str, Any]:
        self._called("put_part")
        self.keys["put_part"] = customer_key
        self.sizes.append(len(body))
        self.arrived.append(body)
        assert number == len(self.arrived)
        return {"PartNumber": number, "ETag": "e"}

    def complete(self, bucket: str, key: str, upload: str, parts: Sequence[Mapping[str, Any]], over: str | None) -> str:
        self._called("complete")
        assert [part["PartNumber"] for part in parts] == list(range(1, len(self.arrived) + 1))
        return self._keep(b"".join(self.arrived), over)

    def abort_upload(self, bucket: str, key: str, upload: str) -> None:
        self._called("abort_upload")

    def delete_if_still(self, bucket: str, key: str, etag: str, customer_key: Secret | None) -> None:
        self._called("delete_if_still")
        assert self.described and self.described.etag == etag
        self.described = None

    def _keep(self, body: bytes, over: str | None) -> str:
        there = self.described.etag if self.described else ""
        assert over is None or over == there or not self.conditions
        self.body = body
        etag = hashlib.md5(body).hexdigest()
        self.described = Described(len(body), etag, NOW, metadata=self.fields["Metadata"])
        return etag


@pytest.fixture(autouse=True)
def _pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PIECE", PIECE)
    monkeypatch.setattr(copying, "MAX_PIECE", 4 * PIECE)
    monkeypatch.setattr(copying, "_MIN_PART", PIECE // 2)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with State(tmp_path / "state.db") as state:
        yield state


def source(body: bytes, **described: Any) -> Memory:
    return Memory(Described(len(body), "source", NOW, **described), body)


def copy(here: Any, there: Any, state: State, stop: threading.Event | None = None, **wishes: Any) -> str:
    moved: list[int] = []
    copier = Copier(here, there, state, Wishes(**wishes), stop or threading.Event(), moved.append)
    digest = copier.copy(Listed("bucket", "k", 1, "source", NOW), "target")
    assert sum(moved) >= len(here.body)
    return digest


SIZES = [0, 1, PIECE, PIECE + 1, 2 * PIECE, 25]


@pytest.mark.parametrize("size", SIZES)
def test_an_object_of_any_size_is_copied_and_read_back(state: State, size: int) -> None:
    here, there = source(bytes(range(size)), metadata={"a": "b"}), Memory()
    assert copy(here, there, state) == hashlib.sha256(here.body).hexdigest()
    assert there.body == here.body and there.calls[-1] == "read"
    assert all(0 < length <= PIECE for length in there.sizes) or size == 0
    assert ("put" in there.calls) is (size <= PIECE)
    assert there.described and state.written("target", "k") == there.described.etag
    assert not state.open_uploads() and state.begun("target", "k") is None


@pytest.mark.parametrize("size", SIZES)
def test_a_source_that_ends_early_leaves_nothing_at_the_target(state: State, size: int) -> None:
    here, there = source(bytes(size)), Memory()
    assert here.described
    here.described = replace(here.described, size=size + 1)
    with pytest.raises(NotCopied, match=f"came, and {size + 1} were announced"):
        copy(here, there, state)
    assert there.described is None and not state.open_uploads()
    assert there.calls.count("begin_upload") == there.calls.count("abort_upload")


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_copy_whose_bytes_are_others_when_they_are_read_back_is_removed(state: State, size: int) -> None:
    class Spoiling(Memory):
        def read(self, *where: Any) -> Iterator[bytes]:
            yield bytes(size - 1) + b"\1"

    here, there = source(bytes(size)), Spoiling()
    with pytest.raises(NotCopied, match="its bytes were others"):
        copy(here, there, state)
    assert there.described is None and there.calls[-1] == "delete_if_still"


def test_a_copy_whose_metadata_are_others_when_they_are_read_back_is_removed(state: State) -> None:
    here, there = source(b"bytes", headers={"ContentType": "text/plain"}), Memory()  # which it does not keep
    with pytest.raises(NotCopied, match="its metadata were others"):
        copy(here, there, state)
    assert there.described is None


@pytest.mark.parametrize("operation", ["put_part", "complete"])
def test_an_upload_that_fails_is_aborted_and_tried_again(state: State, operation: str) -> None:
    here, there = source(bytes(25)), Memory(fails={operation: ["SlowDown", "SlowDown"]})
    copy(here, there, state)
    assert there.body == here.body
    assert (there.calls.count("begin_upload"), there.calls.count("abort_upload")) == (3, 2)
    assert not state.open_uploads()


@pytest.mark.parametrize(("code", "opening"), [("AccessDenied", False), ("unreachable", True)])
def test_an_upload_that_may_have_been_opened_without_an_answer_is_remembered(
    state: State, code: str, opening: bool
) -> None:
    with pytest.raises(NotCopied):
        copy(source(bytes(25)), Memory(fails={"begin_upload": [code] * 3}), state)
    assert {row[1:] for row in state.opening()} == ({("target", "k")} if opening else set())
    copy(source(bytes(25)), Memory(), state)
    assert bool(state.opening()) is opening  # of the one that nobody knows


@pytest.mark.parametrize(("code", "tries"), [("SlowDown", 3), ("503", 3), ("403", 1), ("AccessDenied", 1)])
def test_what_fails_is_tried_three_times_and_what_is_denied_once(state: State, code: str, tries: int) -> None:
    here, there = source(b"bytes"), Memory(fails={"put": [code] * 3})
    with pytest.raises(NotCopied, match="put failed") as failed:
        copy(here, there, state)
    assert there.calls.count("put") == tries
    assert failed.value.unavailable is (code == "503")


@pytest.mark.parametrize("encryption", ["", "SSE-S3", "SSE-KMS", "SSE-C"])
@pytest.mark.parametrize("encrypt", [False, True])
def test_a_clients_key_is_shown_for_what_it_opens_alone(state: State, encryption: Any, encrypt: bool) -> None:
    here, there = source(bytes(25), encryption=encryption), Memory()
    copy(here, there, state, customer_key=KEY, encrypt=encrypt)
    shown = KEY if encryption == "SSE-C" else None
    assert (here.keys["read"], there.keys["put_part"], there.keys["read"]) == (shown, shown, shown)
    assert ("SSECustomerKey" in there.fields) is (shown is not None)
    assert ("ServerSideEncryption" in there.fields) is (encryption not in ("", "SSE-C") or (encrypt and not encryption))


@pytest.mark.parametrize(
    ("size", "parts", "part", "sizes"),
    [
        (25, 3, 9, [9, 9, 7]),  # as at the source, so that the copy has the same ETag
        (18, 2, 9, [9, 9]),
        (7, 1, 7, [7]),
        (25, 3, 13, [10, 10, 5]),  # they were of different sizes
        (25, 3, 8, [10, 10, 5]),
        (45, 2, 41, [10, 10, 10, 10, 5]),  # too long to be kept in memory
        (9, 3, 4, [9]),  # too short for any S3
        (9, 2, 5, [5, 4]),
        (80, 2, 40, [40, 40]),
    ],
)
def test_a_copy_has_the_parts_of_its_source_where_that_can_be(
    state: State, size: int, parts: int, part: int, sizes: list[int]
) -> None:
    here, there = source(bytes(size), parts=parts), Memory()
    here.part = part
    copy(here, there, state)
    assert there.sizes == sizes


def test_no_copy_has_more_parts_than_there_may_be(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_MAX_PARTS", 3)
    here, there = source(bytes(100)), Memory()
    copy(here, there, state)
    assert there.sizes == [34, 34, 32]


def test_an_object_of_others_is_left_alone_and_an_equal_one_is_taken_for_the_copy(state: State) -> None:
    here, there = source(b"bytes"), Memory(Described(5, "theirs", NOW), b"other")
    with pytest.raises(NotCopied, match="another object of this name is at the target"):
        copy(here, there, state)
    there.body = b"bytes"
    assert copy(here, there, state) == hashlib.sha256(b"bytes").hexdigest()
    assert "put" not in there.calls and state.written("target", "k") == "theirs"
    there.body = b"other"
    copy(here, there, state)  # since that ETag is the copy's
    assert there.body == b"bytes"


@pytest.mark.parametrize("size", [5, 25])
def test_an_object_of_others_is_replaced_where_that_is_wished(state: State, size: int) -> None:
    here, there = source(bytes(size)), Memory(Described(5, "theirs", NOW), b"other")
    copy(here, there, state, overwrite=True)
    assert there.body == here.body


def test_what_somebody_writes_during_an_upload_is_left_alone_at_a_target_without_conditions(state: State) -> None:
    class Careless(Memory):
        def put_part(self, *what: Any) -> Mapping[str, Any]:
            self.described, self.body = Described(5, "theirs", NOW), b"other"
            return super().put_part(*what)

    there = Careless(conditions=False)
    with pytest.raises(NotCopied, match="another object of this name is at the target"):
        copy(source(bytes(25)), there, state)
    assert there.body == b"other"


def test_an_upload_is_noted_as_long_as_it_is_open(state: State) -> None:
    noted = []

    class Looking(Memory):
        def put_part(self, *what: Any) -> Mapping[str, Any]:
            noted.append(list(state.open_uploads()))
            return super().put_part(*what)

    copy(source(bytes(15)), Looking(), state)
    assert noted == [[("target", "k", "upload")]] * 2
    assert not state.open_uploads()


@pytest.mark.parametrize(("code", "tries"), [("SlowDown", 2), ("404", 1), ("NoSuchKey", 1)])
def test_a_read_that_fails_is_tried_again_unless_the_object_was_removed(state: State, code: str, tries: int) -> None:
    here, there = source(b"bytes"), Memory()
    here.fails = {"read": [code]}
    try:
        copy(here, there, state)
    except NotCopied as error:
        assert "it was removed at the source meanwhile" in str(error)
    assert here.calls.count("read") == tries
    assert (there.described is not None) is (tries == 2)


@pytest.mark.parametrize("size", [5, 25])
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_copying_that_is_stopped_ends_amid_an_object(state: State, size: int, end: str) -> None:
    stop = threading.Event()

    class Stopping(Memory):
        def read(self, *where: Any) -> Iterator[bytes]:
            stop.set()
            return super().read(*where)

    here, there = source(bytes(size)), Memory()
    if end == "source":
        here = Stopping(here.described, here.body)
    else:
        there = Stopping()
    with pytest.raises(Stopped):
        copy(here, there, state, stop)
    assert (there.described is None) is (end == "source")
    assert not state.open_uploads()
