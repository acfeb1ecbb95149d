"""``strongroom adopt``: all objects that MinIO left in a place, one after another into our own format.

What has been adopted is not legacy any more, so a job that was stopped goes on by being started again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from strongroom.kms.base import KMSError
from strongroom.sealed.adopting import adopt, is_legacy
from strongroom.sealed.check import CheckDamaged, ForeignKMS
from strongroom.sealed.errors import CustomerKeyNeeded, LegacyNotCovered, SealedError
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import ConditionFailed, NoSuchObject, Stored, StoreError
from strongroom.store.left import LeftStore
from strongroom.transfer.report import Failure, Report

_PAGE = 1000
_DAY = 24 * 3600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Adoption:
    """One run. ``buckets``: which; all, where it names none. ``customer_key`` is tried on SSE-C objects."""

    objects: SealedStore
    buckets: Sequence[str]
    customer_key: Secret | None
    tasks: int

    async def run(self, report: Report, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Adopt until all is done or ``stop`` is set; ``ended`` is told of each. Raises StoreError, OSError."""
        limit = asyncio.Semaphore(self.tasks)

        async def work(bucket: str, stored: Stored) -> None:
            try:
                await self._adopt(bucket, stored, report)
                ended()
            finally:
                limit.release()

        failed: Exception | None = None
        async with asyncio.TaskGroup() as group:
            try:
                async for bucket, stored in self._legacy():
                    await limit.acquire()
                    if stop.is_set():
                        limit.release()
                        break
                    group.create_task(work(bucket, stored))
            except (StoreError, OSError) as error:
                failed = error  # raised as it is, when what was begun has ended
        if failed is not None:
            raise failed
        report.finished = not stop.is_set()
        if report.finished and not report.dry_run:
            await self._tidy(report)

    async def _tidy(self, report: Report) -> None:
        """Behind an S3 gateway: end what nobody completed, and note which buckets have nothing of MinIO's any more."""
        store = self.objects.store
        if isinstance(store, LeftStore):
            for bucket in await self._names():
                if await store.tidy(bucket, time.time_ns() - _DAY):
                    report.notes.append(f"{bucket}: nothing of MinIO's is left")

    async def _names(self) -> Sequence[str]:
        return self.buckets or [found.name for found in await self.objects.buckets()]

    async def _legacy(self) -> AsyncIterator[tuple[str, Stored]]:
        """All objects that MinIO left, those that cannot be read included."""
        for bucket in await self._names():
            after: str | None = ""
            while after is not None:
                page = await self.objects.store.list(bucket, "", "", after, _PAGE)
                for stored in page.objects:
                    if _may_be_legacy(bucket, stored):
                        yield bucket, stored
                after = page.next

    async def _adopt(self, bucket: str, stored: Stored, report: Report) -> None:
        key = stored.key
        try:
            if report.dry_run:
                is_legacy(bucket, stored)
            else:
                if not await adopt(self.objects, bucket, key, self.customer_key):
                    return
        except (NoSuchObject, ConditionFailed):
            return  # removed, or written anew in our format, at this very moment
        except CustomerKeyNeeded as error:
            report.failures.append(Failure(bucket, key, f"{error} (SSE-C), and none was given"))
            return
        except (StoreError, SealedError, KMSError, ForeignKMS, CheckDamaged, OSError) as error:
            report.failures.append(Failure(bucket, key, str(error)))
            return
        report.done += 1
        report.bytes += stored.size


def _may_be_legacy(bucket: str, stored: Stored) -> bool:
    try:
        return is_legacy(bucket, stored)
    except (StoreError, LegacyNotCovered):
        return True
