"""Other S3 servers for gateways to stand before: real MinIO and versitygw, as processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config

from tests.server import SERVER, Server, free_port

TOOLS = Path(__file__).parent.parent / ".tools" / "bin"
ACCESS_KEY, SECRET_KEY = "backend-access", "backend-secret-key"


def program(name: str) -> str:
    """The path of a program that the tests drive; skips the test where it is missing (never with CI set)."""
    found = shutil.which(name, path=f"{TOOLS}:{os.environ['PATH']}")
    if found is None:
        if os.environ.get("CI"):
            raise AssertionError(f"{name} is not installed; see `make tools`")
        pytest.skip(f"{name} is not installed; `make tools` installs it")
    return found


@dataclass
class Backend:
    """A running S3 server: ``kind`` is "minio" or "versitygw". ``certs``: a directory with a certificate, for TLS."""

    kind: str
    home: Path
    certs: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)
    keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.port = self.port or free_port()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certs else 'http'}://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        """Where it keeps what it is given."""
        return self.home / "data"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.home / "backend.log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), env=self._environment(), stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self._serves():
            assert self.process.poll() is None, (self.home / "backend.log").read_text()
            assert time.monotonic() < deadline, (self.home / "backend.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)
            self.process = None

    def client(self, **options: Any) -> Any:
        """boto3, straight to the backend."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name="us-east-1",
            verify=str(self.certs / "ca.crt") if self.certs else None,
            config=Config(s3={"addressing_style": "path"}, **options),
        )

    def _command(self) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        if self.kind == "minio":
            command = [program("minio"), "server", "--quiet", "--address", address, str(self.data)]
            return [*command, "--certs-dir", str(self.certs)] if self.certs else command
        command = [program("versitygw"), "--port", address]
        if self.certs:
            command += ["--cert", str(self.certs / "public.crt"), "--key", str(self.certs / "private.key")]
        sidecar = self.home / "sidecar"
        sidecar.mkdir(exist_ok=True)
        return [*command, "posix", "--sidecar", str(sidecar), str(self.data)]

    def _environment(self) -> dict[str, str]:
        credentials = {
            "minio": {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off"},
            "versitygw": {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        }[self.kind]
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), **credentials, **self.settings}

    def _serves(self) -> bool:
        try:
            self.client(connect_timeout=2, read_timeout=5, retries={"max_attempts": 0}).list_buckets()
        except Exception:
            return False
        return True


def served_by(
    backend: Backend | None,
    home: Path,
    settings: dict[str, str | None],
    certs: Path | None = None,
    command: tuple[str, ...] = SERVER,
    workers: int = 2,
) -> Server:
    """A gateway before a backend; a server where there is none."""
    if backend is None:
        return Server(home, settings, workers=workers, certs=certs, command=command)
    credentials: dict[str, str | None] = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "STRONGROOM_BACKEND_CA": str(backend.certs / "ca.crt") if backend.certs else None,
    }
    settings = {**credentials, **settings}
    return Server(home, settings, workers=workers, certs=certs, backend=backend.endpoint, data=backend.data)
