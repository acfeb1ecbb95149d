"""The default encryption of a bucket, where it is remembered."""

from __future__ import annotations

import asyncio
from pathlib import Path

from strongroom.kms.static import StaticKMS
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.local import LocalStore


def test_a_bucket_that_was_made_anew_has_not_the_default_of_the_one_before(tmp_path: Path) -> None:
    async def work() -> None:
        kms = StaticKMS("key", Secret(bytes(32)))
        objects = SealedStore(
            LocalStore(tmp_path), kms, auto_encrypt=True, upload_secret=Secret("x"), defaults_seconds=60
        )
        await objects.start()
        await objects.create_bucket("bucket")
        await objects.set_default_encryption("bucket", Protection(Kind.SSE_KMS))
        assert (await objects.protection("bucket", None)).kind is Kind.SSE_KMS
        await objects.delete_bucket("bucket")
        await objects.create_bucket("bucket")
        assert await objects.protection("bucket", None) == SSE_S3
        await objects.stop()

    asyncio.run(work())
