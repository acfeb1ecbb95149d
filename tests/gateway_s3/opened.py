"""The store on a backend, in the process of the tests, by a client that changes what is sent or answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from strongroom.secret import Secret
from strongroom.sigv4 import SigningCredential
from strongroom.store.s3 import Client, S3Store, parse_endpoint
from tests.backends import ACCESS_KEY, SECRET_KEY, Backend


def use_store(backend: Backend, bucket: str, kind: type[Client], use: Callable[[S3Store], Awaitable[Any]]) -> None:
    """Use a store with a new bucket on a backend."""

    async def started() -> None:
        own = SigningCredential(ACCESS_KEY, Secret(SECRET_KEY))
        store = S3Store(kind(parse_endpoint(backend.endpoint), "us-east-1", own, chain=False))
        await store.start()
        await store.create_bucket(bucket)
        await use(store)
        await store.stop()

    asyncio.run(started())
