"""Open uploads whose parts or state somebody altered in the storage: they are neither listed nor completed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest

from strongroom.sealed.errors import CustomerKeyNeeded, CustomerKeyNotApplicable, CustomerKeyWrong, SealedError
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import PLAIN, SSE_S3, Protection
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.base import ALWAYS
from strongroom.store.errors import Damaged
from strongroom.store.local.schema import decode_mapping, encode_mapping
from strongroom.store.s3.names import id_of
from tests.kms.elsewhere import KMSElsewhere
from tests.sealed.test_listing import with_kms

SSE_C = Protection(Kind.SSE_C, Secret(bytes(32)))
SSE_KMS = Protection(Kind.SSE_KMS)

Record = dict[str, bytes]
Rewrite = Callable[[Record, Record], Record]


async def opened(store: SealedStore, protection: Protection, *bodies: bytes) -> str:
    """The id of a new upload of the object, with these parts."""
    upload = (await store.uploads.create("bucket", "o", protection, Description({}))).upload_id
    for number, body in enumerate(bodies, 1):
        _, part = await store.uploads.begin_part("bucket", "o", upload, number, len(body), protection.customer_key)
        await part.write(body)
        await part.finish()
        await part.commit()
    return upload


async def sizes(store: SealedStore, upload: str) -> list[int]:
    _, parts, _ = await store.uploads.parts("bucket", "o", upload, 0, 10)
    return [part.entry.size for part in parts]


def database(directory: Path) -> sqlite3.Connection:
    return sqlite3.connect(directory / ".strongroom" / "index.db", timeout=60)


def altered(directory: Path, table: str, where: str, this: object, other: object, rewrite: Rewrite) -> None:
    """Have a row's record made of itself and another's."""
    with closing(database(directory)) as connection, connection:
        select = f"SELECT record FROM {table} WHERE {where}"
        mine, theirs = (decode_mapping(connection.execute(select, (row,)).fetchone()[0]) for row in (this, other))
        update = f"UPDATE {table} SET record = ? WHERE {where}"
        connection.execute(update, (encode_mapping(rewrite(mine, theirs)), this))


def of_the_other(mine: Record, theirs: Record) -> Record:
    return theirs


@pytest.mark.parametrize("protection", [PLAIN, SSE_S3, SSE_C], ids=["plain", "SSE-S3", "SSE-C"])
@pytest.mark.parametrize(
    "rewrite",
    [
        of_the_other,
        lambda mine, theirs: {},
        lambda mine, theirs: {":part": mine[":part"][:-1]},
        lambda mine, theirs: {":part": mine[":part"] * 2},
        lambda mine, theirs: {":part": bytes(5)},
    ],
    ids=["another part's", "none", "cut", "twice", "of no part"],
)
def test_the_record_of_another_part_or_of_none_is_damage(
    rewrite: Rewrite, protection: Protection, tmp_path: Path
) -> None:
    async def work(store: SealedStore) -> None:
        upload = await opened(store, protection, b"one", b"two")
        assert await sizes(store, upload) == [3, 3]
        altered(tmp_path, "parts", "number = ?", 2, 1, rewrite)
        with pytest.raises(Damaged, match="part 2"):
            await sizes(store, upload)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("protection", [SSE_S3, SSE_C], ids=["SSE-S3", "SSE-C"])
def test_a_part_s_record_of_another_upload_is_damage(protection: Protection, tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        ours, other = await opened(store, protection, b"one"), await opened(store, protection, b"two")
        altered(tmp_path, "parts", "upload = ?", ours, other, of_the_other)
        with pytest.raises(Damaged, match="part 1"):
            await sizes(store, ours)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("size", [0, 32, 34, 36, 1_000])
def test_a_part_of_more_or_fewer_bytes_than_are_recorded_is_damage(size: int, tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        upload = await opened(store, SSE_S3, b"one")
        with closing(database(tmp_path)) as connection, connection:
            connection.execute("UPDATE parts SET size = ?", (size,))
        with pytest.raises(Damaged, match="part 1"):
            await sizes(store, upload)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda mine, theirs: {**mine, ":state": theirs[":state"]},
        lambda mine, theirs: {**mine, ":state": mine[":state"][:-1]},
        lambda mine, theirs: {**mine, ":state": mine[":state"][:11]},
        lambda mine, theirs: {name: value for name, value in mine.items() if name != ":state"},
    ],
    ids=["another's", "cut", "shorter than its nonce", "none"],
)
def test_the_state_of_another_upload_opens_no_upload_with_a_client_s_key(rewrite: Rewrite, tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        ours, other = await opened(store, SSE_C, b"one"), await opened(store, SSE_C, b"two")
        altered(tmp_path, "uploads", "id = ?", ours, other, rewrite)
        with pytest.raises(Damaged, match="its state does not open"):
            await sizes(store, ours)
        assert await sizes(store, other) == [3]

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("protection", [SSE_S3, SSE_KMS, SSE_C], ids=["SSE-S3", "SSE-KMS", "SSE-C"])
@pytest.mark.parametrize("former", [SSE_S3, SSE_C], ids=["SSE-S3 before", "SSE-C before"])
def test_the_record_of_another_upload_of_the_object_takes_no_part(
    protection: Protection, former: Protection, tmp_path: Path
) -> None:
    """It may be under a master key that others know by now, or say something else of the object."""

    async def work(store: SealedStore) -> None:
        other, ours = await opened(store, former, b"one"), await opened(store, protection, b"two")
        (part,) = (await store.uploads.parts("bucket", "o", ours, 0, 10))[1]
        altered(tmp_path, "uploads", "id = ?", ours, other, of_the_other)
        with pytest.raises(Damaged, match="its record is that of another"):
            await sizes(store, ours)
        with pytest.raises(Damaged, match="its record is that of another"):
            await store.uploads.complete("bucket", "o", ours, [part], None)
        for key in (protection.customer_key, former.customer_key):
            with pytest.raises(Damaged, match="its record is that of another"):
                await store.uploads.begin_part("bucket", "o", ours, 2, 3, key)
        assert await sizes(store, other) == [3]

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("protection", [SSE_S3, SSE_KMS, SSE_C], ids=["SSE-S3", "SSE-KMS", "SSE-C"])
def test_the_record_of_an_open_upload_is_that_of_no_object(protection: Protection, tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        writer = await store.begin("bucket", "o", protection, 0)
        await writer.finish()
        await writer.commit(Description({}))
        upload = await opened(store, protection)
        with closing(database(tmp_path)) as connection, connection:
            ((record,),) = connection.execute("SELECT record FROM uploads WHERE id = ?", (upload,)).fetchall()
            connection.execute("UPDATE objects SET record = ?", (record,))
        with pytest.raises(Damaged, match="that of an open upload"):
            await store.head("bucket", "o", protection.customer_key)
        with pytest.raises(Damaged, match="that of an open upload"):
            await store.open("bucket", "o", protection.customer_key)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize(
    ("protection", "key", "error"),
    [
        (PLAIN, Secret(bytes(32)), CustomerKeyNotApplicable),
        (SSE_S3, Secret(bytes(32)), CustomerKeyNotApplicable),
        (SSE_C, None, CustomerKeyNeeded),
        (SSE_C, Secret(b"\1" * 32), CustomerKeyWrong),
    ],
    ids=["plain", "SSE-S3", "no key", "another key"],
)
def test_a_part_that_comes_with_another_client_s_key_than_its_upload_is_refused(
    protection: Protection, key: Secret | None, error: type[SealedError], tmp_path: Path
) -> None:
    async def work(store: SealedStore) -> None:
        upload = await opened(store, protection)
        with pytest.raises(error):
            await store.uploads.begin_part("bucket", "o", upload, 1, 3, key)
        assert await sizes(store, upload) == []

    with_kms(KMSElsewhere(), tmp_path, work)


def test_no_id_of_an_upload_looks_like_an_option_of_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At another S3 ids are written in base64url, whose ``-`` stands for six set bits but the last."""
    ends = count()
    monkeypatch.setattr(os, "urandom", lambda size: bytes([0xFB] * (size - 1) + [next(ends)]))

    async def work(store: SealedStore) -> None:
        for protection in (PLAIN, SSE_S3, SSE_C):
            assert id_of(bytes.fromhex(await opened(store, protection)))[0].isalpha()

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("protection", [SSE_S3, SSE_KMS, SSE_C], ids=["SSE-S3", "SSE-KMS", "SSE-C"])
def test_what_was_recorded_for_other_parts_of_the_same_size_is_not_that_of_the_object(
    protection: Protection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: SealedStore) -> None:
        records: list[Record] = []

        async def failing(*args: Any) -> NoReturn:
            records.append(args[4])
            raise OSError

        upload = await opened(store, protection, b"one", b"two")
        _, parts, _ = await store.uploads.parts("bucket", "o", upload, 0, 10)
        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(store.store, "complete", failing)
            await store.uploads.complete("bucket", "o", upload, parts[:1], None)
        await store.uploads.complete("bucket", "o", upload, parts[1:], None)
        assert (await store.head("bucket", "o", protection.customer_key)).size == 3
        record = (await store.stored("bucket", "o")).record
        mixed = {**record, ":sealed": records[0][":sealed"]}
        await store.store.rewrite("bucket", "o", mixed, None, ALWAYS)
        with pytest.raises(Damaged):
            await store.head("bucket", "o", protection.customer_key)

    with_kms(KMSElsewhere(), tmp_path, work)
