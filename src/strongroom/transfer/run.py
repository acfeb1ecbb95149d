"""Running a transfer: what is listed goes to threads, what comes of it into a report. Knows nothing of what they do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass

from strongroom.report import Outage, Report
from strongroom.threads import Threads
from strongroom.transfer.copying import NotCopied, Stopped
from strongroom.transfer.s3 import S3, Listed, S3Failed

_AHEAD = 4
"""How many objects a thread has waiting for it."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Functions told how it goes: ``found`` of an object to copy, ``moved`` of bytes, ``ended`` of an object."""

    found: Callable[[Listed], None]
    moved: Callable[[int], None]
    ended: Callable[[Listed], None]


def listed_in(source: S3, bucket: str, prefix: str, report: Report, *, named: bool) -> Iterator[Listed]:
    """The objects of a bucket. One that was not ``named`` may be removed meanwhile: the others are gone on with.

    Raises S3Failed.
    """
    try:
        yield from source.list(bucket, prefix)
    except S3Failed as error:
        if named or error.code != "NoSuchBucket":
            raise
        report.notes.append(f"{bucket}: the bucket was removed meanwhile")


def run(
    objects: Iterable[Listed],
    work: Callable[[Listed], None],
    threads: int,
    report: Report,
    stop: threading.Event,
    watcher: Watcher,
) -> None:
    """Do ``work`` for each of ``objects`` in threads, until done or ``stop`` is set: by others, or here when the S3
    or its KMS is not available for many in a row.

    What ``objects`` raises is raised, after the threads have ended.
    """
    outage = Outage(threads)

    def collect(until: str | None) -> None:
        if _collect(pending, report, watcher, outage, until):
            stop.set()

    with Threads(threads, "transfer") as pool:
        pending: dict[Future[None], Listed] = {}
        try:
            for listed in objects:
                if stop.is_set():
                    break
                pending[pool.submit(work, listed)] = listed
                if len(pending) >= threads * _AHEAD:
                    collect(FIRST_COMPLETED)
            while pending and not stop.is_set():
                collect(FIRST_COMPLETED)
        except BaseException:
            stop.set()
            raise
        finally:
            for future in pending:
                future.cancel()
            collect(None)
    report.finished = not stop.is_set()


def _collect(
    pending: dict[Future[None], Listed], report: Report, watcher: Watcher, outage: Outage, until: str | None
) -> bool:
    """Note what has ended; whether it is no use to go on."""
    in_vain = False
    done, _ = wait(pending, return_when=until) if until else wait(pending)
    for future in done:
        listed = pending.pop(future)
        if future.cancelled():
            continue
        try:
            future.result()
        except Stopped:
            continue
        except NotCopied as error:
            report.failed(listed.bucket, listed.key, str(error))
            in_vain |= error.unavailable and outage.failed(report, error)
        else:
            outage.ended()
            report.done += 1
            report.bytes += listed.size
        watcher.ended(listed)
    return in_vain
