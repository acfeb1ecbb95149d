"""``strongroom audit``: opens all objects of a place; reports what is encrypted, under which keys, and what is not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from strongroom.kms.base import KMSError
from strongroom.kms.master import MasterKey
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
from strongroom.report import NAMED, Report, counted
from strongroom.sealed.auditing import Finding, examine, examine_upload
from strongroom.sealed.errors import SealedError
from strongroom.sealed.keys import KIND_NAMES, Kind
from strongroom.sealed.rewrapping import uses_of_upload
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import ENCRYPTED, Stored
from strongroom.store.errors import NoSuchBucket, NoSuchUpload, StoreError

_NAMED_PLAIN = NAMED // 2
"""Objects in plaintext that are named; further ones are only counted, so that objects which do not open get named."""


@dataclass(slots=True)
class Count:
    """Objects of one kind, and their stored bytes."""

    objects: int = 0
    bytes: int = 0


@dataclass(slots=True)
class AuditReport(Report):
    """What was found: how many objects of each kind."""

    found: dict[Finding, Count] = field(default_factory=dict)

    @property
    def plain(self) -> int:
        """How many objects are not encrypted."""
        return sum(count.objects for finding, count in self.found.items() if finding.kind is Kind.PLAIN)

    def fields(self) -> dict[str, object]:
        """The fields of the JSON report, except for the duration."""
        return {**Report.fields(self), "found": [_row(finding, count) for finding, count in self._sorted()]}

    def told(self) -> Sequence[str]:
        """The lines that people are shown between the summary and the failures."""
        found = [
            f"{counted(count.objects)} ({counted(count.bytes, 'byte')}): {_text(finding)}"
            for finding, count in self._sorted()
        ]
        if found or self.failed_count:
            return found
        return ["there is no object here: is this the place, and is it the whole of it?"]

    def _sorted(self) -> Sequence[tuple[Finding, Count]]:
        return sorted(self.found.items(), key=lambda item: (item[0][:2], sorted(item[0].masters), item[0][3:]))


def _row(finding: Finding, count: Count) -> dict[str, object]:
    return {
        "encryption": KIND_NAMES[finding.kind],
        "format": "minio" if finding.legacy else "strongroom",
        "master_keys": [master._asdict() for master in sorted(finding.masters)],
        "opened": finding.opened,
        "tags_in_the_clear": finding.tags_clear,
        "objects": count.objects,
        "bytes": count.bytes,
    }


def _text(finding: Finding) -> str:
    parts = ["not encrypted" if finding.kind is Kind.PLAIN else KIND_NAMES[finding.kind]]
    parts += [f"master key {master}" for master in sorted(finding.masters)]
    if finding.legacy:
        parts.append("in MinIO's format, whose metadata stand in the clear")
    if not finding.opened:
        parts.append("not opened: this takes the client's key")
    if finding.tags_clear:
        parts.append("with tags in the clear")
    return "; ".join(parts)


def _numbers(what: str, masters: Counter[MasterKey]) -> Sequence[str]:
    """Lines that say how many of something each master key opens."""
    return [f"{counted(number, what)}: master key {master}" for master, number in sorted(masters.items())]


@dataclass(frozen=True, slots=True)
class Audit:
    """One run. ``buckets``: the buckets to audit; empty for all. ``read``: all data are opened, not only keys, records,
    part tables and tags. ``customer_key`` is tried on SSE-C objects.
    """

    objects: SealedStore
    buckets: Sequence[str]
    tasks: int
    read: bool
    customer_key: Secret | None

    async def run(self, report: AuditReport, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Audit until all is done or ``stop`` is set; ``ended`` is called after each. Raises StoreError, OSError."""
        tally = Tally(report, stop, self.tasks)

        async def work(bucket: str, stored: Stored) -> None:
            await self._examine(bucket, stored, report, tally)
            ended()

        buckets = await bucket_names(self.objects, self.buckets, report)
        await self._checks(buckets, report, tally, stop)
        names = Counter([name async for _, name in default_keys(self.objects, buckets, report, stop)])
        report.notes += [
            f"{counted(count, 'default encryption of a bucket', 'default encryptions of buckets')}: {name!r}"
            for name, count in sorted(names.items())
        ]
        await self._uploads(buckets, report, tally, stop)
        found = stored_objects(self.objects, buckets, report, stop)
        tally.end(await for_each(found, work, self.tasks, stop))

    async def _checks(self, buckets: Sequence[str], report: AuditReport, tally: Tally, stop: asyncio.Event) -> None:
        """Note which master keys open check values: these keys are needed as much as those of objects."""
        masters: Counter[MasterKey] = Counter()
        for bucket in ("", *buckets):
            if stop.is_set():
                return
            try:
                if (master := await self.objects.examine_check(bucket)) is not None:
                    masters[master] += 1
            except NoSuchBucket:
                continue
            except (StoreError, KMSError, SealedError) as error:
                tally.failed(bucket, "", error, "the check value, without which gateways write nothing here: ")
        report.notes += _numbers("check value", masters)

    async def _uploads(self, buckets: Sequence[str], report: AuditReport, tally: Tally, stop: asyncio.Event) -> None:
        masters: Counter[MasterKey] = Counter()
        async for bucket, upload in open_uploads(self.objects, buckets, report, stop):
            if stop.is_set():
                return
            try:
                masters.update({use.master for use in uses_of_upload(bucket, upload)})
                if ENCRYPTED not in upload.record:
                    report.failed(bucket, upload.key, f"the open upload {upload.upload_id} is not encrypted")
                else:
                    await examine_upload(self.objects, bucket, upload)
            except (NoSuchUpload, *GONE):
                continue  # it has just ended
            except (StoreError, KMSError, SealedError) as error:
                tally.failed(bucket, upload.key, error, f"the open upload {upload.upload_id}: ")
        report.notes += _numbers("open upload", masters)

    async def _examine(self, bucket: str, stored: Stored, report: AuditReport, tally: Tally) -> None:
        try:
            finding = await settled(lambda: examine(self.objects, bucket, stored, self.customer_key, read=self.read))
        except GONE:
            return  # it has just been removed
        except (StoreError, SealedError, KMSError, OSError) as error:
            tally.failed(bucket, stored.key, error)
            return
        count = report.found.setdefault(finding, Count())
        count.objects += 1
        count.bytes += stored.size
        tally.done(stored)
        if finding.kind is Kind.PLAIN:
            report.failed(bucket, stored.key, "it is not encrypted", _NAMED_PLAIN)
        if finding.tags_clear:
            report.failed(bucket, stored.key, "its tags are not encrypted", _NAMED_PLAIN)
