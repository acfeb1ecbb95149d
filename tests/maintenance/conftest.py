"""Places that jobs work on while they are served: a directory, a shared folder, another S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import served_by
from tests.server import NAS, SERVER, Server

Serve = Callable[[dict[str, str | None]], Server]


@pytest.fixture(params=["server", "nas", "minio", "versitygw"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Serves one place with these settings, instead of those before."""
    running: list[Server] = []

    def start(settings: dict[str, str | None]) -> Server:
        stop()
        settings = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on", **settings}
        backend = request.getfixturevalue(request.param) if request.param in ("minio", "versitygw") else None
        server = served_by(backend, tmp_path, settings, command=NAS if request.param == "nas" else SERVER)
        server.workers = 1
        running.append(server)
        return server.__enter__()

    def stop() -> None:
        while running:
            running.pop().__exit__(None, None, None)

    yield start
    stop()
