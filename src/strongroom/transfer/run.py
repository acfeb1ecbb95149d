"""Running a transfer: what is listed goes to threads, what comes of it into a report. Knows nothing of what they do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from strongroom.report import Report
from strongroom.transfer.copying import NotCopied, Stopped
from strongroom.transfer.s3 import Listed

_AHEAD = 4
"""How many objects a thread has waiting for it."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how it goes: ``found`` an object to copy, ``moved`` bytes, ``ended`` with an object."""

    found: Callable[[Listed], None]
    moved: Callable[[int], None]
    ended: Callable[[Listed], None]


def run(
    objects: Iterable[Listed],
    work: Callable[[Listed], None],
    threads: int,
    report: Report,
    stop: threading.Event,
    watcher: Watcher,
) -> None:
    """Do ``work`` for each of ``objects`` in threads, until done or ``stop`` is set.

    What ``objects`` raises is raised, after the threads have ended.
    """
    with ThreadPoolExecutor(threads) as pool:
        pending: dict[Future[None], Listed] = {}
        try:
            for listed in objects:
                if stop.is_set():
                    break
                pending[pool.submit(work, listed)] = listed
                if len(pending) >= threads * _AHEAD:
                    _collect(pending, report, watcher, FIRST_COMPLETED)
            while pending and not stop.is_set():
                _collect(pending, report, watcher, FIRST_COMPLETED)
        except BaseException:
            stop.set()
            raise
        finally:
            for future in pending:
                future.cancel()
            _collect(pending, report, watcher, None)
    report.finished = not stop.is_set()


def _collect(pending: dict[Future[None], Listed], report: Report, watcher: Watcher, until: str | None) -> None:
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
        else:
            report.done += 1
            report.bytes += listed.size
        watcher.ended(listed)
