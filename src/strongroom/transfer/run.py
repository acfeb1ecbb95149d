"""Running a transfer: hands listed objects to threads, and collects the results in a report, whatever the work is."""

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
"""How many objects are submitted at a time for each thread, the one in work included."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Functions that are called with an object ``found`` to copy, bytes that were ``moved``, an object ``ended``."""

    found: Callable[[Listed], None]
    moved: Callable[[int], None]
    ended: Callable[[Listed], None]


def listed_in(source: S3, bucket: str, prefix: str, report: Report, *, named: bool) -> Iterator[Listed]:
    """The objects of a bucket. That it was removed meanwhile is only noted, unless it was ``named`` by the user.

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
    """Do ``work`` for each of ``objects`` in threads, until all are done or ``stop`` is set: by others, or here if the
    S3 or its KMS is not available for many objects in a row.

    An exception of ``objects`` is raised after the threads have ended.
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
    """Report the work that has ended. Returns whether it is no use to go on."""
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
