"""What is remembered of objects that were read: it spares work, never a check, and never a question to a KMS that may
say no.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from strongroom.kms.base import Context, KeyDisabled, KMSError, WrappedKey, WrappedKeyInvalid
from strongroom.kms.static import StaticKMS
from strongroom.sealed import opened
from strongroom.sealed.envelope import MAGIC, EnvelopeInvalid, Header, decode_header
from strongroom.sealed.errors import CustomerKeyNotApplicable
from strongroom.sealed.keys import IV, SEALED_KEY, Kind, ObjectKey, RecordKey, new_object_key, record_key
from strongroom.sealed.metadata import Metadata
from strongroom.sealed.opened import OpenedRecords, Sealing
from strongroom.sealed.record import SEALED, Record, open_record, sealed_record
from strongroom.sealed.store import SealedStore
from strongroom.sealed.tags import TAGS_COUNT, TAGS_SSE
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED, LEFT
from strongroom.store.errors import Damaged
from strongroom.store.local.schema import decode_mapping, encode_mapping
from tests.kms.elsewhere import KMSElsewhere
from tests.sealed.test_listing import SSE_C, put, run, with_kms

STATIC = StaticKMS("key", Secret(bytes(32)))


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """The records that are opened from now on."""
    seen: list[Record] = []

    def opening(record: Record, key: RecordKey) -> Metadata:
        seen.append(record)
        return open_record(record, key)

    monkeypatch.setattr(opened, "open_record", opening)
    return seen


def sealed(object_key: ObjectKey, etag: str = "e") -> tuple[dict[str, bytes], Sealing]:
    header = Header(Kind.SSE_S3, 1, os.urandom(IV), bytes(SEALED_KEY), None)
    record = sealed_record(header, record_key(object_key), Metadata({"x-amz-meta-a": "b"}, etag))
    return record, (header, object_key)


def test_a_record_is_opened_once_and_the_kms_asked_each_time(tmp_path: Path, boxes: list[Record]) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        written = await put(store, "o")
        kms.unwrapped.clear()
        for _ in range(3):
            assert (await store.head("bucket", "o")).etag == written.etag
        assert (len(boxes), kms.unwrapped) == (1, [1, 1, 1])
        kms.refusal = KeyDisabled("the key is disabled")
        with pytest.raises(KeyDisabled):
            await store.head("bucket", "o")

    run(tmp_path, work)


def test_a_record_that_was_altered_after_it_was_read_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "o")
        await put(store, "other")
        await store.head("bucket", "o")
        await store.head("bucket", "other")
        index = sqlite3.connect(tmp_path / ".strongroom" / "index.db", isolation_level=None)
        (record,) = index.execute("SELECT record FROM objects WHERE key = ?", (b"o",)).fetchone()
        entries = decode_mapping(record)
        box = entries[SEALED]
        altered = {**entries, SEALED: box[:-1] + bytes((box[-1] ^ 1,))}
        index.execute("UPDATE objects SET record = ? WHERE key = ?", (encode_mapping(altered), b"o"))
        with pytest.raises(Damaged):
            await store.head("bucket", "o")
        index.execute("UPDATE objects SET record = ? WHERE key = ?", (record, b"other"))
        with pytest.raises(WrappedKeyInvalid):
            await store.head("bucket", "other")
        index.close()

    run(tmp_path, work)


def test_nothing_is_kept_of_what_clients_keys_encrypt(tmp_path: Path, boxes: list[Record]) -> None:
    async def work(store: SealedStore, kms: KMSElsewhere) -> None:
        await put(store, "o", SSE_C)
        for _ in range(2):
            await store.head("bucket", "o", SSE_C.customer_key)
        assert len(boxes) == 2

    run(tmp_path, work)


def test_neither_header_nor_box_alone_is_enough() -> None:
    for kept in (False, True):
        records, key = OpenedRecords(), new_object_key()
        (first, sealing), (second, other) = sealed(key, etag="1"), sealed(key, etag="2")
        assert records.metadata("b", "k", first, sealing, kept).etag == "1"
        assert records.metadata("b", "k", second, other, kept).etag == "2"
        for mixed in ({**first, SEALED: second[SEALED]}, {**second, SEALED: first[SEALED]}):
            assert records.find("b", "k", mixed) is None
            with pytest.raises(EnvelopeInvalid):
                records.metadata("b", "k", mixed, sealing, kept)


def test_a_key_that_is_kept_is_found_under_its_own_name_only() -> None:
    records, key = OpenedRecords(), new_object_key()
    record, sealing = sealed(key)
    metadata = records.metadata("b", "k", record, sealing, True)
    assert records.find("b", "k", record) == (metadata, sealing)
    assert [records.find(*name, record) for name in (("b", "x"), ("x", "k"), ("", "b/k"))] == [None] * 3
    assert records.find("b", "k", {}) is None
    assert records.find("b", "k", {**record, LEFT: b"x"}) is None  # as if it had not been read: MinIO left another


def test_a_kept_key_shows_in_no_text() -> None:
    _, sealing = sealed(new_object_key())
    assert repr(sealing[1]) not in repr(opened.Opened(Metadata({}, "e"), ("b", "k"), sealing))


def test_what_is_remembered_is_bounded(boxes: list[Record]) -> None:
    records = OpenedRecords(most=100_000)
    made = [sealed(new_object_key()) for _ in range(500)]
    for _ in range(2):
        for record, sealing in made:
            records.metadata("b", "k", record, sealing, False)
    assert len(boxes) == 1000
    records.metadata("b", "k", *made[-1], False)
    assert len(boxes) == 1000


def test_a_static_master_key_opens_an_object_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unwrap, asked = StaticKMS._unwrap, list[WrappedKey]()

    def unwrapping(self: StaticKMS, wrapped: WrappedKey, context: Context) -> bytes | KMSError:
        asked.append(wrapped)
        return unwrap(self, wrapped, context)

    monkeypatch.setattr(StaticKMS, "_unwrap", unwrapping)

    async def read(store: SealedStore, name: str = "o", customer_key: Secret | None = None) -> bytes:
        source = await store.open("bucket", name, customer_key)
        try:
            return b"".join([bytes(chunk) async for chunk in source.stream(0, source.info.size)])
        finally:
            await source.close()

    async def work(store: SealedStore) -> None:
        written = await put(store, "o")
        asked.clear()
        first = await read(store)
        assert [await read(store) for _ in range(3)] == [first] * 3
        assert (await store.head("bucket", "o")).etag == written.etag
        assert len(asked) == 1
        with pytest.raises(CustomerKeyNotApplicable):
            await read(store, customer_key=Secret(bytes(32)))
        await put(store, "o")  # another object of the same name
        assert await read(store) != first
        assert len(asked) == 2
        # Put under another name behind the server's back, it is refused there as if it had not been read.
        await put(store, "other")
        index = sqlite3.connect(tmp_path / ".strongroom" / "index.db", isolation_level=None)
        copied = "(SELECT size, data, record FROM objects WHERE key = ?)"
        index.execute(f"UPDATE objects SET (size, data, record) = {copied} WHERE key = ?", (b"o", b"other"))
        index.close()
        with pytest.raises(WrappedKeyInvalid):
            await read(store, "other")

    with_kms(STATIC, tmp_path, work)


def test_tags_that_were_altered_are_noticed_where_the_object_is_remembered(tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        await put(store, "o")
        await store.set_tags("bucket", "o", "a=b", 1)
        assert [(await store.head("bucket", "o")).tag_count for _ in range(2)] == [1, 1]
        index = sqlite3.connect(tmp_path / ".strongroom" / "index.db", isolation_level=None)
        (record,) = index.execute("SELECT record FROM objects").fetchone()
        altered = {**decode_mapping(record), TAGS_COUNT: b"x"}
        index.execute("UPDATE objects SET record = ?", (encode_mapping(altered),))
        index.close()
        with pytest.raises(Damaged):
            await store.head("bucket", "o")

    with_kms(STATIC, tmp_path, work)


def test_tags_that_ask_for_a_key_of_a_client_s_are_damaged(tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        await put(store, "o")
        await store.set_tags("bucket", "o", "a=b", 1)
        stored = await store.stored("bucket", "o")
        header = bytearray(stored.record[TAGS_SSE])
        header[len(MAGIC)] = Kind.SSE_C
        with pytest.raises(Damaged):
            await store.tags_of("bucket", stored._replace(record={**stored.record, TAGS_SSE: bytes(header)}))

    with_kms(STATIC, tmp_path, work)


def test_what_clients_make_long_counts() -> None:
    records = OpenedRecords(most=2 * 1024**2)
    wide = "\N{GRINNING FACE}" + "x" * 1020
    context = json.dumps({"a": wide * 8})
    tracemalloc.start()
    try:
        for number in range(500):
            object_key = new_object_key()
            wrapped = WrappedKey("static", "key", os.urandom(60))
            header = Header(Kind.SSE_KMS, 1, os.urandom(IV), bytes(SEALED_KEY), wrapped, context=context)
            record = sealed_record(header, record_key(object_key), Metadata({}, "e"))
            name = f"{number:03}{wide}"  # as each request makes them anew
            records.metadata("b", name, record, (decode_header(record[ENCRYPTED]), object_key), True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 1024**2
