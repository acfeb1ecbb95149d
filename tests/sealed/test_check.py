"""Check values: the KMS that a place belongs to is told from every other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strongroom.kms.keyring import Keyring
from strongroom.kms.static import StaticKMS
from strongroom.sealed.check import CheckDamaged, ForeignKMS, make_check, verify_check
from strongroom.sealed.encrypting import encrypt
from strongroom.sealed.guard import WriteGuard
from strongroom.sealed.policy import PLAIN, SSE_S3
from strongroom.sealed.rewrapping import Rewrapper
from strongroom.sealed.store import SealedStore
from strongroom.secret import Secret
from strongroom.store.local import LocalStore
from tests.sealed.test_defaults import Checks
from tests.sealed.test_listing import put

OURS = StaticKMS("ours", Secret(bytes(32)))


def test_the_same_kms_opens_it() -> None:
    asyncio.run(verify_check(OURS, "place", asyncio.run(make_check(OURS, "place"))))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (StaticKMS("theirs", Secret(bytes(32))), "'ours' .*master key 'theirs'"),
        (StaticKMS("ours", Secret(b"\1" * 32)), "'ours' .*its key of that name is another"),
    ],
)
def test_another_kms_is_told_how_it_differs(other: StaticKMS, says: str) -> None:
    document = asyncio.run(make_check(OURS, "place"))
    with pytest.raises(ForeignKMS, match=says):
        asyncio.run(verify_check(other, "place", document))


def test_a_check_value_of_another_place_does_not_open() -> None:
    document = asyncio.run(make_check(OURS, "place"))
    with pytest.raises(ForeignKMS):
        asyncio.run(verify_check(OURS, "elsewhere", document))


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b"\xff", b'{"format": 2}', b"x" * 200_000, b"[" * 100_000])
def test_what_is_no_check_value_is_said_to_be_damaged(document: bytes) -> None:
    with pytest.raises(CheckDamaged):
        asyncio.run(verify_check(OURS, "place", document))


def test_nothing_that_is_there_is_sealed_anew_where_others_write_with_another_kms(tmp_path: Path) -> None:
    async def work() -> None:
        checks, theirs = Checks(), StaticKMS("theirs", Secret(b"\1" * 32))
        store, ours = LocalStore(tmp_path), Keyring(StaticKMS("new", Secret(b"\2" * 32)), [OURS])
        before = SealedStore(store, OURS, upload_secret=Secret("x"))
        objects = SealedStore(store, ours, upload_secret=Secret("x"), guard=WriteGuard(ours, checks))
        await before.start()
        await before.create_bucket("bucket")
        for key, protection in (("sealed", SSE_S3), ("plain", PLAIN)):
            await put(before, key, protection)
        kept = [await store.head("bucket", key) for key in ("sealed", "plain")]
        checks.kept["bucket"] = await make_check(theirs, "bucket")
        with pytest.raises(ForeignKMS):
            await Rewrapper(objects, {}).rewrap("bucket", "sealed")
        with pytest.raises(ForeignKMS):
            await encrypt(objects, "bucket", "plain")
        with pytest.raises(ForeignKMS):
            await objects.set_tags("bucket", "sealed", "a=b", 1)
        assert [await store.head("bucket", key) for key in ("sealed", "plain")] == kept
        checks.kept.clear()
        assert await Rewrapper(objects, {}).rewrap("bucket", "sealed")
        await before.stop()

    asyncio.run(work())
