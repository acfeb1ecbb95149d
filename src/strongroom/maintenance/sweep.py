"""Sweeps the buckets of a backend of what gateways that ended early left there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from strongroom.config import RemoteS3, Settings
from strongroom.sigv4 import SigningCredential
from strongroom.store.s3 import Client, S3Store, parse_endpoint
from strongroom.store.s3.sweep import Sweep, Swept


async def sweep(settings: Settings, buckets: Sequence[str], dry: bool) -> AsyncIterator[tuple[str, Swept]]:
    """Sweep these buckets, or all where none is named: what was found in each. Raises StoreError."""
    assert isinstance(settings.target, RemoteS3)
    backend = settings.backend
    own = SigningCredential(settings.access_key, settings.secret_key)
    endpoint = parse_endpoint(settings.target.url, backend.style)
    store = S3Store(Client(endpoint, backend.region, own, ca=backend.ca, timeout=backend.timeout))
    await store.start()
    try:
        for bucket in buckets or [found.name for found in await store.buckets()]:
            yield bucket, await Sweep(store.client, bucket, dry=dry).run()
    finally:
        await store.stop()
