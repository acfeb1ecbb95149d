"""``strongroom encrypt``: encrypts all objects of a place that are stored in plaintext, one by one.

Encrypted objects are skipped, so a job that was stopped continues when it is started again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from strongroom.kms.base import KMSError
from strongroom.maintenance.walk import (
    GONE,
    Tally,
    bucket_names,
    for_each,
    open_uploads,
    settled,
    stored_objects,
)
from strongroom.report import Report, counted
from strongroom.sealed.encrypting import encrypt, may_be_plain
from strongroom.sealed.errors import CustomerKeyNeeded, NoKMS, SealedError
from strongroom.sealed.store import SealedStore
from strongroom.store.base import DAMAGED, ENCRYPTED, Stored
from strongroom.store.errors import StoreError


@dataclass(frozen=True, slots=True)
class Encryption:
    """One run. ``buckets``: the buckets to encrypt; empty for all."""

    objects: SealedStore
    buckets: Sequence[str]
    tasks: int

    async def run(self, report: Report, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Encrypt until all is done or ``stop`` is set; ``ended`` is called after each.

        Raises StoreError, OSError, NoKMS.
        """
        if not self.objects.keyholder.has_kms:
            raise NoKMS("this needs a KMS, and none is configured")

        tally, passed = Tally(report, stop, self.tasks), Counter[str]()

        async def work(bucket: str, stored: Stored) -> None:
            await self._encrypt(bucket, stored, tally, passed)
            ended()

        buckets = await bucket_names(self.objects, self.buckets, report)
        async for bucket, upload in open_uploads(self.objects, buckets, report, stop):
            if ENCRYPTED not in upload.record:
                what = "has a damaged record: to be aborted"
                if DAMAGED not in upload.record:
                    what = "is not encrypted: to be completed or aborted"
                report.failed(bucket, upload.key, f"the open upload {upload.upload_id} {what}")
        found = stored_objects(self.objects, buckets, report, stop)
        tally.end(await for_each(self._plain(found), work, self.tasks, stop))
        for bucket, number in sorted(passed.items()):
            report.notes.append(
                f"{bucket}: {counted(number)} passed over: the storage keeps them under keys of clients'"
            )

    async def _plain(self, found: AsyncIterator[tuple[str, Stored]]) -> AsyncIterator[tuple[str, Stored]]:
        async for bucket, stored in found:
            if may_be_plain(bucket, stored):
                yield bucket, stored

    async def _encrypt(self, bucket: str, stored: Stored, tally: Tally, passed: Counter[str]) -> None:
        try:
            if not tally.report.dry_run and not await settled(lambda: encrypt(self.objects, bucket, stored.key)):
                return
        except GONE:
            return  # it has just been removed
        except CustomerKeyNeeded:
            # Not an SSE-C object of ours, which would say so: the storage itself encrypts it with a client's key.
            passed[bucket] += 1
            return
        except (StoreError, SealedError, KMSError, OSError) as error:
            tally.failed(bucket, stored.key, error)
            return
        tally.done(stored)
