"""What lies in a directory is served as what it is, and jobs look at all of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import NAS, Server


def run(server: Server, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the directory of a server that was stopped."""
    arguments = [sys.executable, "-m", "strongroom", *command, str(server.directory)]
    return subprocess.run(arguments, env=server.environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_folder_of_a_gateway_is_served_as_that(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    with Server(tmp_path, command=NAS, data=folder, workers=1) as gateway:
        gateway.client().create_bucket(Bucket="bucket")
        gateway.client().put_object(Bucket="bucket", Key="o", Body=b"of the gateway")
    with Server(tmp_path / "again", data=folder, workers=1) as server:
        assert server.client().get_object(Bucket="bucket", Key="o")["Body"].read() == b"of the gateway"
        server.client().put_object(Bucket="bucket", Key="p", Body=b"of the server")
    assert not (folder / ".strongroom").exists()
    with Server(tmp_path / "last", command=NAS, data=folder, workers=1) as gateway:
        assert gateway.client().get_object(Bucket="bucket", Key="p")["Body"].read() == b"of the server"


@pytest.mark.parametrize("command", [("server",), NAS, ("audit",), ("rewrap",), ("encrypt",)], ids=" ".join)
def test_a_directory_of_a_server_and_of_a_gateway_at_once_is_refused(tmp_path: Path, command: tuple[str, ...]) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
    (server.directory / ".strongroom.sys").mkdir()
    done = run(server, *command)
    assert done.returncode == 2
    assert "has '.strongroom', of a server, and '.strongroom.sys', of a gateway" in done.stderr


def test_a_gateway_does_not_take_the_directory_of_a_server(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
    done = run(server, *NAS)
    assert done.returncode == 2
    assert "of a server, and is no shared folder" in done.stderr
    assert not (server.directory / ".strongroom.sys").exists()


def test_an_audit_of_nothing_says_so(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
    assert "there is no object here: is this the place" in run(server, "audit").stdout
