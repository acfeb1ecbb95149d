"""The layout of MinIO's S3 gateway, while objects are adopted, written and deleted.

Each call on the store below in turn is the one after which another operation comes in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from strongroom.store.base import ALWAYS, Condition, Page, Reader, Record, Stored
from strongroom.store.errors import ConditionFailed, NoSuchObject
from strongroom.store.left import LeftStore
from strongroom.store.local import LocalStore
from tests.store.kinds import PLAIN, get, put
from tests.store.test_left import leave, names

T = TypeVar("T")
Work = Callable[[LeftStore, str], Awaitable[object]]
"""What is done with "o"; its identity is what it was at first."""

CALLS = 8  # more than any operation here makes


class _Interrupted(LocalStore):
    """A store that lets another come in between, after a number of calls."""

    meanwhile: Callable[[], Awaitable[object]] | None = None
    calls = 0

    async def _then(self, call: Awaitable[T]) -> T:
        try:
            return await call
        finally:
            self.calls -= 1
            if self.calls < 0 and self.meanwhile is not None:
                meanwhile, self.meanwhile = self.meanwhile, None
                await meanwhile()

    async def head(self, bucket: str, key: str) -> Stored:
        return await self._then(super().head(bucket, key))

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        return await self._then(super().open(bucket, key, whole=whole))

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        return await self._then(super().copy(source, bucket, key, record, annex, when))

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        return await self._then(super().delete(bucket, key, when))

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        return await self._then(super().list(bucket, prefix, delimiter, after, limit))


def run(directory: Path, calls: int, work: Work, meanwhile: Work) -> list[str]:
    """Let ``meanwhile`` come in after so many ``calls`` of ``work``; the names in the store below after both."""

    async def started() -> list[str]:
        inner = _Interrupted(directory)
        store = LeftStore(inner)
        await store.start()
        try:
            await inner.create_bucket("bucket")  # not marked clean
            await leave(store, "o")
            identity = (await store.head("bucket", "o")).identity
            inner.meanwhile, inner.calls = lambda: meanwhile(store, identity), calls
            await work(store, identity)
            if inner.meanwhile is not None:
                inner.meanwhile = None
                await meanwhile(store, identity)
            return [stored.key for stored in (await inner.list("bucket", "", "", "", 10)).objects]
        finally:
            await store.stop()

    return asyncio.run(started())


async def adopt(store: LeftStore, identity: str) -> None:
    with suppress(ConditionFailed, NoSuchObject):
        await store.rewrite("bucket", "o", PLAIN, None, Condition(identity=identity))


@pytest.mark.parametrize("condition", [False, True])
@pytest.mark.parametrize("first", ["delete", "adopt"])
@pytest.mark.parametrize("calls", range(CALLS))
def test_what_was_deleted_does_not_come_back(tmp_path: Path, calls: int, first: str, condition: bool) -> None:
    deleted: list[bool] = []

    async def delete(store: LeftStore, identity: str) -> None:
        with suppress(ConditionFailed):
            await store.delete("bucket", "o", Condition(identity=identity) if condition else ALWAYS)
            deleted.append(True)

    order = (delete, adopt) if first == "delete" else (adopt, delete)
    assert run(tmp_path, calls, *order) == ([] if deleted else ["o"])
    assert deleted or condition


@pytest.mark.parametrize("calls", range(CALLS))
def test_what_is_written_while_it_is_adopted_stays(tmp_path: Path, calls: int) -> None:
    seen: list[bytes] = []

    async def work(store: LeftStore, identity: str) -> None:
        await adopt(store, identity)
        seen.append(await get(store, "o"))

    async def write(store: LeftStore, identity: str) -> None:
        await put(store, "o", b"new")
        seen.append(await get(store, "o"))

    assert run(tmp_path, calls, work, write) == ["o"]
    assert seen[-1] == b"new"


@pytest.mark.parametrize("same", [False, True])
def test_a_deletion_on_a_condition_leaves_what_it_is_not_of(tmp_path: Path, same: bool) -> None:
    async def work(store: LeftStore, identity: str) -> None:
        ours = await put(store.inner, "o", b"ours")  # what was left is left over
        if same:
            assert await store.delete("bucket", "o", Condition(identity=ours.identity))
            return
        for another in ("another", identity):
            with pytest.raises(ConditionFailed):
                await store.delete("bucket", "o", Condition(identity=another))
        assert await get(store, "o") == b"ours"

    async def nothing(store: LeftStore, identity: str) -> None: ...

    left_over = ["o", "o/.minio/dare.meta", "o/.minio/data"]
    assert run(tmp_path, CALLS, work, nothing) == ([] if same else left_over)


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("calls", range(CALLS))
def test_an_object_is_there_all_the_time_that_it_is_adopted_or_written_over(
    tmp_path: Path, calls: int, write: bool
) -> None:
    async def meanwhile(store: LeftStore, identity: str) -> None:
        await (put(store, "o", b"new") if write else adopt(store, identity))

    async def head(store: LeftStore, identity: str) -> None:
        assert (await store.head("bucket", "o")).key == "o"

    async def read(store: LeftStore, identity: str) -> None:
        assert await get(store, "o") in (b"new", b"streams")

    async def listed(store: LeftStore, identity: str) -> None:
        assert names(await store.list("bucket", "", "", "", 10)) == ["o"]

    async def rolled_up(store: LeftStore, identity: str) -> None:
        assert names(await store.list("bucket", "", "/", "", 10)) == ["o"]

    for work in (head, read, listed, rolled_up):
        directory = tmp_path / work.__name__
        directory.mkdir()
        assert run(directory, calls, work, meanwhile) == ["o"]
