"""A MinIO to copy from, and the command that copies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.server import ACCESS_KEY, SECRET_KEY, Server
from tests.transfer.minio import PASSWORD, USER, MinIO


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[MinIO]:
    """A MinIO over TLS, so that it takes clients' keys."""
    with MinIO(tmp_path_factory.mktemp("minio"), certificates) as running:
        yield running


@pytest.fixture
def source(minio: MinIO, bucket_name: str) -> Any:
    """A client of the MinIO, which has an empty bucket."""
    client = minio.client()
    client.create_bucket(Bucket=bucket_name)
    return client


@pytest.fixture
def ends(minio: MinIO, tls_server: Server, bucket_name: str) -> tuple[str, ...]:
    """The arguments that name both ends."""
    ca = str(minio.certs / "ca.crt") if minio.certs else ""
    return (f"{minio.endpoint}/{bucket_name}", tls_server.endpoint, "--source-ca", ca, "--target-ca", ca)


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.out)
        return report


def environment(home: Path, source: tuple[str, str] = (USER, PASSWORD)) -> dict[str, str]:
    """The environment of a command that copies, with keys for both ends."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "STRONGROOM_SOURCE_ACCESS_KEY": source[0],
        "STRONGROOM_SOURCE_SECRET_KEY": source[1],
        "STRONGROOM_TARGET_ACCESS_KEY": ACCESS_KEY,
        "STRONGROOM_TARGET_SECRET_KEY": SECRET_KEY,
    }


@pytest.fixture
def strongroom(tmp_path: Path) -> Callable[..., Ended]:
    """Run a command to its end."""

    def run(*arguments: str, **changes: str) -> Ended:
        process = subprocess.run(
            [sys.executable, "-m", "strongroom", *arguments],
            env=environment(tmp_path / "home") | changes, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in process.stderr, process.stderr
        return Ended(process.returncode, process.stdout, process.stderr)

    return run
