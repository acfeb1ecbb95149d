"""Runs ``strongroom adopt``, ``rewrap``, ``encrypt`` and ``audit``: long jobs over all objects of a place.

The settings are those of the server, from the environment.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from strongroom.app import build_objects
from strongroom.cli.checks import check_backend, check_vault
from strongroom.cli.layout import absolute, recognised
from strongroom.cli.outcome import FAILED, WRONG, fail, finish, stop_on_signals, stop_with
from strongroom.config import LocalDirectory, RemoteS3, SettingError, SharedFolder, Target, from_process
from strongroom.kms.base import KMSError
from strongroom.legacy.layout import SYSTEM
from strongroom.report import Report
from strongroom.sealed.check import CheckDamaged, ForeignKMS
from strongroom.sealed.errors import NoKMS
from strongroom.sealed.store import SealedStore
from strongroom.serving.hardening import harden
from strongroom.store.errors import NoSuchBucket, StoreError, index_fault
from strongroom.store.reserved import INTERNAL, RESERVED

R = TypeVar("R", bound=Report)
R_contra = TypeVar("R_contra", bound=Report, contravariant=True)


class Job(Protocol[R_contra]):
    """A job on the objects of a place, with its own kind of report."""

    async def run(self, report: R_contra, stop: asyncio.Event, ended: Callable[[], None]) -> None:
        """Work until all is done or ``stop`` is set; ``ended`` is called after each object."""
        ...


def run_job(
    place: str,
    find: Callable[[str, int], Target],
    make: Callable[[SealedStore], Job[R]],
    report: R,
    as_json: bool,
    *,
    read_only: bool = False,
) -> int:
    """Run a job in a place, and print its report. Returns the exit code. Raises typer.Exit.

    ``find`` makes a target from the place and the umask for objects' files; ``make`` makes the job. ``read_only``: the
    job changes nothing there, like a dry run.
    """
    mask = os.umask(0o077)  # the caller's umask is for objects' files, which others may read; our own are private
    harden()
    try:
        settings = from_process({}, find(place, mask), dev=False)
        if settings.vault is not None:
            check_vault(settings.vault.place)
        if isinstance(settings.target, RemoteS3):
            check_backend(settings.target, settings.backend)
        objects = build_objects(settings, read_only=read_only or report.dry_run)
        asyncio.run(_run(objects, make(objects), report))
    except (SettingError, NoKMS) as error:
        raise stop_with(error, WRONG) from None
    except NoSuchBucket as error:
        raise stop_with(f"there is no such bucket: {error}", FAILED) from None
    except (StoreError, KMSError, ForeignKMS, CheckDamaged, OSError) as error:
        raise fail(report, as_json, error) from None
    except sqlite3.Error as error:
        fault = index_fault(error) or f"the index cannot be used: {error}"
        raise fail(report, as_json, f"{place!r}: {fault}") from None
    return finish(report, as_json)


def left_place(place: str, mask: int) -> Target:
    """The target for a place where MinIO left objects. Raises SettingError."""
    if is_url(place):
        return RemoteS3(place)
    target, _ = recognised(LocalDirectory(absolute("PLACE", place)))
    if not isinstance(target, SharedFolder):
        raise SettingError("PLACE", f"no MinIO has left anything in {place!r}: there is no {SYSTEM}")
    return SharedFolder(target.path, mask)


def served_place(place: str, mask: int) -> Target:
    """The target for a place that is served: a server's directory, NAS gateways' folder, or S3 gateways' backend.

    Raises SettingError.
    """
    if is_url(place):
        return RemoteS3(place)
    path = absolute("PLACE", place)
    if (path / INTERNAL / "index.db").exists():
        target, _ = recognised(LocalDirectory(path))
        return target
    if (path / RESERVED).exists() or (path / SYSTEM).exists():
        target, _ = recognised(SharedFolder(path, mask))
        return target
    if (path / INTERNAL).is_dir():
        raise SettingError("PLACE", f"{str(path / INTERNAL / 'index.db')!r} is lost: restore the whole from a back-up")
    raise SettingError("PLACE", f"nothing that Strongroom serves is in {place!r}")


def is_url(place: str) -> bool:
    """Whether a place is a URL, and so another S3."""
    return place.startswith(("http://", "https://"))


async def _run(objects: SealedStore, job: Job[R], report: R) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stop_on_signals(lambda: loop.call_soon_threadsafe(stop.set))
    console = Console(stderr=True)
    columns = (TextColumn("objects: {task.completed}"), TimeElapsedColumn())
    await objects.start()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=None)
            await job.run(report, stop, lambda: progress.advance(task))
    finally:
        await objects.stop()
