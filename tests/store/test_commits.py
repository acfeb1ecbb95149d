"""Writing to the index of the local store: beside programs that do not know of its lock file, for those who wait, and
for those who wait no longer.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import sqlite3
import time
from pathlib import Path

import pytest

from strongroom.store.base import Stored
from strongroom.store.local import LocalStore, commits
from tests.store.kinds import PLAIN, get, put
from tests.store.test_local import run


def test_another_program_that_writes_holds_up_writes_only(tmp_path: Path) -> None:
    async def work() -> None:
        store = LocalStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "before", b"x", bucket="bucket")
        other = sqlite3.connect(tmp_path / ".strongroom" / "index.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        puts = [asyncio.create_task(put(store, f"o{number}", b"x", bucket="bucket")) for number in range(5)]
        for _ in range(20):
            await asyncio.wait_for(store.head("bucket", "before"), 5)
            await asyncio.sleep(0.01)
        assert not any(one.done() for one in puts)
        other.execute("COMMIT")
        other.close()
        await asyncio.wait_for(asyncio.gather(*puts), 30)
        for number in range(5):
            await store.head("bucket", f"o{number}")
        await store.stop()

    asyncio.run(work())


@pytest.mark.parametrize("why", ["another program writes", "it is refused"])
def test_a_write_that_never_began_is_not_acknowledged_and_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(commits, "_PATIENCE", 0)
    directory = tmp_path / ".strongroom"

    async def use(store: LocalStore) -> None:
        connection = store._committer._connection
        other = sqlite3.connect(directory / "index.db", isolation_level=None)
        if why == "it is refused":
            connection.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)
        else:
            other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(put(store, f"o{n}", b"x") for n in range(3)), return_exceptions=True)
        assert all(isinstance(result, sqlite3.DatabaseError) for result in results)
        with (directory / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is free
        connection.set_authorizer(None)
        other.close()
        assert (await store.list("bucket", "", "", "", 10)).objects == []
        await put(store, "o0", b"x")
        assert await get(store, "o0") == b"x"

    run(tmp_path, use)


def test_a_write_that_fails_unforeseen_is_undone_and_those_beside_it_are_done(tmp_path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO buckets SELECT NULL, 'half-made', created, settings FROM buckets")
        raise sqlite3.IntegrityError("it fails")

    async def use(store: LocalStore) -> None:
        wanted = [put(store, "before", b"x"), store._committer.commit(fails), put(store, "behind", b"x")]
        results = await asyncio.gather(*wanted, return_exceptions=True)
        assert [type(result) for result in results] == [Stored, sqlite3.IntegrityError, Stored]
        assert [bucket.name for bucket in await store.buckets()] == ["bucket"]
        assert [one.key for one in (await store.list("bucket", "", "", "", 10)).objects] == ["before", "behind"]

    run(tmp_path, use)


def test_long_writes_of_a_group_leave_others_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_TURN", 0)

    async def work() -> None:
        store = LocalStore(tmp_path)
        await store.start()
        turns, seen = 0, []

        def write(_: sqlite3.Connection) -> None:
            seen.append(turns)
            time.sleep(0.001)

        writes = asyncio.gather(*(store._committer.commit(write) for _ in range(10)))
        while not writes.done():
            turns += 1
            await asyncio.sleep(0)
        await store.stop()
        assert len(set(seen)) == 10

    asyncio.run(work())


@pytest.mark.parametrize("turns", range(5))
def test_a_small_object_whose_client_hangs_up_while_it_is_committed_is_there(tmp_path: Path, turns: int) -> None:
    async def use(store: LocalStore) -> None:
        writer = await store.writer("bucket", "o", 5)
        await writer.write(b"bytes")
        commit = asyncio.create_task(writer.commit(PLAIN))
        for _ in range(1 + turns):
            await asyncio.sleep(0)
        commit.cancel()
        await asyncio.wait([commit])
        await writer.abort()
        await put(store, "after", b"x")
        assert await get(store, "o") == b"bytes"

    run(tmp_path, use)


def test_those_who_wait_for_a_commit_that_fails_are_told_so_and_the_next_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(store: LocalStore) -> None:
        end, failed = commits.Committer._end, 0

        def fails_once(committer: commits.Committer, how: str) -> None:
            nonlocal failed
            failed += 1
            if failed == 1:
                end(committer, "ROLLBACK")
                raise OSError(errno.EIO, "the disk failed")
            end(committer, how)

        monkeypatch.setattr(commits.Committer, "_end", fails_once)
        results = await asyncio.gather(*(put(store, f"o{n}", b"x") for n in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [OSError] * 3
        await put(store, "o0", b"again")
        assert await get(store, "o0") == b"again"

    run(tmp_path, use)
