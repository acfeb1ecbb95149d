"""``strongroom adopt``, run: settings from the environment of the server, a progress bar, a report."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from strongroom.app import build_objects
from strongroom.cli.copying import FAILED, WRONG, finish, stop_with
from strongroom.cli.layout import recognised
from strongroom.cli.server import check_vault
from strongroom.config import LocalDirectory, RemoteS3, SettingError, SharedFolder, Target, from_process
from strongroom.kms.base import KMSError
from strongroom.maintenance.adopting import Adoption
from strongroom.sealed.check import CheckDamaged, ForeignKMS
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.serving.hardening import harden
from strongroom.store.base import StoreError
from strongroom.transfer.report import Report


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    buckets: Sequence[str]
    customer_key: Secret | None
    tasks: int
    dry_run: bool


def run_adopt(place: str, wanted: Wanted, as_json: bool) -> int:
    """Adopt; the exit code. Raises typer.Exit."""
    harden()
    report = Report(place, "", datetime.now(UTC), dry_run=wanted.dry_run, verb="adopted")
    try:
        settings = from_process({}, _target(place), dev=False)
        if settings.vault is not None:
            check_vault(settings.vault.place)
        asyncio.run(_run(build_objects(settings), wanted, report))
    except SettingError as error:
        raise stop_with(error, WRONG) from None
    except (StoreError, KMSError, ForeignKMS, CheckDamaged, OSError) as error:
        raise stop_with(error, FAILED) from None
    return finish(report, as_json)


def _target(place: str) -> Target:
    if place.startswith(("http://", "https://")):
        return RemoteS3(place)
    target, _ = recognised(LocalDirectory(Path(place).absolute()))
    if not isinstance(target, SharedFolder):
        raise SettingError("PLACE", f"no MinIO has left anything in {place!r}: there is no .minio.sys")
    return target


async def _run(objects: SealedStore, wanted: Wanted, report: Report) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    columns = (TextColumn("{task.completed} objects"), TimeElapsedColumn())
    await objects.start()
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=None)
            job = Adoption(objects, wanted.buckets, wanted.customer_key, wanted.tasks)
            await job.run(report, stop, lambda: progress.advance(task))
    finally:
        await objects.stop()
