"""Writes on the condition of an ETag, where the object changes between the look at it and the write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.sealed.conditions import OnCondition
from strongroom.sealed.errors import PreconditionFailed
from strongroom.sealed.objects import Precondition
from strongroom.sealed.policy import SSE_S3
from strongroom.sealed.resealing import share
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.store.base import ALWAYS, Condition
from strongroom.store.errors import ConditionFailed, NoSuchObject, ObjectChanged, Unavailable
from tests.sealed.test_listing import put, with_kms

KMS = StaticKMS("key", Secret(bytes(32)))
HERE = "bucket", "o"
Write = Callable[[SealedStore, Precondition], Awaitable[object]]
Meanwhile = Callable[[SealedStore], Awaitable[object]]


async def put_on(store: SealedStore, condition: Precondition) -> None:
    writer = await store.begin(*HERE, SSE_S3, None)
    await writer.write(b"new")
    await writer.finish()
    await writer.commit(Description({}), condition)


async def copy_on(store: SealedStore, condition: Precondition) -> None:
    source = await store.open("bucket", "source")
    try:
        await share(store, source, *HERE, SSE_S3, Description({}), condition)
    finally:
        await source.close()


async def complete_on(store: SealedStore, condition: Precondition) -> None:
    upload = await store.uploads.create(*HERE, SSE_S3, Description({}))
    _, part = await store.uploads.begin_part(*HERE, upload.upload_id, 1, None)
    part.watch(True, [])
    await part.write(b"new")
    await part.finish()
    await part.commit()
    _, parts, _ = await store.uploads.parts(*HERE, upload.upload_id, 0, 10)
    await store.uploads.complete(*HERE, upload.upload_id, parts, None, condition)


async def delete_on(store: SealedStore, condition: Precondition) -> None:
    await store.delete(*HERE, condition)


async def tag(store: SealedStore) -> None:
    await store.set_tags(*HERE, "a=b", 1)


async def replace(store: SealedStore) -> None:
    writer = await store.begin(*HERE, SSE_S3, None)
    await writer.write(b"another's")
    await writer.finish()
    await writer.commit(Description({}))


async def remove(store: SealedStore) -> None:
    await store.delete(*HERE)


@pytest.mark.parametrize("write", [put_on, copy_on, complete_on, delete_on])
@pytest.mark.parametrize(
    ("meanwhile", "told"), [(tag, ObjectChanged), (replace, PreconditionFailed), (remove, NoSuchObject)]
)
def test_only_an_object_that_was_replaced_is_said_to_be_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write, meanwhile: Meanwhile, told: type[Exception]
) -> None:
    """Tags are a new record of the same object: to be told that it is another one would be false."""
    condition = SealedStore.condition
    coming: list[Meanwhile] = []

    async def looked(self: SealedStore, bucket: str, key: str, precondition: Precondition) -> Condition:
        found = await condition(self, bucket, key, precondition)
        if coming:
            await coming.pop()(self)
        return found

    async def work(store: SealedStore) -> None:
        written = await put(store, "o")
        await put(store, "source")
        monkeypatch.setattr(SealedStore, "condition", looked)
        for etag in (written.etag, "*")[: 2 if meanwhile is tag else 1]:
            coming.append(meanwhile)
            with pytest.raises(told):
                await write(store, Precondition(if_match=etag))
        if meanwhile is tag:
            assert (await store.head(*HERE)).etag == written.etag
            await write(store, Precondition(if_match=written.etag))  # so trying again is right

    with_kms(KMS, tmp_path, work)


def test_a_write_that_failed_otherwise_is_not_said_to_have_met_another() -> None:
    looked = 0

    async def look(bucket: str, key: str, precondition: Precondition) -> Condition:
        nonlocal looked
        looked += 1
        return ALWAYS

    async def write(error: Exception) -> None:
        async with OnCondition(look, *HERE, Precondition(if_match="etag")) as condition:
            assert condition == ALWAYS
            raise error

    for error in (Unavailable("the storage"), NoSuchObject("o")):
        with pytest.raises(type(error)) as raised:
            asyncio.run(write(error))
        assert raised.value is error
    assert looked == 2  # before each write, and not again


def test_a_write_that_asks_for_no_object_is_told_that_there_is_one() -> None:
    async def look(bucket: str, key: str, precondition: Precondition) -> Condition:
        return ALWAYS

    async def write() -> None:
        async with OnCondition(look, *HERE, Precondition(if_none_match=True)):
            raise ConditionFailed("o")

    with pytest.raises(ConditionFailed):
        asyncio.run(write())
