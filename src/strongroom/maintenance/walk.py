"""Walking over all that is stored: several objects at the same time, until all are done or the job is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from strongroom.kms.base import KMSUnavailable
from strongroom.report import Outage, Report, counted
from strongroom.sealed.policy import master_key_name
from strongroom.sealed.store import SealedStore
from strongroom.store.base import Stored, Upload
from strongroom.store.errors import (
    ConditionFailed,
    NoSuchBucket,
    NoSuchObject,
    ObjectChanged,
    StoreError,
    StoreFull,
    Unavailable,
)
from strongroom.store.nas import NasStore

T = TypeVar("T")

GONE = (NoSuchObject, NoSuchBucket)
"""The errors which mean that an object has just been removed, maybe with its bucket."""

_PAGE = 1000
_ATTEMPTS = 8


class Tally:
    """Notes in a report which objects are done and which failed. Sets ``stop`` when many in a row failed because the
    KMS or the storage is not available, or the storage is full.
    """

    def __init__(self, report: Report, stop: asyncio.Event, tasks: int) -> None:
        self.report = report
        self._stop = stop
        self._outage = Outage(tasks)
        self._unavailable = 0
        self._last: Exception | None = None

    def done(self, stored: Stored) -> None:
        """Note an object that is done."""
        self._outage.ended()
        self.report.done += 1
        self.report.bytes += stored.size

    def failed(self, bucket: str, key: str, error: Exception, of: str = "") -> None:
        """Note an object that failed, or something about it, which ``of`` names."""
        self.report.failed(bucket, key, of + reason(bucket, key, error))
        if not isinstance(error, (KMSUnavailable, Unavailable, StoreFull)):
            return
        self._unavailable += 1
        self._last = error
        if self._outage.failed(self.report, error):
            self._stop.set()

    def end(self, tried: bool) -> None:
        """Note in the report whether the job is finished; ``tried``: all objects were. It is not finished if all that
        failed did so because the KMS or the storage was not available, or the storage was full.
        """
        report, number = self.report, self._unavailable
        if tried and number:
            failures = counted(number, "failure")
            report.notes.append(
                f"{failures} because something was not available, which says nothing of the objects: {self._last}"
            )
        report.finished = tried and (not number or number < report.failed_count)


def reason(bucket: str, key: str, error: Exception) -> str:
    """The text of an error about an object, without the object's name at its beginning: reports name it already."""
    text = str(error)
    for name in (repr(f"{bucket}/{key}"), repr(key)):
        if text.startswith(name):
            rest = text.removeprefix(name)
            return rest[2:] if rest.startswith((": ", ", ")) else f"it{rest}"
    return text


async def bucket_names(objects: SealedStore, named: Sequence[str], report: Report) -> Sequence[str]:
    """The buckets that were named, each once; all if none was named.

    In a shared folder, folders that this process cannot read are noted as failed, since what is in them is not seen.
    Raises NoSuchBucket, StoreError.
    """
    for bucket in named:
        await objects.bucket(bucket)
    if isinstance(objects.store, NasStore):
        for bucket, folder in await objects.store.closed_folders(named):
            report.failed(bucket, folder, "this folder is closed to the user of the job; what lies in it was not seen")
    return list(dict.fromkeys(named)) or [bucket.name for bucket in await objects.buckets()]


async def stored_objects(
    objects: SealedStore, buckets: Sequence[str], report: Report, stop: asyncio.Event
) -> AsyncIterator[tuple[str, Stored]]:
    """All objects of these buckets, each with its bucket, until ``stop`` is set. (It is checked here because callers
    that skip millions of objects do not check it.) If a client removes a bucket meanwhile, it has no more objects.
    Raises StoreError.
    """
    for bucket in buckets:
        after: str | None = ""
        while after is not None and not stop.is_set():
            try:
                page = await objects.store.list(bucket, "", "", after, _PAGE)
            except NoSuchBucket:
                report.notes.append(f"{bucket}: the bucket was removed meanwhile")
                break
            for stored in page.objects:
                yield bucket, stored
            after = page.next


async def default_keys(
    objects: SealedStore, buckets: Sequence[str], report: Report, stop: asyncio.Event
) -> AsyncIterator[tuple[str, str]]:
    """The buckets whose default encryption names a master key, with that name. Damaged ones are noted as failed."""
    for bucket in buckets:
        if stop.is_set():
            return
        try:
            default = await objects.default_encryption(bucket)
        except NoSuchBucket:
            continue  # removed meanwhile
        except StoreError as error:
            report.failed(bucket, "", str(error))
            continue
        if default is not None and default.key_id:
            yield bucket, master_key_name(default.key_id)


async def open_uploads(
    objects: SealedStore, buckets: Sequence[str], report: Report, stop: asyncio.Event
) -> AsyncIterator[tuple[str, Upload]]:
    """All open multipart uploads of these buckets, each with its bucket, until ``stop`` is set. Damaged ones in a
    shared folder are noted as failed, since no listing shows them. Raises StoreError.
    """
    for bucket in buckets:
        after: tuple[str, str] | None = ("", "")
        while after is not None and not stop.is_set():
            try:
                page = await objects.store.uploads(bucket, "", "", after, _PAGE)
                if page.next is None and isinstance(objects.store, NasStore):
                    for wrong in await objects.store.damaged_uploads(bucket):
                        report.failed(
                            bucket, "", f"{wrong}: nobody can complete it, and gateways sweep it when it is old"
                        )
            except NoSuchBucket:
                break
            for upload in page.uploads:
                yield bucket, upload
            after = page.next


async def settled(attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of ``attempt``, which is repeated if clients replace or tag the object at the same moment."""
    for _ in range(_ATTEMPTS):
        try:
            return await attempt()
        except (ConditionFailed, ObjectChanged) as error:
            changed = error
    raise changed


async def for_each(
    found: AsyncIterator[tuple[str, Stored]],
    work: Callable[[str, Stored], Awaitable[None]],
    tasks: int,
    stop: asyncio.Event,
) -> bool:
    """Do ``work`` for each object, ``tasks`` at the same time. Returns False if ``stop`` was set before the end.

    Work that was begun is finished, also if the iterator raises StoreError or OSError, which is raised afterwards. But
    if ``work`` raises, everything is cancelled, and that is raised.
    """
    limit = asyncio.Semaphore(tasks)

    async def one(bucket: str, stored: Stored) -> None:
        try:
            await work(bucket, stored)
        finally:
            limit.release()

    failed: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            try:
                async for bucket, stored in found:
                    await limit.acquire()
                    if stop.is_set():
                        limit.release()
                        break
                    group.create_task(one(bucket, stored))
            except (StoreError, OSError) as error:
                failed = error  # raised below, when the work that was begun has ended
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors  # whoever runs the job knows this error, not the group
    if failed is not None:
        raise failed
    return not stop.is_set()
