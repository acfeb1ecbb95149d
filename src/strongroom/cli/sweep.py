"""``strongroom sweep``: runs the sweep and prints what it found."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from strongroom.cli.checks import check_backend
from strongroom.cli.outcome import STOPPED, stop_on_signals
from strongroom.config import RemoteS3, from_process
from strongroom.observe import logs
from strongroom.report import GOES_ON, counted, shown
from strongroom.serving.hardening import harden
from strongroom.store.errors import NoSuchBucket

if TYPE_CHECKING:
    from strongroom.store.s3 import S3Store
    from strongroom.store.s3.sweep import Swept


def run_sweep(flags: Mapping[str, str], url: str | None, buckets: Sequence[str], dry: bool) -> int:
    """Sweep, and print a line for each orphan. Returns the exit code. Raises SettingError, StoreError."""
    harden()
    target = RemoteS3(url)
    settings = from_process(flags, target, dev=False)
    check_backend(target, settings.backend)
    logs.configure(settings.log_format)
    from strongroom.app import remote_store  # slow to import, and only this command needs it

    return asyncio.run(_sweep(remote_store(settings, target), buckets, dry))


async def _sweep(store: S3Store, buckets: Sequence[str], dry: bool) -> int:
    """Sweep the buckets. However this ends, what was removed until then is printed."""
    from strongroom.store.s3.sweep import Sweep

    stop, total, ended = asyncio.Event(), 0, False
    loop = asyncio.get_running_loop()
    stop_on_signals(lambda: loop.call_soon_threadsafe(stop.set))
    await store.start()
    try:
        for bucket in buckets or [found.name for found in await store.buckets()]:
            sweep = Sweep(store.client, bucket, dry=dry, stop=stop)
            try:
                await sweep.run()
            except NoSuchBucket:
                if buckets:
                    raise
                # a client removed it meanwhile
            finally:
                _tell(bucket, sweep.swept)
                total += sweep.swept.count
            if stop.is_set():
                break
        ended = True
    finally:
        await store.stop()
        if total or ended:
            print(f"{counted(total, 'orphan')} {'found' if dry else 'removed'}", flush=True)
    if stop.is_set():
        print(GOES_ON)
        return STOPPED
    return 0


def _tell(bucket: str, swept: Swept) -> None:
    for kind, names in (("record", swept.records), ("upload", swept.uploads), ("PUT", swept.puts)):
        for name in names:
            print(shown(f"{bucket}: {kind} {name}"))
