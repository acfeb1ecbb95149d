"""``strongroom sweep``: runs the sweep and prints what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from rich.console import Console

from strongroom.cli.server import check_backend
from strongroom.config import RemoteS3, Settings, from_process
from strongroom.observe import logs
from strongroom.report import shown
from strongroom.serving.hardening import harden


def run_sweep(flags: Mapping[str, str], url: str | None, buckets: Sequence[str], dry: bool) -> None:
    """Sweep, and print a line for each bucket and each orphan. Raises SettingError, StoreError."""
    harden()
    target = RemoteS3(url)
    settings = from_process(flags, target, dev=False)
    check_backend(target, settings.backend)
    logs.configure(settings.log_format)
    asyncio.run(_sweep(settings, buckets, dry))


async def _sweep(settings: Settings, buckets: Sequence[str], dry: bool) -> None:
    from strongroom.maintenance.sweep import sweep  # takes its time, and only this command needs it

    console = Console(highlight=False, soft_wrap=True)
    total = 0
    async for bucket, swept in sweep(settings, buckets, dry):
        for kind, found in (("record", swept.records), ("upload", swept.uploads), ("PUT", swept.puts)):
            for name in found:
                console.print(shown(f"{bucket}: {kind} {name}"), markup=False)
        total += swept.count
    console.print(f"{total} orphans {'found' if dry else 'removed'}")
