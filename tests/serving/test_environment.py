"""What stands in the environment of the processes that a server starts, where others of the same user can read it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.server import ACCESS_KEY, MASTER_KEY, SECRET_KEY, Server

SECRETS = ("the-secret-key-of-the-backend", "the-token-of-the-backend", "of-another-program", SECRET_KEY, ACCESS_KEY)


def secrets(pid: int) -> set[str]:
    environment = Path(f"/proc/{pid}/environ").read_text()
    return {secret for secret in (*SECRETS, MASTER_KEY) if secret in environment}


def helper(server: Server, but: int = 0) -> int:
    """Multiprocessing's, once it runs; another one than ``but``."""
    for _ in range(400):
        for pid in server.child_pids():
            if pid != but and "resource_tracker" in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        time.sleep(0.05)
    raise TimeoutError


@pytest.fixture
def settings() -> dict[str, str | None]:
    return {
        "AWS_ACCESS_KEY_ID": "of-the-backend",
        "AWS_SECRET_ACCESS_KEY": SECRETS[0],
        "AWS_SESSION_TOKEN": SECRETS[1],
        "DATABASE_PASSWORD": SECRETS[2],
    }


def test_only_the_workers_of_a_gateway_get_the_keys_of_the_backend(
    tmp_path: Path, settings: dict[str, str | None]
) -> None:
    with Server(tmp_path, settings, workers=1, backend="http://127.0.0.1:1", health="live") as server:
        first = helper(server)
        assert secrets(first) == set()
        (worker,) = server.worker_pids()
        assert secrets(worker) == set(SECRETS[:3])
        for pid in (first, worker):
            os.kill(pid, signal.SIGKILL)
        assert secrets(helper(server, but=first)) == set()


def test_workers_of_a_server_do_not_get_keys_of_a_backend(tmp_path: Path, settings: dict[str, str | None]) -> None:
    with Server(tmp_path, settings, workers=1) as server:
        assert secrets(helper(server)) == set()
        assert [secrets(pid) for pid in server.worker_pids()] == [{SECRETS[2]}]
