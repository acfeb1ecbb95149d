"""What an audit opens of an object that somebody altered, without reading its bytes; and of an open upload."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from strongroom.sealed.auditing import Finding, examine, examine_upload
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import PLAIN, SSE_S3, Protection
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.errors import Damaged
from strongroom.store.local.schema import decode_mapping, encode_mapping
from tests.kms.elsewhere import KMSElsewhere
from tests.sealed.test_listing import with_kms
from tests.sealed.test_uploads import database, opened

KEY = Secret(bytes(32))
SSE_C = Protection(Kind.SSE_C, KEY)

Record = dict[str, bytes]


async def in_parts(store: SealedStore, protection: Protection) -> None:
    """Put the object "o", tagged, of two parts."""
    upload = await opened(store, protection, bytes(70_000), b"two")
    _, parts, _ = await store.uploads.parts("bucket", "o", upload, 0, 10)
    await store.uploads.complete("bucket", "o", upload, parts, None)
    await store.set_tags("bucket", "o", "a=b", 1)


async def audited(store: SealedStore, customer_key: Secret | None = None) -> Finding:
    stored = (await store.store.list("bucket", "", "", "", 10)).objects[0]
    return await examine(store, "bucket", stored, customer_key, read=False)


def rewritten(directory: Path, table: str, rewrite: Callable[[Record], Record]) -> None:
    with closing(database(directory)) as connection, connection:
        (record,) = connection.execute(f"SELECT record FROM {table}").fetchone()
        connection.execute(f"UPDATE {table} SET record = ?", (encode_mapping(rewrite(decode_mapping(record))),))


def tags_altered(record: Record) -> Record:
    return {**record, ":tags": record[":tags"][:-1] + bytes([record[":tags"][-1] ^ 1])}


def without_parts(directory: Path) -> None:
    with closing(database(directory)) as connection, connection:
        connection.execute("UPDATE annexes SET content = zeroblob(length(content))")


def without_bytes(directory: Path) -> None:
    for file in (directory / ".strongroom" / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()


CHANGES: dict[str, Callable[[Path], None]] = {
    "the part table": without_parts,
    "the bytes": without_bytes,
    "the tags": lambda directory: rewritten(directory, "objects", tags_altered),
}


@pytest.mark.parametrize("protection", [PLAIN, SSE_S3, SSE_C], ids=["plain", "SSE-S3", "SSE-C"])
@pytest.mark.parametrize("what", CHANGES)
def test_an_object_that_lost_something_is_damaged(what: str, protection: Protection, tmp_path: Path) -> None:
    if protection is PLAIN and what == "the tags":
        return  # nothing authenticates them

    async def work(store: SealedStore) -> None:
        await in_parts(store, protection)
        finding = await audited(store, protection.customer_key)
        assert (finding.kind, finding.opened, finding.tags_clear) == (protection.kind, True, False)
        CHANGES[what](tmp_path)
        with pytest.raises(Damaged):
            await audited(store, protection.customer_key)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("what", ["the bytes", "the tags"])
def test_of_an_object_whose_client_s_key_is_not_given_the_rest_is_looked_at(what: str, tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        await in_parts(store, SSE_C)
        finding = await audited(store)
        assert (finding.kind, finding.opened, finding.tags_clear) == (Kind.SSE_C, False, False)
        CHANGES[what](tmp_path)
        with pytest.raises(Damaged):
            await audited(store)

    with_kms(KMSElsewhere(), tmp_path, work)


@pytest.mark.parametrize("protection", [SSE_S3, SSE_C], ids=["SSE-S3", "SSE-C"])
def test_of_an_open_upload_the_tags_are_opened_and_its_record_where_the_kms_can(
    protection: Protection, tmp_path: Path
) -> None:
    async def work(store: SealedStore) -> None:
        tags = await store.seal_tags("bucket", "o", protection, "a=b", 1)
        upload = (await store.uploads.create("bucket", "o", protection, Description({}, None, tags))).upload_id
        await examine_upload(store, "bucket", await store.store.upload("bucket", "o", upload))
        changes: list[Callable[[Record], Record]] = [tags_altered]
        if protection is SSE_S3:
            changes.append(lambda record: {**record, ":sealed": bytes(60)})
        for change in changes:
            with closing(database(tmp_path)) as connection:
                (before,) = connection.execute("SELECT record FROM uploads").fetchone()
            rewritten(tmp_path, "uploads", change)
            with pytest.raises(Damaged):
                await examine_upload(store, "bucket", await store.store.upload("bucket", "o", upload))
            rewritten(tmp_path, "uploads", lambda _, kept=before: decode_mapping(kept))  # type: ignore[misc]

    with_kms(KMSElsewhere(), tmp_path, work)


def test_tags_in_the_clear_of_an_object_that_is_encrypted_are_found(tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        await in_parts(store, SSE_C)
        rewritten(
            tmp_path,
            "objects",
            lambda record: {name: value for name, value in record.items() if name != ":tags-sse"} | {":tags": b"a=b"},
        )
        assert (await audited(store)).tags_clear
        assert (await audited(store, KEY)).tags_clear

    with_kms(KMSElsewhere(), tmp_path, work)
