"""What is remembered of objects that were read: it spares work, never a question to the KMS, never a check."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from strongroom.kms.base import KeyDisabled, WrappedKeyInvalid
from strongroom.sealed import opened
from strongroom.sealed.envelope import EnvelopeInvalid, Header
from strongroom.sealed.keys import IV, SEALED_KEY, Kind, ObjectKey, RecordKey, new_object_key, record_key
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.opened import OpenedRecords
from strongroom.sealed.record import SEALED, Record, open_record, sealed_record
from strongroom.sealed.store import SealedStore
from strongroom.store.base import Damaged
from tests.sealed.test_listing import SSE_C, SwitchedKMS, put, run


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records that are opened from now on."""
    seen: list[Record] = []

    def opening(record: Record, key: RecordKey) -> Metadata:
        seen.append(record)
        return open_record(record, key)

    monkeypatch.setattr(opened, "open_record", opening)
    return seen


def sealed(object_key: ObjectKey, kind: Kind = Kind.SSE_S3, etag: str = "e") -> dict[str, bytes]:
    header = Header(kind, 1, os.urandom(IV), bytes(SEALED_KEY), None)
    return sealed_record(header, record_key(object_key), Metadata({"x-amz-meta-a": "b"}, etag))


def test_a_record_is_opened_once_and_the_kms_asked_each_time(tmp_path: Path, boxes: list[Record]) -> None:
    async def work(store: SealedStore, kms: SwitchedKMS) -> None:
        written = await put(store, "o")
        for _ in range(3):
            assert (await store.head("bucket", "o")).etag == written.etag
        assert (len(boxes), kms.asked) == (1, [1, 1, 1])
        kms.refuses = True
        with pytest.raises(KeyDisabled):
            await store.head("bucket", "o")

    run(tmp_path, work)


def test_a_record_that_was_altered_after_it_was_read_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: SwitchedKMS) -> None:
        await put(store, "o")
        await put(store, "other")
        await store.head("bucket", "o")
        await store.head("bucket", "other")
        index = sqlite3.connect(tmp_path / ".strongroom" / "index.db", isolation_level=None)
        (record,) = index.execute("SELECT record FROM objects WHERE key = ?", (b"o",)).fetchone()
        index.execute("UPDATE objects SET record = ? WHERE key = ?", (record[:-1] + bytes((record[-1] ^ 1,)), b"o"))
        with pytest.raises(Damaged):
            await store.head("bucket", "o")
        index.execute("UPDATE objects SET record = ? WHERE key = ?", (record, b"other"))
        with pytest.raises(WrappedKeyInvalid):
            await store.head("bucket", "other")
        index.close()

    run(tmp_path, work)


def test_nothing_is_kept_of_what_clients_keys_encrypt(tmp_path: Path, boxes: list[Record]) -> None:
    async def work(store: SealedStore, kms: SwitchedKMS) -> None:
        await put(store, "o", SSE_C)
        for _ in range(2):
            await store.head("bucket", "o", SSE_C.customer_key)
        assert len(boxes) == 2

    run(tmp_path, work)


def test_neither_header_nor_box_alone_is_enough() -> None:
    records, key = OpenedRecords(), new_object_key()
    first, second = sealed(key, etag="1"), sealed(key, etag="2")
    assert records.metadata(first, Kind.SSE_S3, key).etag == "1"
    assert records.metadata(second, Kind.SSE_S3, key).etag == "2"
    for mixed in ({**first, SEALED: second[SEALED]}, {**second, SEALED: first[SEALED]}):
        with pytest.raises(EnvelopeInvalid):
            records.metadata(mixed, Kind.SSE_S3, key)


def test_what_is_remembered_is_bounded(boxes: list[Record]) -> None:
    records, key = OpenedRecords(most=100_000), new_object_key()
    made = [sealed(key) for _ in range(500)]
    for _ in range(2):
        for record in made:
            records.metadata(record, Kind.SSE_S3, key)
    assert len(boxes) == 1000
    records.metadata(made[-1], Kind.SSE_S3, key)
    assert len(boxes) == 1000
