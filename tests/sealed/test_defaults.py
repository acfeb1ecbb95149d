"""What is remembered of buckets: not of those of the same name that are made anew."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import pytest

from strongroom.kms.base import KMSDenied
from strongroom.kms.static import StaticKMS
from strongroom.sealed import remembered
from strongroom.sealed.check import make_check
from strongroom.sealed.defaults import Defaults
from strongroom.sealed.guard import WriteGuard
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.sealed.remembered import Lately
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.base import Bucket, Store
from strongroom.store.errors import StoreError
from strongroom.store.local import LocalStore
from tests.kms.elsewhere import KMSElsewhere


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


@pytest.mark.parametrize("written", [b"PLAIN", b"PLAIN+BUCKET_KEY", b"SSE_C"])
def test_a_default_that_says_not_encrypted_does_not_go_before_auto_encryption(tmp_path: Path, written: bytes) -> None:
    async def work() -> None:
        kms = StaticKMS("key", Secret(bytes(32)))
        objects = SealedStore(LocalStore(tmp_path), kms, auto_encrypt=True, upload_secret=Secret("x"))
        await objects.start()
        await objects.create_bucket("bucket")
        await objects.store.set_bucket("bucket", "encryption", written)
        with pytest.raises(StoreError, match="damaged"):
            await objects.begin("bucket", "o", None, 1)
        await objects.stop()

    asyncio.run(work())


class Checks:
    """Keeps the check values of buckets."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def read_check(self, bucket: str) -> bytes | None:
        return self.kept.get(bucket)

    async def leave_check(self, bucket: str, document: bytes) -> bool:
        return self.kept.setdefault(bucket, document) == document

    async def replace_check(self, bucket: str, document: bytes) -> None:
        self.kept[bucket] = document


def test_what_is_written_into_a_bucket_that_was_made_anew_leaves_a_check_value_there(tmp_path: Path) -> None:
    async def work() -> None:
        kms, checks = StaticKMS("key", Secret(bytes(32))), Checks()
        guard = WriteGuard(kms, checks)
        objects = SealedStore(LocalStore(tmp_path), kms, upload_secret=Secret("x"), guard=guard)
        await objects.start()
        await objects.create_bucket("bucket")
        await objects.protection("bucket", SSE_S3)
        for elsewhere in (False, True):
            checks.kept.clear()
            await (objects.store if elsewhere else objects).delete_bucket("bucket")
            await objects.create_bucket("bucket")
            await objects.protection("bucket", SSE_S3)
            assert list(checks.kept) == ["bucket"]
        await objects.stop()

    asyncio.run(work())


def test_a_kms_that_refuses_says_nothing_of_a_bucket_that_others_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        kms, checks = KMSElsewhere(), Checks()
        guard = WriteGuard(kms, checks)
        await guard.admit("bucket")
        kms.refusal = KMSDenied("denied")
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 301)
        await guard.admit("bucket")  # by the check value that it was admitted by
        checks.kept["bucket"] = await make_check(StaticKMS("theirs", Secret(bytes(32))), "bucket")
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 301)
        with pytest.raises(KMSDenied):
            await guard.admit("bucket")
        checks.kept.clear()
        with pytest.raises(KMSDenied):
            await guard.admit("bucket")

    asyncio.run(work())


class SlowStore:
    """Of a store: the settings of a bucket, which are read at once and told when ``told`` is set."""

    def __init__(self) -> None:
        self.settings: dict[str, bytes] = {}
        self.told = asyncio.Event()

    async def bucket(self, name: str) -> Bucket:
        found = Bucket(name, 0, dict(self.settings))
        await self.told.wait()
        return found

    async def set_bucket(self, name: str, setting: str, value: bytes | None) -> None:
        assert value is not None
        self.settings[setting] = value


def test_a_default_that_was_being_asked_for_when_it_was_changed_is_not_remembered() -> None:
    chosen = Protection(Kind.SSE_S3, bucket_key=False)

    async def work() -> None:
        store = SlowStore()
        defaults = Defaults(cast(Store, store), seconds=60)
        asked = asyncio.create_task(defaults.get_soon("bucket"))
        await asyncio.sleep(0)
        await defaults.set("bucket", chosen)
        store.told.set()
        assert await asked is None
        assert await defaults.get_soon("bucket") == chosen

    asyncio.run(work())


def test_of_more_buckets_than_there_is_room_for_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_THINGS", 2)
    known = Lately[str, int](60.0)
    for number, name in enumerate(["a", "b", "a", "c"]):
        known.keep(name, number, 0.0)
    assert [name for name in "abc" if known.holds(name, 1.0)] == ["a", "c"]
