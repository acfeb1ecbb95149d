"""Gateways that are killed at any moment leave nothing half, nothing locked, and nothing in plaintext."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nas.load import Load, gateways_on, kills_wanted, plaintext_below

SFTP_SERVER = "/usr/lib/openssh/sftp-server"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to share: where TEST_NAS_FOLDER says (a mount, say), in a folder of its own there."""
    given = os.environ.get("TEST_NAS_FOLDER")
    made = Path(given, f"killed-{os.getpid()}") if given else tmp_path / "data"
    made.mkdir()
    return made


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder behind FUSE: sshfs, which speaks to an SFTP server on its standard input and output."""
    if shutil.which("sshfs") is None or not os.access("/dev/fuse", os.W_OK) or not os.access(SFTP_SERVER, os.X_OK):
        pytest.skip("needs sshfs, an SFTP server and the right to mount")
    behind, point, connect = tmp_path / "behind", tmp_path / "mounted", tmp_path / "connect"
    behind.mkdir()
    point.mkdir()
    connect.write_text(f"#!/bin/sh\nexec {SFTP_SERVER}\n")
    connect.chmod(0o700)
    done = subprocess.run(
        ["sshfs", "-o", f"ssh_command={connect}", f"none:{behind}", str(point)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"sshfs cannot mount here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["fusermount3", "-u", str(point)], check=True)


def check_kills(folder: Path, home: Path, kills: int) -> None:
    """Kill gateways on a folder so often, and see that all is well."""
    with ExitStack() as stack:
        one, two = (stack.enter_context(server) for server in gateways_on(folder, home))
        one.client().create_bucket(Bucket="bucket")
        load = Load([one, two])
        load.run(kills)
        print(f"{len(load.acknowledged)} keys, {load.conditional} conditional writes")
        assert len(load.acknowledged) > kills and load.conditional > 5
        for gateway in (one, two):
            assert load.check(gateway) > kills // 2
        assert plaintext_below(folder) == []
        # Nothing is locked: every name can be written at once.
        for key in load.acknowledged:
            two.client().put_object(Bucket="bucket", Key=key, Body=b"")


def test_after_many_kills_all_that_was_acknowledged_is_whole_for_the_other_gateway(
    folder: Path, tmp_path: Path
) -> None:
    check_kills(folder, tmp_path, kills_wanted(50))


def test_kills_lose_nothing_behind_fuse_either(mounted: Path, tmp_path: Path) -> None:
    check_kills(mounted, tmp_path, kills_wanted(50) // 5)
