"""Copies of which only a part can be read, and of more than may be copied at once: nothing is left of them. Copies of
an object onto itself while others write it: nobody's write is undone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.s3.auth import UnsignedPayload
from strongroom.s3.call import Call
from strongroom.s3.encryption import EncryptionHeaders
from strongroom.s3.errors import S3Error
from strongroom.s3.handlers import copying
from strongroom.s3.handlers.copying import CopyHandlers
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import HttpRequest
from strongroom.s3.shapes import CopyObjectRequest, UploadPartCopyRequest
from strongroom.s3.upload import MAX_PUT
from strongroom.sealed.errors import PreconditionFailed
from strongroom.sealed.keys import Kind
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.errors import Damaged, NoSuchObject, ObjectChanged
from tests.customer_keys import customer_key_headers
from tests.sealed.test_listing import put, with_kms
from tests.storage import spoil_file

KMS = StaticKMS("key", Secret(bytes(32)))
SIZE = 3_000_000

Copy = Callable[..., Awaitable[object]]


def call(**headers: str) -> Call:
    """A request to copy something to "copy", with these headers in addition."""
    sent = {"x-amz-copy-source": "/bucket/o", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request, nobody = HttpRequest("PUT", "/bucket/copy", "", sent, True, ""), cast(BodyReceiver, None)
    encryption = EncryptionHeaders(sent, secure=True)
    return Call(request, "bucket", "copy", UnsignedPayload(), frozenset(), nobody, encryption, "")


async def copy_object(store: SealedStore, **headers: str) -> object:
    # The copy gets a checksum of its own, so the bytes are read.
    request = CopyObjectRequest(bucket="bucket", key="copy", copy_source="/bucket/o")
    return await CopyHandlers(store).copy_object(call(x_amz_checksum_algorithm="SHA256", **headers), request)


async def copy_part(store: SealedStore, span: str | None = None, **headers: str) -> object:
    (upload,) = (await store.uploads.list("bucket", "", "", ("", ""), 10)).uploads
    where: Any = {"bucket": "bucket", "key": "copy", "upload_id": upload.upload_id, "part_number": 1}
    request = UploadPartCopyRequest(copy_source="/bucket/o", copy_source_range=span, **where)
    return await CopyHandlers(store).upload_part_copy(call(**headers), request)


async def copied(store: SealedStore) -> tuple[bool, int]:
    """Whether there is a copy, and the number of parts that the upload has."""
    (upload,) = (await store.uploads.list("bucket", "", "", ("", ""), 10)).uploads
    _, parts, _ = await store.uploads.parts("bucket", "copy", upload.upload_id, 0, 10)
    try:
        await store.stored("bucket", "copy")
    except NoSuchObject:
        return False, len(parts)
    return True, len(parts)


def with_upload(directory: Path, work: Callable[[SealedStore], Awaitable[None]]) -> None:
    """Run it with a store that holds an object "o" and an open upload of "copy"."""

    async def begin(store: SealedStore) -> None:
        await put(store, "o", size=SIZE)
        await store.uploads.create("bucket", "copy", SSE_S3, Description({}))
        await work(store)

    with_kms(KMS, directory, begin)


@pytest.mark.parametrize("copy", [copy_object, copy_part])
def test_a_copy_that_breaks_off_midway_leaves_nothing(tmp_path: Path, copy: Copy) -> None:
    def files() -> list[Path]:
        return [file for file in (tmp_path / ".strongroom" / "blobs").rglob("*") if file.is_file()]

    async def work(store: SealedStore) -> None:
        (stored,) = files()
        spoil_file(stored, stored.stat().st_size - 100)
        with pytest.raises(Damaged):
            await copy(store)
        assert await copied(store) == (False, 0)
        assert files() == [stored]

    with_upload(tmp_path, work)


@pytest.mark.parametrize("copy", [copy_object, copy_part])
def test_the_source_of_a_copy_is_let_go_of_however_the_copy_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: Copy
) -> None:
    """Or connections to a backend, from which it is read, would be used up."""
    opened: list[OpenObject] = []
    closed: list[OpenObject] = []
    close = OpenObject.close

    async def closing(self: OpenObject) -> None:
        closed.append(self)
        await close(self)

    async def work(store: SealedStore) -> None:
        look = store.open

        async def opening(*arguments: Any, **options: Any) -> OpenObject:
            opened.append(await look(*arguments, **options))
            return opened[-1]

        store.open = opening  # type: ignore[method-assign]
        await copy(store)
        with pytest.raises(S3Error, match="PreconditionFailed"):
            await copy(store, x_amz_copy_source_if_match='"another"')
        for file in (tmp_path / ".strongroom" / "blobs").rglob("*"):
            if file.is_file():
                spoil_file(file, file.stat().st_size - 100)
        with pytest.raises(Damaged):
            await copy(store)
        assert closed == opened
        assert len(opened) == 3

    monkeypatch.setattr(OpenObject, "close", closing)
    with_upload(tmp_path, work)


def test_no_more_than_one_put_may_bring_is_copied_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(store: SealedStore) -> None:
        monkeypatch.setattr(copying, "MAX_PUT", SIZE - 1)
        with pytest.raises(S3Error) as refused:
            await copy_object(store)
        assert refused.value.code == "InvalidRequest"
        for span in (None, f"bytes=0-{SIZE - 1}"):
            with pytest.raises(S3Error) as refused:
                await copy_part(store, span)
            assert refused.value.code == "EntityTooLarge"
        assert await copied(store) == (False, 0)
        await copy_part(store, f"bytes=1-{SIZE - 1}")
        monkeypatch.setattr(copying, "MAX_PUT", SIZE)
        await copy_object(store)
        assert await copied(store) == (True, 1)

    assert MAX_PUT == 5 * 1024**3
    with_upload(tmp_path, work)


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [(None, None, True), (b"1" * 32, b"1" * 32, True), (b"1" * 32, b"2" * 32, False), (None, b"2" * 32, False),
     (b"1" * 32, None, False)],
    ids=["kms", "one-key", "another-key", "kms-to-key", "key-to-kms"],
)  # fmt: skip
@pytest.mark.parametrize("key", ["copy", "o"])
def test_who_knows_the_client_s_key_of_the_source_cannot_compute_that_of_a_copy_under_another(
    tmp_path: Path, source: bytes | None, target: bytes | None, same: bool, key: str
) -> None:
    async def work(store: SealedStore) -> None:
        protection = Protection(Kind.SSE_C, Secret(source)) if source else SSE_S3
        await put(store, "o", protection)
        opened = await store.open("bucket", "o", protection.customer_key)
        body, object_key = await opened.at_once(0, 10), opened.sealing
        await opened.close()

        asked = customer_key_headers(target) if target else {"x-amz-server-side-encryption": "AES256"}
        opens = customer_key_headers(source, of="x-amz-copy-source-") if source else {}
        request = dataclasses.replace(ITSELF, key=key)
        await CopyHandlers(store).copy_object(dataclasses.replace(renamed(**asked, **opens), key=key), request)

        copy = await store.open("bucket", key, Secret(target) if target else None)
        assert await copy.at_once(0, 10) == body
        assert object_key is not None and copy.sealing is not None
        assert (copy.sealing[1] == object_key[1]) is same
        await copy.close()

    with_kms(KMS, tmp_path, work)


ITSELF = CopyObjectRequest(bucket="bucket", key="o", copy_source="/bucket/o", metadata_directive="REPLACE")


def renamed(**headers: str) -> Call:
    """A request that gives the object other metadata; with a checksum of its own, its bytes are read and put again."""
    return dataclasses.replace(call(x_amz_metadata_directive="REPLACE", x_amz_meta_word="new", **headers), key="o")


@pytest.mark.parametrize("headers", [{}, {"x_amz_checksum_algorithm": "SHA256"}], ids=["shared", "read"])
@pytest.mark.parametrize("if_match", [None, "*"])
def test_a_copy_onto_itself_is_of_what_somebody_puts_meanwhile(
    tmp_path: Path, headers: dict[str, str], if_match: str | None
) -> None:
    async def work(store: SealedStore) -> None:
        meanwhile(store, [lambda: put(store, "o", size=5), lambda: put(store, "o", size=7)])
        asked = dataclasses.replace(ITSELF, if_match=if_match)
        await CopyHandlers(store).copy_object(renamed(**headers), asked)
        found = await store.head("bucket", "o")
        assert (found.size, found.headers["x-amz-meta-word"]) == (7, "new")

    with_upload(tmp_path, work)


@pytest.mark.parametrize("headers", [{}, {"x_amz_checksum_algorithm": "SHA256"}], ids=["shared", "read"])
def test_a_copy_onto_itself_brings_back_nothing_that_somebody_removes_meanwhile(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async def work(store: SealedStore) -> None:
        meanwhile(store, [lambda: store.delete("bucket", "o")])
        with pytest.raises(NoSuchObject):
            await CopyHandlers(store).copy_object(renamed(**headers), ITSELF)
        with pytest.raises(NoSuchObject):
            await store.head("bucket", "o")

    with_upload(tmp_path, work)


def test_a_copy_onto_itself_of_what_is_written_over_and_over_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "_COPIED_AGAIN", 3)

    async def work(store: SealedStore) -> None:
        meanwhile(store, [lambda: put(store, "o", size=5)] * 4)
        with pytest.raises(ObjectChanged):
            await CopyHandlers(store).copy_object(renamed(), ITSELF)
        assert (await store.head("bucket", "o")).headers == {}

    with_upload(tmp_path, work)


def test_a_copy_onto_itself_keeps_to_its_own_condition_when_somebody_writes_meanwhile(tmp_path: Path) -> None:
    async def work(store: SealedStore) -> None:
        etag = (await store.head("bucket", "o")).etag
        meanwhile(store, [lambda: put(store, "o", size=5)])
        with pytest.raises(PreconditionFailed):
            await CopyHandlers(store).copy_object(renamed(), dataclasses.replace(ITSELF, if_match=etag))
        assert (await store.head("bucket", "o")).size == 5

    with_upload(tmp_path, work)


def meanwhile(store: SealedStore, writes: list[Callable[[], Awaitable[object]]]) -> None:
    """Let somebody do the next of these after each look of a copy at its source, until there are none left."""
    left, look = list(writes), store.open

    async def opened(*arguments: Any, **options: Any) -> OpenObject:
        source = await look(*arguments, **options)
        if left:
            await left.pop(0)()
        return source

    store.open = opened  # type: ignore[method-assign]
