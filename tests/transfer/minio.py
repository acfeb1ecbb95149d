"""A real MinIO of today as a process of its own, to copy from."""

from __future__ import annotations

import base64
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import pytest
from botocore.config import Config

from tests.server import free_port

PROGRAM = Path(__file__).parents[2] / ".tools" / "bin" / "minio"
USER, PASSWORD = "minio-user", "minio-password"


@dataclass
class MinIO:
    """A running ``minio server`` with a KMS key; a context manager."""

    home: Path
    certs: Path | None = None
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certs else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        if not PROGRAM.exists():
            if os.environ.get("CI"):
                pytest.fail("minio is not there: make tools")
            pytest.skip("minio is not there: make tools")
        self.port = free_port()
        self.home.mkdir(parents=True, exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MINIO_ROOT_USER": USER,
            "MINIO_ROOT_PASSWORD": PASSWORD,
            "MINIO_KMS_SECRET_KEY": "minio-key:" + base64.b64encode(bytes(32)).decode(),
            "MINIO_BROWSER": "off",
            "MINIO_UPDATE": "off",
        }
        certs = self.certs or self.home / "no-certs"
        arguments = ["server", "--quiet", "--address", f"127.0.0.1:{self.port}", "--certs-dir", str(certs)]
        with (self.home / "minio.log").open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, *arguments, str(self.home / "data")], env=environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.home / "minio.log").read_text()
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=USER,
            aws_secret_access_key=PASSWORD,
            region_name="us-east-1",
            verify=str(self.certs / "ca.crt") if self.certs else None,
            config=Config(s3={"addressing_style": "path"}),
        )

    def _ready(self) -> bool:
        try:
            self.client().list_buckets()
        except Exception:
            return False
        return True
