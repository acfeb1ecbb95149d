"""The real server as a process of its own, for the tests: start it, talk to it, end it."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

ACCESS_KEY, SECRET_KEY = "test-access-key", "test-secret-key"
MASTER_KEY = "my-minio-key:6368616e676520746869732070617373776f726420746f206120736563726574"

SERVER, NAS = ("server",), ("gateway", "nas")


@dataclass
class Server:
    """A running ``strongroom server``, or another ``command``; a context manager that ends it and sees that it ended
    well.

    ``settings`` are further environment variables; None removes one of the defaults. ``certs`` is a directory with
    ``public.crt`` and ``private.key`` (TLS then). ``data`` is the directory that is served, by default one in ``home``.
    With a ``backend`` (a URL) it is ``strongroom gateway s3``, and what it stores lies in ``data``. ``health`` is the
    check that says when it has started: "ready", or "live" where the backend does not answer.
    """

    home: Path
    settings: dict[str, str | None] = field(default_factory=dict)
    workers: int = 2
    certs: Path | None = None
    flags: tuple[str, ...] = ()
    port: int = 0
    command: tuple[str, ...] = SERVER
    data: Path | None = None
    backend: str | None = None
    health: str = "ready"
    directory: Path = Path()
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.directory = self.data or self.home / "data"
        if self.command == NAS:
            self.directory.mkdir(parents=True, exist_ok=True)  # which the gateway leaves to whoever mounts it
        self.port = self.port or free_port()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            code = self.stop()
            if kind is None:
                assert code == 0, self.log
        if kind is None:
            assert "Traceback" not in self.log, self.log

    @property
    def keys_like_files(self) -> bool:
        """Whether keys are bound as names of files are: none below another, no ``..``. The tests' backends are so."""
        return self.command == NAS or self.backend is not None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.certs else 'http'}://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the server printed, on both outputs."""
        return (self.home / "server.log").read_text(errors="replace")

    @property
    def environment(self) -> dict[str, str]:
        settings: dict[str, str | None] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MINIO_ACCESS_KEY": ACCESS_KEY,
            "MINIO_SECRET_KEY": SECRET_KEY,
            "MINIO_SSE_MASTER_KEY": MASTER_KEY,
            "MINIO_SSE_AUTO_ENCRYPTION": "on",
            **self.settings,
        }
        return {name: value for name, value in settings.items() if value is not None}

    def start(self) -> None:
        """Start it, and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        command = ["gateway", "s3"] if self.backend else self.command
        arguments = [*command, "--address", f"127.0.0.1:{self.port}", "--workers", str(self.workers), *self.flags]
        if self.certs:
            arguments += ["--certs-dir", str(self.certs)]
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "strongroom", *arguments, self.backend or str(self.directory)],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL to the server and its workers at once, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)
        self.process = None

    def worker_pids(self) -> list[int]:
        """The worker processes."""
        return [pid for pid in self.child_pids() if "spawn_main" in _command_line(pid)]

    def child_pids(self) -> list[int]:
        """The workers, and multiprocessing's helper."""
        assert self.process is not None
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def peak_memory(self) -> int:
        """The largest resident set that a worker has had, in bytes."""
        peaks = (re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in self.worker_pids())
        return max(int(peak[1]) * 1024 for peak in peaks if peak)

    def unfinished_files(self) -> list[Path]:
        """What lies in the store for uploads that are under way: files that nothing refers to yet."""
        if self.command == NAS:
            return [file for file in (self.directory / ".strongroom.sys/tmp").rglob("*") if file.is_file()]
        internal = self.directory / ".strongroom"
        if not internal.exists():
            return []  # a gateway to another S3 has none
        with contextlib.closing(sqlite3.connect(internal / "index.db", timeout=60)) as connection:
            known = {row[0].hex() for row in connection.execute("SELECT id FROM blobs UNION SELECT id FROM trash")}
        return [file for file in (internal / "blobs").rglob("*") if file.is_file() and file.name not in known]

    def client(self, **options: Any) -> Any:
        """boto3, with the root credentials and no retries; ``options`` are those of botocore's Config."""
        settings = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}, "read_timeout": 120, **options}
        verify = str(self.certs / "ca.crt") if self.certs else None
        return _connected_anew(_client(self.endpoint, verify, json.dumps(settings)), verify)

    def _ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.certs / "ca.crt")) if self.certs else None
        try:
            with urllib.request.urlopen(
                f"{self.endpoint}/minio/health/{self.health}", timeout=5, context=context
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@lru_cache
def _client(endpoint: str, verify: str | None, settings: str) -> Any:
    """A client of boto3, which takes longer to make than most requests."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
        verify=verify,
        config=Config(**json.loads(settings)),
    )


def _connected_anew(client: Any, verify: str | None) -> Any:
    """The same client (its events are shared) with connections of its own: to another worker, perhaps."""
    made, config = object.__new__(type(client)), client.meta.config
    vars(made).update(vars(client), _endpoint=copy.copy(client._endpoint))
    made._endpoint.http_session = type(client._endpoint.http_session)(
        verify=verify or True,
        timeout=(config.connect_timeout, config.read_timeout),
        max_pool_connections=config.max_pool_connections,
    )
    return made


def _command_line(pid: int) -> str:
    """How a process was called; "" if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def free_port() -> int:
    """A port that nobody listens on now, and that no other process of pytest-xdist chooses: its server would then be
    taken for the one that is started here.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port // 2 % processes == number % processes:  # Linux gives mostly ports of one parity
            return port
