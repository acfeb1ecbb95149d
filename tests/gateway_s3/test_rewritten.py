"""New records for the same bytes, of two gateways at the same time: the ETag at the backend has to tell them apart."""

from __future__ import annotations

import asyncio
import os

import pytest

from strongroom.store.base import ALWAYS, Condition, Stored
from strongroom.store.errors import ConditionFailed
from strongroom.store.s3 import S3Store
from strongroom.store.s3.messages import Answer, Request
from tests.backends import Backend
from tests.store.kinds import SEALED, client_for, get, put

MIB = 1024**2


@pytest.mark.parametrize("annex", [b"", b"annex"], ids=["in the metadata", "hidden"])
@pytest.mark.parametrize("size", [0, 1000, 5 * MIB + 1, 6 * MIB, 6 * MIB + 1, 12 * MIB])
@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_record_is_not_put_back_over_one_that_was_written_meanwhile(
    request: pytest.FixtureRequest, bucket_name: str, kind: str, size: int, annex: bytes
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    content = os.urandom(size)

    async def rewritten(store: S3Store, word: bytes) -> Stored:
        return await store.rewrite(bucket_name, "o", {**SEALED, ":word": word}, annex or None, ALWAYS)

    async def run() -> None:
        one, two = S3Store(client_for(backend)), S3Store(client_for(backend))
        await one.start()
        await two.start()
        await one.create_bucket(bucket_name)
        await put(one, "o", content, SEALED, annex=annex, bucket=bucket_name)
        send = two.client.send

        async def meanwhile(asked: Request) -> Answer:
            names = {name for name, _ in asked.query}
            if asked.key == "o" and (asked.method, names) in (("POST", {"uploadId"}), ("PUT", set())):
                two.client.send = send  # type: ignore[method-assign]
                await rewritten(one, b"new")
            return await send(asked)

        for _ in range(3):
            two.client.send = meanwhile  # type: ignore[method-assign, assignment]
            with pytest.raises(ConditionFailed):
                await rewritten(two, b"old")
            found = await two.head(bucket_name, "o")
            assert found.record[":word"] == b"new"
            assert await get(two, "o", bucket_name) == content
            assert (await rewritten(one, b"again")).identity == (await two.head(bucket_name, "o")).identity
        await one.stop()
        await two.stop()

    asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1000, 7 * MIB])
@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_record_is_not_put_back_over_that_of_a_copy_onto_itself(
    request: pytest.FixtureRequest, bucket_name: str, kind: str, size: int
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    content = os.urandom(size)

    async def run() -> None:
        one, two = S3Store(client_for(backend)), S3Store(client_for(backend))
        await one.start()
        await two.start()
        await one.create_bucket(bucket_name)
        await put(one, "o", content, SEALED, bucket=bucket_name)

        async def copied(word: bytes) -> Stored:
            source = await one.open(bucket_name, "o", whole=False)
            unchanged = Condition(identity=source.stored.identity)
            return await one.copy(source, bucket_name, "o", {**SEALED, ":word": word}, b"", unchanged)

        send = two.client.send

        async def meanwhile(asked: Request) -> Answer:
            names = {name for name, _ in asked.query}
            if asked.key == "o" and (asked.method, names) in (("POST", {"uploadId"}), ("PUT", set())):
                two.client.send = send  # type: ignore[method-assign]
                await copied(b"new")
            return await send(asked)

        for _ in range(3):
            await copied(b"first")
            two.client.send = meanwhile  # type: ignore[method-assign, assignment]
            with pytest.raises(ConditionFailed):
                await two.rewrite(bucket_name, "o", {**SEALED, ":word": b"old"}, None, ALWAYS)
            found = await two.head(bucket_name, "o")
            assert found.record[":word"] == b"new"
            assert await get(two, "o", bucket_name) == content
        await one.stop()
        await two.stop()

    asyncio.run(run())
