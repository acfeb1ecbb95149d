"""``strongroom adopt``: rewrites all objects that MinIO left in a place into our own format, one by one.

Adopted objects are not legacy any more, so a job that was stopped continues when it is started again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from strongroom.kms.base import KMSError
from strongroom.maintenance.walk import (
    GONE,
    Tally,
    bucket_names,
    for_each,
    reason,
    settled,
    stored_objects,
)
from strongroom.report import Report
from strongroom.sealed.adopting import adopt, is_legacy, needs_customer_key
from strongroom.sealed.errors import CustomerKeyNeeded, LegacyNotCovered, SealedError
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import Stored
from strongroom.store.errors import NoSuchBucket, StoreError
from strongroom.store.left import LeftStore
from strongroom.store.nas import NasStore

_DAY = 24 * 3600 * 1_000_000_000
_NO_KEY = "(SSE-C): give --sse-c-key-file"


@dataclass(frozen=True, slots=True)
class Adoption:
    """One run. ``buckets``: the buckets to adopt; empty for all. ``customer_key`` is tried on SSE-C objects."""

    objects: SealedStore
    buckets: Sequence[str]
    customer_key: Secret | None
    tasks: int

    async def run(self, report: Report, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Adopt until all is done or ``stop`` is set; ``ended`` is called after each. Raises StoreError, OSError."""
        tally = Tally(report, stop, self.tasks)

        async def work(bucket: str, stored: Stored) -> None:
            await self._adopt(bucket, stored, tally)
            ended()

        buckets = await bucket_names(self.objects, self.buckets, report)
        found = stored_objects(self.objects, buckets, report, stop)
        tally.end(await for_each(self._legacy(found), work, self.tasks, stop))
        if report.finished and not report.dry_run:
            await self._tidy(buckets, report)

    async def _tidy(self, buckets: Sequence[str], report: Report) -> None:
        """Remove what MinIO left beside objects of ours. On an S3 backend, note the buckets in which nothing of it is
        left.
        """
        store = self.objects.store
        for bucket in buckets:
            with suppress(NoSuchBucket):  # removed meanwhile
                if isinstance(store, NasStore):
                    await store.tidy(bucket)
                elif isinstance(store, LeftStore) and await store.tidy(bucket, time.time_ns() - _DAY):
                    report.notes.append(f"{bucket}: nothing of MinIO's is left")

    async def _legacy(self, found: AsyncIterator[tuple[str, Stored]]) -> AsyncIterator[tuple[str, Stored]]:
        """All objects that MinIO left, including those that cannot be read."""
        async for bucket, stored in found:
            if _may_be_legacy(bucket, stored):
                yield bucket, stored

    async def _adopt(self, bucket: str, stored: Stored, tally: Tally) -> None:
        key, report = stored.key, tally.report
        try:
            if report.dry_run:
                if needs_customer_key(bucket, stored) and self.customer_key is None:
                    report.failed(bucket, key, f"it is encrypted with a key of the client's {_NO_KEY}")
                    return
            else:
                if not await settled(lambda: adopt(self.objects, bucket, key, self.customer_key)):
                    return  # somebody has just overwritten it, in our format
        except GONE:
            return  # removed
        except CustomerKeyNeeded as error:
            report.failed(bucket, key, f"{reason(bucket, key, error)} {_NO_KEY}")
            return
        except (StoreError, SealedError, KMSError, OSError) as error:
            tally.failed(bucket, key, error)
            return
        tally.done(stored)


def _may_be_legacy(bucket: str, stored: Stored) -> bool:
    try:
        return is_legacy(bucket, stored)
    except (StoreError, LegacyNotCovered):
        return True
