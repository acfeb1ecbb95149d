"""Copies of which only a part can be read, and of more than may be copied at once: nothing is left of them."""

from __future__ import annotations

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
from strongroom.sealed.policy import SSE_S3
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.errors import Damaged, NoSuchObject
from tests.sealed.test_listing import put, with_kms
from tests.storage import spoil_file

KMS = StaticKMS("key", Secret(bytes(32)))
SIZE = 3_000_000

Copy = Callable[[SealedStore], Awaitable[object]]


def call(**headers: str) -> Call:
    """A request to copy something to "copy", with these headers in addition."""
    sent = {"x-amz-copy-source": "/bucket/o", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request, nobody = HttpRequest("PUT", "/bucket/copy", "", sent, True, ""), cast(BodyReceiver, None)
    encryption = EncryptionHeaders(sent, secure=True)
    return Call(request, "bucket", "copy", UnsignedPayload(), frozenset(), nobody, encryption, "")


async def copy_object(store: SealedStore) -> object:
    # The copy gets a checksum of its own, so the bytes are read.
    request = CopyObjectRequest(bucket="bucket", key="copy", copy_source="/bucket/o")
    return await CopyHandlers(store).copy_object(call(x_amz_checksum_algorithm="SHA256"), request)


async def copy_part(store: SealedStore, span: str | None = None) -> object:
    (upload,) = (await store.uploads.list("bucket", "", "", ("", ""), 10)).uploads
    where: Any = {"bucket": "bucket", "key": "copy", "upload_id": upload.upload_id, "part_number": 1}
    request = UploadPartCopyRequest(copy_source="/bucket/o", copy_source_range=span, **where)
    return await CopyHandlers(store).upload_part_copy(call(), request)


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
