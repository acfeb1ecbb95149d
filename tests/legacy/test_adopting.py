"""``strongroom adopt`` while clients go on: what it reports of an object is what has become of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.maintenance.adopting import Adoption
from strongroom.report import Report
from strongroom.sealed.adopting import is_legacy
from strongroom.sealed.listed import LISTED
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import LEFT, Condition, Record, Stored
from strongroom.store.left import LeftStore
from strongroom.store.left.names import DATA
from strongroom.store.local import LocalStore
from strongroom.store.nas import NasStore
from strongroom.store.nas.left import Left
from tests.legacy import left

KEY = "s3/size-65537.bin"


class _Tagged(NasStore):
    """A folder in which a client sets the tags of an object just before it is adopted, ``times`` in a row."""

    objects: SealedStore
    times = 0

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        if key == KEY and LEFT not in record and self.times:
            self.times -= 1
            await self.objects.set_tags(bucket, key, f"n={self.times}", 1)
        return await super().rewrite(bucket, key, record, annex, when)


def adopted(folder: Path, times: int) -> tuple[Report, bool]:
    """Adopt all of a folder; the report, and whether the object that is tagged meanwhile is MinIO's still."""

    async def run() -> tuple[Report, bool]:
        store = _Tagged(folder)
        kms = StaticKMS(left.MASTER_KEY_NAME, Secret(left.MASTER_KEY))
        objects = SealedStore(store, kms, upload_secret=Secret("x"))
        store.objects, store.times = objects, times
        await objects.start()
        try:
            report = Report("", "", datetime.now(UTC), verb="adopted")
            work = Adoption(objects, [], Secret(left.CUSTOMER_KEY), 1)
            await work.run(report, asyncio.Event(), lambda: None)
            assert report.finished
            stored = await store.head(left.BUCKET, KEY)
            is_left = is_legacy(left.BUCKET, stored)
            assert (LISTED in stored.record) is not is_left
            return report, is_left
        finally:
            await objects.stop()

    return asyncio.run(run())


def test_an_object_whose_tags_are_set_meanwhile_is_adopted(tmp_path: Path) -> None:
    report, is_left = adopted(left.unpack("gateway-nas", tmp_path), 1)
    assert (report.done, report.failures, is_left) == (len(left.manifest("gateway-nas")), [], False)


def test_an_object_that_never_keeps_still_is_reported_as_not_adopted(tmp_path: Path) -> None:
    report, is_left = adopted(left.unpack("gateway-nas", tmp_path), 100)
    assert is_left
    assert report.done == len(left.manifest("gateway-nas")) - 1
    assert [failure.key for failure in report.failures] == [KEY]


def test_documents_that_a_killed_run_left_beside_what_it_adopted_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = left.unpack("gateway-nas", tmp_path)
    document = left.document_path(folder, KEY)
    with monkeypatch.context() as killed:
        killed.setattr(Left, "forget", lambda *_: None)
        adopted(folder, 0)
    assert document.exists()
    report, is_left = adopted(folder, 0)
    assert (report.done, report.failures, is_left) == (0, [], False)
    assert list((folder / ".minio.sys").rglob("fs.json")) == []


def test_documents_without_an_object_stay(tmp_path: Path) -> None:
    """The share with the objects may not be mounted."""
    folder = left.unpack("gateway-nas", tmp_path)
    document = left.document_path(folder, "gone")
    document.parent.mkdir()
    document.write_bytes(left.document_path(folder, KEY).read_bytes())
    adopted(folder, 0)
    assert list((folder / ".minio.sys").rglob("fs.json")) == [document]


def test_a_stream_that_was_emptied_behind_the_s3_gateway_is_an_error_and_not_adopted(tmp_path: Path) -> None:
    """Its document says how long it was, and it goes when the object is adopted."""
    folder = left.unpack("gateway-s3", tmp_path / "left")

    async def run() -> tuple[Report, bool]:
        inner = LocalStore(tmp_path)
        kms = StaticKMS(left.MASTER_KEY_NAME, Secret(left.MASTER_KEY))
        objects = SealedStore(LeftStore(inner), kms, upload_secret=Secret("x"))
        await objects.start()
        try:
            await inner.create_bucket(left.BUCKET)
            for name, file in left.backend_objects(folder).items():
                writer = await inner.writer(left.BUCKET, name, None)
                await writer.write(b"" if name == KEY + DATA else file.read_bytes())
                await writer.commit({})
            report = Report("", "", datetime.now(UTC))
            await Adoption(objects, [], Secret(left.CUSTOMER_KEY), 1).run(report, asyncio.Event(), lambda: None)
            return report, is_legacy(left.BUCKET, await objects.store.head(left.BUCKET, KEY))
        finally:
            await objects.stop()

    report, is_left = asyncio.run(run())
    assert is_left
    assert [(failure.key, failure.reason) for failure in report.failures] == [
        (KEY, "left by MinIO: it has no stored bytes, and 65601 were recorded")
    ]
