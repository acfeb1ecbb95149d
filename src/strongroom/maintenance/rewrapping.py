"""``strongroom rewrap``: wraps the keys of all objects of a place under the master key that wraps now, one by one.

Objects that are under it already are skipped, so a job that was stopped continues when it is started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.kms.base import KMSError
from strongroom.maintenance.walk import (
    GONE,
    Tally,
    bucket_names,
    default_keys,
    for_each,
    open_uploads,
    settled,
    stored_objects,
)
from strongroom.report import Report
from strongroom.sealed.errors import LegacyNotCovered, SealedError
from strongroom.sealed.rewrapping import Rewrapper, uses_of_upload
from strongroom.sealed.store import SealedStore
from strongroom.store.base import Stored
from strongroom.store.errors import StoreError


@dataclass(frozen=True, slots=True)
class Rewrapping:
    """One run. ``buckets``: the buckets to rewrap; empty for all. ``renamed`` is that of Rewrapper."""

    objects: SealedStore
    buckets: Sequence[str]
    tasks: int
    renamed: Mapping[str, str] = field(default_factory=dict)

    async def run(self, report: Report, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Rewrap until all is done or ``stop`` is set; ``ended`` is called after each.

        Raises StoreError, OSError, KMSError, NoKMS, ForeignKMS, CheckDamaged.
        """
        rewrapper = Rewrapper(self.objects, self.renamed)
        active = await rewrapper.active()
        report.notes.append(f"the master key that wraps now is {active}")
        if self.objects.keyholder.keeps_bucket_keys:
            report.notes.append(
                "servers go on for a while with keys of buckets that the former version wrapped"
                " (STRONGROOM_BUCKET_KEY_SECONDS): run this again when that time is over"
            )

        tally = Tally(report, stop, self.tasks)

        async def work(bucket: str, stored: Stored) -> None:
            await self._rewrap(rewrapper, bucket, stored, tally)
            ended()

        buckets = await bucket_names(self.objects, self.buckets, report)
        await self._defaults(buckets, report, stop)
        await self._uploads(buckets, rewrapper, tally, stop)  # uploads that begin later use the present key
        if not report.dry_run:
            await self.objects.replace_listing_keys(active, buckets)  # under which the objects' ETags are sealed next
        found = stored_objects(self.objects, buckets, report, stop)
        tally.end(await for_each(self._due(found, rewrapper), work, self.tasks, stop))
        if report.finished and not report.failed_count and not report.dry_run:
            await self.objects.renew_checks(active, buckets, whole=not self.buckets)
            if self.buckets and (master := await self.objects.examine_check()) not in (None, active):
                report.notes.append(
                    f"the check value of the whole place is still under {master}: run this without --bucket before that"
                    " is taken away"
                )

    async def _due(
        self, found: AsyncIterator[tuple[str, Stored]], rewrapper: Rewrapper
    ) -> AsyncIterator[tuple[str, Stored]]:
        async for bucket, stored in found:
            try:
                if not await rewrapper.is_due(bucket, stored):
                    continue
            except (StoreError, LegacyNotCovered, KMSError):
                pass  # the attempt to rewrap it will report what is wrong
            yield bucket, stored

    async def _defaults(self, buckets: Sequence[str], report: Report, stop: asyncio.Event) -> None:
        """Report buckets whose default encryption names a replaced key: new objects would be put under it, and only the
        bucket's owner can change that.
        """
        if not any(old != new for old, new in self.renamed.items()):
            return
        async for bucket, name in default_keys(self.objects, buckets, report, stop):
            if self.renamed.get(name, name) != name:
                reason = f"the bucket's default encryption names the master key {name!r}: to be changed"
                report.failed(bucket, "", reason)

    async def _uploads(self, buckets: Sequence[str], rewrapper: Rewrapper, tally: Tally, stop: asyncio.Event) -> None:
        """Report open uploads under other master keys: their parts are bound to their headers, so they cannot be
        rewrapped, but have to be completed or aborted.
        """
        async for bucket, upload in open_uploads(self.objects, buckets, tally.report, stop):
            try:
                others = await rewrapper.outdated(uses_of_upload(bucket, upload))
            except (StoreError, KMSError) as error:
                tally.failed(bucket, upload.key, error)
                continue
            for master in others:
                reason = f"upload {upload.upload_id} is open, under {master}: to be completed or aborted"
                tally.report.failed(bucket, upload.key, reason)

    async def _rewrap(self, rewrapper: Rewrapper, bucket: str, stored: Stored, tally: Tally) -> None:
        try:
            if tally.report.dry_run:
                await rewrapper.is_due(bucket, stored)
            elif not await settled(lambda: rewrapper.rewrap(bucket, stored.key)):
                return
        except GONE:
            return  # it has just been removed
        except (StoreError, SealedError, KMSError, OSError) as error:
            tally.failed(bucket, stored.key, error)
            return
        tally.done(stored)
