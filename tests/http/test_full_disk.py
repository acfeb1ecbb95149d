"""A disk that gets full: uploads are refused in time, so that objects can still be removed, and room comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.http.raw import error_of
from tests.mounts import small_file_system
from tests.server import Server
from tests.waiting import comes

MIB = 1024**2
FULL = ("XMinioStorageFull", 507)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MiB, of which a quarter is kept for removing objects."""
    with small_file_system(tmp_path / "disk", 160) as point:
        yield point


def test_a_disk_full_of_small_objects(disk: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", data=disk / "data", workers=1) as server:
        client, content = server.client(), bytes(100_000)
        client.create_bucket(Bucket="bucket")
        stored = 0
        while error_of(client.put_object, Bucket="bucket", Key=f"{stored:04}", Body=content) == ("", 200):
            stored += 1
        assert stored > 500
        for refused in (
            error_of(client.put_object, Bucket="bucket", Key="large", Body=bytes(MIB)),
            error_of(client.put_object, Bucket="bucket", Key="tiny", Body=b"x"),
            error_of(client.create_bucket, Bucket="another"),
            error_of(client.create_multipart_upload, Bucket="bucket", Key="large"),
            error_of(client.copy_object, Bucket="bucket", Key="copy", CopySource="bucket/0000"),
        ):
            assert refused == FULL
        assert server.unfinished_files() == []
        assert client.get_object(Bucket="bucket", Key="0000")["Body"].read() == content

        for number in range(stored):  # the index's log is filled several times by that
            client.delete_object(Bucket="bucket", Key=f"{number:04}")
        for number in range(stored // 2):  # and what was used in the index is used again
            client.put_object(Bucket="bucket", Key=f"{number:04}", Body=content)


def test_a_disk_full_of_large_objects(disk: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", data=disk / "data", workers=1) as server:
        client, content = server.client(), bytes(20 * MIB)
        client.create_bucket(Bucket="bucket")
        stored = 0
        while error_of(client.put_object, Bucket="bucket", Key=f"{stored}", Body=content) == ("", 200):
            stored += 1
        assert 4 <= stored < 8
        assert server.unfinished_files() == []
        client.delete_object(Bucket="bucket", Key="0")
        # The file is removed after the answer.
        assert comes(lambda: error_of(client.put_object, Bucket="bucket", Key="0", Body=content) == ("", 200))
        assert client.get_object(Bucket="bucket", Key="0")["Body"].read() == content


def test_a_disk_without_inodes_for_large_objects(tmp_path: Path) -> None:
    with (
        small_file_system(tmp_path / "disk", 400, inodes=200) as point,
        Server(tmp_path / "home", data=point / "data", workers=1) as server,
    ):
        client, content = server.client(), bytes(200_000)
        client.create_bucket(Bucket="bucket")
        stored = 0
        while error_of(client.put_object, Bucket="bucket", Key=f"{stored}", Body=content) == ("", 200):
            stored += 1
        assert 40 < stored < 150
        client.put_object(Bucket="bucket", Key="small", Body=b"x")  # which is no file
        server.kill()
        server.start()
        client.delete_object(Bucket="bucket", Key="0")
        assert comes(lambda: error_of(client.put_object, Bucket="bucket", Key="0", Body=content) == ("", 200))


def test_objects_can_be_removed_from_a_disk_that_others_have_filled(disk: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "home", data=disk / "data", workers=2) as server:
        client, filler, content = server.client(), disk / "filler", bytes(5 * MIB)
        reserve = disk / "data" / ".strongroom" / "reserve"
        client.create_bucket(Bucket="bucket")
        for number in range(4):
            client.put_object(Bucket="bucket", Key=f"{number}", Body=content)
        with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(MIB))
        assert error_of(client.put_object, Bucket="bucket", Key="more", Body=b"x") == FULL
        for number in range(40):  # so that what the log has left of its last page is used up
            error_of(
                client.put_object_tagging,
                Bucket="bucket",
                Key="0",
                Tagging={"TagSet": [{"Key": "k", "Value": str(number)}]},
            )
        client.delete_object(Bucket="bucket", Key="0")
        assert "what was kept for that is used now" in server.log
        assert comes(lambda: reserve.stat().st_size > 0)  # of the space of the object that is gone
        client.delete_object(Bucket="bucket", Key="1")
        filler.unlink()
        assert comes(lambda: error_of(client.put_object, Bucket="bucket", Key="0", Body=content) == ("", 200))
        assert client.get_object(Bucket="bucket", Key="2")["Body"].read() == content
