"""Trouble that a shared folder brings: files that belong to others, no space, clients that go away."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from strongroom.store.base import Forbidden, NoSuchObject, StoreFull
from strongroom.store.nas import NasStore
from tests.http.raw import error_of
from tests.mounts import small_file_system
from tests.server import NAS, Server
from tests.store.kinds import PLAIN, get, put


def test_a_file_that_is_closed_to_us_is_listed_but_not_read(tmp_path: Path) -> None:
    real = os.open

    def closed(path: object, *args: object, **named: object) -> int:
        if path == b"closed":
            raise PermissionError(13, "Permission denied", path)
        return real(path, *args, **named)  # type: ignore[arg-type]

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for key in ("closed", "open"):
            await put(store, key, b"12345")
        with mock.patch("os.open", closed):
            with pytest.raises(Forbidden):
                await store.open("bucket", "closed")
            with pytest.raises(Forbidden):
                await store.head("bucket", "closed")
            listed = (await store.list("bucket", "", "", "", 10)).objects
        assert [(stored.key, stored.size) for stored in listed] == [("closed", 5), ("open", 5)]
        await store.stop()

    asyncio.run(use())


def test_a_commit_that_is_given_up_makes_the_object_whole_or_not_at_all(tmp_path: Path) -> None:
    content = os.urandom(500_000)

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for turn in range(20):
            key = f"o{turn}"
            writer = await store.writer("bucket", key, None)
            await writer.write(content)
            commit = asyncio.create_task(writer.commit(PLAIN))
            await asyncio.sleep(turn * 0.0002)
            commit.cancel()
            await asyncio.wait([commit])
            await writer.abort()
        await store.stop()
        again = NasStore(tmp_path)
        await again.start()
        for turn in range(20):
            try:
                assert await get(again, f"o{turn}") == content
            except NoSuchObject:
                continue
        assert list((tmp_path / ".strongroom.sys" / "tmp").iterdir()) == []
        await again.stop()

    asyncio.run(use())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    with small_file_system(tmp_path / "small", 24) as point:
        yield point


def test_a_full_folder_refuses_uploads_and_keeps_nothing_of_them(small: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", command=NAS, data=small, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        name = {"Bucket": "bucket", "Key": "o"}
        client.put_object(**name, Body=b"old")
        for _ in range(3):
            refused = error_of(client.put_object, **name, Body=bytes(30 * 1024 * 1024))
            assert refused == ("XMinioStorageFull", 507)
            assert server.unfinished_files() == []
        assert client.get_object(**name)["Body"].read() == b"old"
        client.put_object(**name, Body=bytes(10 * 1024 * 1024))
        assert client.get_object(**name)["ContentLength"] == 10 * 1024 * 1024


def test_a_quota_is_no_space(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        with mock.patch("os.pwrite", side_effect=OSError(122, "Disk quota exceeded")), pytest.raises(StoreFull):
            await put(store, "o", b"x")
        assert list((tmp_path / ".strongroom.sys" / "tmp").iterdir()) == []
        await store.stop()

    asyncio.run(use())
