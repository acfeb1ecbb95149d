"""A NAS gateway whose storage goes away under it."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from strongroom.store.errors import Unavailable
from strongroom.store.nas import NasStore
from tests.http.raw import error_of
from tests.mounts import image_mounted, lose
from tests.server import NAS, Server
from tests.store.kinds import PLAIN, put


def test_a_folder_whose_disk_is_gone_is_not_available_and_that_is_no_fault_of_the_gateway(tmp_path: Path) -> None:
    with (
        image_mounted("ext4", tmp_path) as point,
        Server(tmp_path / "home", command=NAS, data=point, workers=1) as server,
    ):
        client, name = server.client(), {"Bucket": "bucket", "Key": "o"}
        client.create_bucket(Bucket="bucket")
        client.put_object(**name, Body=b"old")
        lose(point)
        for refused in (
            error_of(client.put_object, **name, Body=b"new"),
            error_of(client.put_object, **name, Body=bytes(1024 * 1024)),
            error_of(client.get_object, **name),
            error_of(client.delete_object, **name),
            error_of(client.create_bucket, Bucket="another"),
        ):
            assert refused == ("ServiceUnavailable", 503)
        said = server.log
    assert "the shared folder does not answer: Input/output error" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("what", [errno.ENOTCONN, errno.ESTALE, errno.ETIMEDOUT])
def test_what_is_being_read_as_a_mount_is_lost_is_not_available(tmp_path: Path, what: int) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "o", bytes(1024 * 1024), PLAIN)
        reader = await store.open("bucket", "o")
        with mock.patch("os.pread", side_effect=OSError(what, os.strerror(what))), pytest.raises(Unavailable):
            async for _ in reader.stream(0, 1024 * 1024):
                pass
        await reader.close()
        await store.stop()

    asyncio.run(use())
