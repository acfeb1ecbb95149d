"""``strongroom sweep``: runs the sweep and prints what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from strongroom.cli.checks import check_backend
from strongroom.config import RemoteS3, from_process
from strongroom.observe import logs
from strongroom.report import shown
from strongroom.serving.hardening import harden
from strongroom.store.errors import NoSuchBucket

if TYPE_CHECKING:
    from strongroom.store.s3 import S3Store


def run_sweep(flags: Mapping[str, str], url: str | None, buckets: Sequence[str], dry: bool) -> None:
    """Sweep, and print a line for each bucket and each orphan. Raises SettingError, StoreError."""
    harden()
    target = RemoteS3(url)
    settings = from_process(flags, target, dev=False)
    check_backend(target, settings.backend)
    logs.configure(settings.log_format)
    from strongroom.app import remote_store  # takes its time, and only this command needs it

    asyncio.run(_sweep(remote_store(settings, target), buckets, dry))


async def _sweep(store: S3Store, buckets: Sequence[str], dry: bool) -> None:
    from strongroom.store.s3.sweep import Sweep

    console = Console(highlight=False, soft_wrap=True)
    total = 0
    await store.start()
    try:
        for bucket in buckets or [found.name for found in await store.buckets()]:
            try:
                swept = await Sweep(store.client, bucket, dry=dry).run()
            except NoSuchBucket:
                if buckets:
                    raise
                continue  # a client removed it meanwhile
            for kind, names in (("record", swept.records), ("upload", swept.uploads), ("PUT", swept.puts)):
                for name in names:
                    console.print(shown(f"{bucket}: {kind} {name}"), markup=False)
            total += swept.count
    finally:
        await store.stop()
    console.print(f"{total} orphans {'found' if dry else 'removed'}")
