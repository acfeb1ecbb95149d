"""``strongroom adopt`` while clients go on: what it reports of an object is what has become of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from strongroom.kms.static import StaticKMS
from strongroom.maintenance.adopting import Adoption
from strongroom.report import Report
from strongroom.sealed.adopting import is_legacy
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import LEFT, Condition, Record, Stored
from strongroom.store.nas import NasStore
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
        store = _Tagged(left.unpack("gateway-nas", folder))
        kms = StaticKMS(left.MASTER_KEY_NAME, Secret(left.MASTER_KEY))
        objects = SealedStore(store, kms, upload_secret=Secret("x"))
        store.objects, store.times = objects, times
        await objects.start()
        try:
            report = Report("", "", datetime.now(UTC), verb="adopted")
            work = Adoption(objects, [], Secret(left.CUSTOMER_KEY), 1)
            await work.run(report, asyncio.Event(), lambda: None)
            assert report.finished
            return report, is_legacy(left.BUCKET, await store.head(left.BUCKET, KEY))
        finally:
            await objects.stop()

    return asyncio.run(run())


def test_an_object_whose_tags_are_set_meanwhile_is_adopted(tmp_path: Path) -> None:
    report, is_left = adopted(tmp_path, 1)
    assert (report.done, report.failures, is_left) == (len(left.manifest("gateway-nas")), [], False)


def test_an_object_that_never_keeps_still_is_reported_as_not_adopted(tmp_path: Path) -> None:
    report, is_left = adopted(tmp_path, 100)
    assert is_left
    assert report.done == len(left.manifest("gateway-nas")) - 1
    assert [failure.key for failure in report.failures] == [KEY]
