"""What lies in a directory is served as what it is, and jobs look at all of it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.cli.layout import recognised
from strongroom.config import LocalDirectory, SettingError, SharedFolder
from tests.server import MASTER_KEY, NAS, Server


def run(server: Server, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the directory of a server that was stopped, with its settings and others."""
    return run_at(server, str(server.directory), *command, **settings)


def run_at(server: Server, place: str, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The same on another place."""
    arguments = [sys.executable, "-m", "strongroom", *command, place]
    return subprocess.run(
        arguments, env={**server.environment, **settings}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that a server with an empty bucket left."""
    with Server(tmp_path_factory.mktemp("left"), workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
    return server.directory


@pytest.fixture
def stopped(left: Path, tmp_path: Path) -> Server:
    """A server that was stopped, with an empty bucket."""
    server = Server(tmp_path)
    server.directory = tmp_path / "data"
    shutil.copytree(left, server.directory)
    return server


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
def test_a_directory_of_a_server_and_of_a_gateway_at_once_is_refused(stopped: Server, command: tuple[str, ...]) -> None:
    (stopped.directory / ".strongroom.sys").mkdir()
    done = run(stopped, *command)
    assert done.returncode == 2
    assert "has '.strongroom', of a server, and '.strongroom.sys', of a gateway" in done.stderr


def test_a_new_server_says_that_it_does_not_serve_what_lies_in_its_directory(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    (folder / "bucket").mkdir(parents=True)
    for told in (True, False):  # the second start finds its own
        with Server(tmp_path / str(told), data=folder, workers=1) as server:
            assert ("there are other files here, which are not served" in server.log) == told
            assert server.client().list_buckets()["Buckets"] == []


def test_a_gateway_does_not_take_the_directory_of_a_server(stopped: Server) -> None:
    done = run(stopped, *NAS)
    assert done.returncode == 2
    assert "of a server, and is no shared folder" in done.stderr
    assert not (stopped.directory / ".strongroom.sys").exists()


@pytest.mark.parametrize("command", [("server",), NAS], ids=" ".join)
def test_what_a_server_keeps_for_itself_is_not_served(stopped: Server, command: tuple[str, ...]) -> None:
    kept = stopped.directory / ".strongroom"
    before = sorted(kept.iterdir())
    stopped.directory = kept
    done = run(stopped, *command)
    assert done.returncode == 2
    assert "name the directory that" in done.stderr
    assert sorted(kept.iterdir()) == before


def test_an_audit_of_nothing_says_so(stopped: Server) -> None:
    assert "there is no object here: is this the place" in run(stopped, "audit").stdout
    assert run(stopped, "audit", "--bucket", "missing").stderr == "strongroom: there is no such bucket: missing\n"


@pytest.mark.parametrize("job", ["audit", "rewrap", "adopt"])
@pytest.mark.parametrize(
    ("place", "settings", "why"),
    [
        ("https://127.0.0.1:1/bucket", {}, "URL: there must be nothing behind the host and port"),
        ("https://user:word@127.0.0.1:1", {}, "URL: credentials do not belong into the URL"),
        ("https://127.0.0.1:1", {"STRONGROOM_BACKEND_CA": "/missing.crt"}, "STRONGROOM_BACKEND_CA (--backend-ca): "),
    ],
)
def test_a_backend_that_cannot_be_asked_stops_a_job_with_one_line(
    stopped: Server, job: str, place: str, settings: dict[str, str], why: str
) -> None:
    done = run_at(stopped, place, job, **settings)
    assert done.returncode == 2
    assert done.stderr.startswith(f"strongroom: {why}") and done.stderr.count("\n") == 1


def test_an_audit_under_another_key_does_not_say_that_there_is_nothing(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        server.client().put_object(Bucket="bucket", Key="o", Body=b"x", ServerSideEncryption="AES256")
    done = run(server, "audit", MINIO_SSE_MASTER_KEY="my-minio-key:" + "ff" * 32)
    assert done.returncode == 3
    assert "failed: bucket/o: " in done.stdout and "there is no object here" not in done.stdout


def test_a_directory_that_has_lost_its_index_is_not_served_as_a_new_one(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        server.client().put_object(Bucket="bucket", Key="o", Body=bytes(300_000))
    for file in (server.directory / ".strongroom").glob("index.db*"):
        file.unlink()
    assert "index.db' is lost: restore the whole" in run(server, "audit").stderr
    done = run(server, "server", "--address", "127.0.0.1:0")
    assert done.returncode != 0
    assert "index.db is lost, and what lies beside it cannot be read without it" in done.stderr


def test_a_job_says_that_the_index_is_damaged(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        for number in range(200):
            server.client().put_object(Bucket="bucket", Key=f"o{number}", Body=bytes(1000))
    index = server.directory / ".strongroom" / "index.db"
    with index.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (index.stat().st_size - 8192))
    done = run(server, "audit")
    assert done.returncode == 1
    said = "the index is damaged (database disk image is malformed): restore the whole from a back-up"
    assert done.stderr == f"strongroom: {str(server.directory)!r}: {said}\n"


def test_a_job_takes_no_index_that_cannot_be_written_for_a_damaged_one(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        for number in range(200):
            client.put_object(Bucket="bucket", Key=f"o{number}", Body=bytes(1000))
    keys = {"MINIO_SSE_MASTER_KEY": f"new:{'ab' * 32}", "STRONGROOM_READ_KEYS": MASTER_KEY}
    limited = ["prlimit", "--fsize=100000", sys.executable, "-m", "strongroom", "rewrap", str(server.directory)]
    done = subprocess.run(limited, env={**server.environment, **keys}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the index cannot be read or written (disk I/O error): look at its disk, and at who owns it" in done.stderr
    assert "damaged" not in done.stderr and "Traceback" not in done.stderr
    assert run(server, "rewrap", **keys).returncode == 0
    assert "0 objects" in run(server, "rewrap", **keys).stdout


def test_an_audit_finds_blobs_that_are_cut_or_missing(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        for key, size in (("cut", 300_000), ("missing", 400_000), ("whole", 500_000)):
            client.put_object(Bucket="bucket", Key=key, Body=bytes(size), ServerSideEncryption="AES256")
    blobs = sorted((server.directory / ".strongroom" / "blobs").glob("*/*"), key=lambda blob: blob.stat().st_size)
    os.truncate(blobs[0], 1000)
    blobs[1].unlink()
    done = run(server, "audit")
    assert done.returncode == 3
    assert sorted(line for line in done.stdout.splitlines() if line.startswith("failed: ")) == [
        "failed: bucket/cut: a blob of 'cut' has another length than was recorded",
        "failed: bucket/missing: the blob of bucket/missing is missing",
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("command", [("server",), ("audit",), ("rewrap",), ("encrypt",)], ids=" ".join)
def test_root_leaves_nothing_in_the_directory_of_another_user(stopped: Server, command: tuple[str, ...]) -> None:
    internal = stopped.directory / ".strongroom"
    os.chown(internal, 54_321, 54_321)
    before = sorted(internal.rglob("*"))
    done = run(stopped, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert "belongs to the user with the id 54321" in done.stderr and "run this as that user" in done.stderr
    assert sorted(internal.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_root_does_not_make_a_server_s_directory_of_one_that_is_another_user_s(stopped: Server) -> None:
    directory = stopped.directory / "new"
    directory.mkdir()
    os.chown(directory, 54_321, 54_321)
    stopped.directory = directory
    done = run(stopped, "server")
    assert (done.returncode, done.stdout) == (2, "")
    assert "belongs to the user with the id 54321" in done.stderr and "run this as that user" in done.stderr
    assert list(directory.iterdir()) == []


def is_of(monkeypatch: pytest.MonkeyPatch, internal: Path, owner: int) -> None:
    """Let a directory seem to belong to a user."""
    real = Path.stat

    def stat(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        return os.stat_result([*found[:4], owner, *found[5:]]) if path == internal else found

    monkeypatch.setattr(Path, "stat", stat)


def test_the_owner_is_named_and_may_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".strongroom").mkdir()
    somebody = next(user for user in pwd.getpwall() if user.pw_uid)
    is_of(monkeypatch, tmp_path / ".strongroom", somebody.pw_uid)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SettingError, match=f"belongs to {somebody.pw_name}, .* sudo -u {somebody.pw_name} strongroom"):
        recognised(LocalDirectory(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: somebody.pw_uid)
    assert recognised(LocalDirectory(tmp_path)) == (LocalDirectory(tmp_path), [])


def test_root_may_use_what_is_its_own_and_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert recognised(LocalDirectory(tmp_path / "new")) == (LocalDirectory(tmp_path / "new"), [])
    (tmp_path / ".strongroom").mkdir()
    is_of(monkeypatch, tmp_path / ".strongroom", 0)
    assert recognised(LocalDirectory(tmp_path)) == (LocalDirectory(tmp_path), [])
    assert recognised(SharedFolder(tmp_path)) == (SharedFolder(tmp_path), [])
