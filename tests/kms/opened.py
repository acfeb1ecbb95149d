"""The KMS of a server's settings, opened in a test's own event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from strongroom.app import build_kms
from strongroom.config import load_keys
from strongroom.kms.base import Context, DataKey, KMSError, WrappedKey
from strongroom.kms.keyring import Keyring

CONTEXT = {"bucket": "bucket/key"}


@contextlib.asynccontextmanager
async def opened(settings: Mapping[str, str | None]) -> AsyncIterator[Keyring]:
    """The KMS of these settings, started."""
    given = {name: value for name, value in settings.items() if value is not None}
    kms = build_kms(load_keys(given, {}, Path.read_bytes))
    assert kms is not None
    await kms.start()
    try:
        yield kms
    finally:
        await kms.stop()


async def made(kms: Keyring, context: Context = CONTEXT) -> DataKey:
    """A new data key."""
    (key,) = await kms.generate([context])
    return key


async def unwrapped(kms: Keyring, wrapped: WrappedKey, context: Context = CONTEXT) -> bytes:
    """The data key behind a wrapped one; raises what was answered."""
    (answer,) = await kms.unwrap([(wrapped, context)])
    if isinstance(answer, KMSError):
        raise answer
    return answer
