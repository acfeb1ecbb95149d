"""Places that jobs work on while they are served: a directory, a shared folder, another S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import served_by
from tests.server import NAS, SERVER, Server

Serve = Callable[[dict[str, str | None]], Server]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that serves a place over each kind of it; over the second backend where it is marked."""
    if "serve" in metafunc.fixturenames:
        more = ["versitygw"] if metafunc.definition.get_closest_marker("every_backend") else []
        metafunc.parametrize("serve", ["server", "nas", "minio", *more], indirect=True)


@pytest.fixture
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """Serves one place with these settings, instead of those before."""
    running: list[Server] = []

    def start(settings: dict[str, str | None]) -> Server:
        stop()
        settings = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on", **settings}
        backend = request.getfixturevalue(request.param) if request.param in ("minio", "versitygw") else None
        server = served_by(backend, tmp_path, settings, command=NAS if request.param == "nas" else SERVER, workers=1)
        running.append(server)
        return server.__enter__()

    def stop() -> None:
        while running:
            running.pop().__exit__(None, None, None)

    yield start
    stop()
