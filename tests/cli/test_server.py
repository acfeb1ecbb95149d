"""The server itself, started as its users start it and asked over HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import boto3
import pytest
from botocore.config import Config

from tests.cli.conftest import Command
from tests.waiting import comes

Banner = Callable[[subprocess.Popen[str], str], str]
DEV = ("server", "--dev", "--address", "127.0.0.1:0", "--workers", "2")


def endpoint_in(shown: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+", shown)
    assert found is not None
    return found[0]


def exchange(endpoint: str, put: bytes | None) -> bytes:
    """Put an object, if there is one to put; what it reads as."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="minioadmin",
        aws_secret_access_key="minioadmin",
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        if put is not None:
            client.create_bucket(Bucket="bucket")
            client.put_object(Bucket="bucket", Key="key", Body=put)
        answer = client.get_object(Bucket="bucket", Key="key")
        assert answer["ServerSideEncryption"] == "AES256"
        content: bytes = answer["Body"].read()
        return content
    finally:
        client.close()


def test_dev_serves_encrypted_and_finds_its_data_again(command: Command, banner: Banner, tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    plaintext = b"nobody may find this on the disk" * 10
    first = command.start(*DEV, str(directory))
    shown = banner(first, "mc alias set")
    assert "For development only." in shown
    assert "Auto-encryption: on" in shown and "strongroom-dev" in shown and "Workers:         2" in shown
    assert shown.rstrip().endswith(f"mc alias set strongroom {endpoint_in(shown)} minioadmin minioadmin")
    assert exchange(endpoint_in(shown), plaintext) == plaintext
    first.terminate()
    assert first.wait(20) == 0
    second = command.start(*DEV, str(directory))
    assert exchange(endpoint_in(banner(second, "mc alias set")), None) == plaintext
    second.terminate()
    assert second.wait(20) == 0
    files = [file for file in directory.rglob("*") if file.is_file()]
    assert files
    assert not any(plaintext[:32] in file.read_bytes() for file in files)
    assert all(stat.S_IMODE(file.stat().st_mode) & 0o077 == 0 for file in [directory, *files])


def test_the_banner_shows_no_credentials_that_are_secret(command: Command, banner: Banner, tmp_path: Path) -> None:
    environment = {"MINIO_ROOT_USER": "somebody", "MINIO_ROOT_PASSWORD": "correct horse"}
    with_dev = command.start(*DEV, str(tmp_path / "data"), **environment)
    assert "correct horse" not in banner(with_dev, "mc alias set")
    arguments = [argument for argument in DEV if argument != "--dev"]
    without = command.start(*arguments, str(tmp_path / "other"), **environment)
    shown = banner(without, "Workers:")
    assert "correct horse" not in shown and "somebody" not in shown
    assert "none: SSE-S3 is not available" in shown


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (
            {},
            ["Master key:      none: pass-through; nothing is encrypted here, the backend is asked to"],
        ),
        (
            {"MINIO_SSE_MASTER_KEY": f"my-key:{'5a' * 32}", "MINIO_GATEWAY_SSE": "s3;c"},
            ["Master key:      my-key", "Encrypts twice:  SSE-S3 and SSE-KMS objects, SSE-C objects"],
        ),
    ],
)
def test_the_banner_of_a_gateway_says_who_encrypts(
    command: Command, banner: Banner, settings: dict[str, str], lines: list[str]
) -> None:
    settings |= {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "correct horse"}
    process = command.start("gateway", "s3", "--address", "127.0.0.1:0", "https://127.0.0.1:1", **settings)
    shown = [line.strip() for line in banner(process, "Workers:").splitlines()]
    assert [line for line in lines if line not in shown] == []


def test_load_balancers_are_told_that_it_lives(command: Command, banner: Banner, tmp_path: Path) -> None:
    endpoint = endpoint_in(banner(command.start(*DEV, str(tmp_path / "data")), "mc alias set"))
    for path in ("/minio/health/live", "/minio/health/ready", "/minio/health/cluster"):
        with urlopen(endpoint + path, timeout=20) as answer:
            assert answer.status == 200, path


def test_a_reload_while_it_starts_does_not_end_it(command: Command, banner: Banner, tmp_path: Path) -> None:
    process = command.start(*DEV, str(tmp_path / "data"))
    status = Path(f"/proc/{process.pid}/status")
    assert comes(lambda: re.search(r"SigIgn:.*[13579bdf]\n", status.read_text()) is not None)
    process.send_signal(signal.SIGHUP)
    assert "Workers:" in banner(process, "Workers:")


def caught(pid: int) -> set[int]:
    """The signals that a process handles."""
    [mask] = re.findall(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {number for number in range(1, 65) if int(mask, 16) >> number - 1 & 1}


def test_the_first_process_of_a_container_can_be_ended_while_it_starts(command: Command, tmp_path: Path) -> None:
    outer = [shutil.which("unshare") or "", "--pid", "--fork", "--kill-child"]
    if not outer[0] or subprocess.run([*outer, "true"], capture_output=True).returncode:
        pytest.skip("no process can be the first of its kind here")
    command.before = outer
    process = command.start(*DEV, str(tmp_path / "data"))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    assert comes(lambda: bool(children.read_text()))
    first = children.read_text().strip()
    assert comes(lambda: signal.SIGTERM in caught(int(first)))
    os.kill(int(first), signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM
    assert process.stdout is not None
    assert process.stdout.read() == ""


def serve_once(command: Command, directory: Path) -> None:
    """Start a server on a directory, and end it once it has printed that it serves."""
    process = command.start(*DEV, str(directory))
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.wait(20)


def test_a_store_that_cannot_be_opened_stops_the_start(command: Command, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    serve_once(command, directory)
    for file in directory.rglob("*"):
        if file.is_file():
            file.write_bytes(b"this is no longer what it was" * 1000)
    done = command.run(*DEV, str(directory))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("strongroom: the store cannot be opened: ")
    assert line.endswith("the index is damaged (file is not a database): restore the whole from a back-up")


def test_an_index_of_a_later_release_is_refused(command: Command, tmp_path: Path) -> None:
    directory = tmp_path / "data"
    serve_once(command, directory)
    with closing(sqlite3.connect(directory / ".strongroom" / "index.db")) as index:
        index.execute("PRAGMA user_version = 2")
    done = command.run(*DEV, str(directory))
    assert done.returncode == 1
    assert done.stderr.endswith("not one of this release: use the release that wrote it\n")
