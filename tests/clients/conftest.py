"""What every client's tests start from: an empty home, and endpoints.

The stores behind the endpoints are those of the fixtures ``server``, ``plain_server`` and ``tls_server``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.content import plaintext_in
from tests.server import Server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with nothing in it."""
    directory = tmp_path / "home"
    directory.mkdir()
    return directory


@pytest.fixture
def sealed_server(server: Server) -> Iterator[Server]:
    """``server``, whose directory is searched for known plaintext when the test has ended."""
    yield server
    assert plaintext_in(server.directory) == []


@pytest.fixture
def sealed_tls_server(tls_server: Server) -> Iterator[Server]:
    """``tls_server``, whose directory is searched for known plaintext when the test has ended."""
    yield tls_server
    assert plaintext_in(tls_server.directory) == []
