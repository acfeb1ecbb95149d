"""What clients make of an object that was spoilt on the disk: an error, never a file that looks whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.content import write
from tests.clients.programs import Program
from tests.clients.test_aws import aws_for
from tests.clients.test_mc import mc_for
from tests.clients.test_rclone import rclone_for
from tests.clients.test_s3cmd import s3cmd_for
from tests.server import Server
from tests.storage import blobs, spoil_file

pytestmark = pytest.mark.local

MIB = 1024**2


@pytest.fixture(scope="module")
def spoilt_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one object, ``bucket/object``, in which a bit is changed behind the first bytes that are sent."""
    home = tmp_path_factory.mktemp("spoilt")
    with Server(home, workers=1) as running:
        client = running.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="object", Body=write(home / "file", 6 * MIB))
        (blob,) = blobs(running)
        spoil_file(blob, 4 * MIB)
        yield running


def aws(server: Server, home: Path) -> Program:
    program = aws_for(server, home)
    program.environment["AWS_MAX_ATTEMPTS"] = "1"
    return program


def rclone(server: Server, home: Path) -> Program:
    return rclone_for(server, home, "--low-level-retries", "1")


GET: dict[str, tuple[Callable[[Server, Path], Program], tuple[str, ...]]] = {
    "mc": (mc_for, ("cp", "s/bucket/object", "back")),
    "aws": (aws, ("s3", "cp", "s3://bucket/object", "back")),
    "s3cmd": (s3cmd_for, ("get", "--max-retries=1", "s3://bucket/object", "back")),
    "rclone": (rclone, ("copyto", "s:bucket/object", "back")),
}


@pytest.mark.parametrize("name", GET)
def test_a_spoilt_object_is_not_downloaded(spoilt_server: Server, home: Path, name: str) -> None:
    make, arguments = GET[name]
    make(spoilt_server, home).refused(*arguments)
    back = home / "back"
    assert not back.exists() or back.stat().st_size < 6 * MIB
