"""Servers that tests share, and buckets of each test's own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import make_certificates
from tests.server import NAS, SERVER, Server

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA's and a server's certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session", params=[SERVER, NAS], ids=["server", "nas"])
def command(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What is served: tests that use the servers below run over each of them."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, command: tuple[str, ...]) -> Iterator[Server]:
    """A server that encrypts everything, and takes clients' keys without TLS."""
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with Server(tmp_path_factory.mktemp("server"), settings, command=command) as running:
        yield running


@pytest.fixture(scope="session")
def plain_server(tmp_path_factory: pytest.TempPathFactory, command: tuple[str, ...]) -> Iterator[Server]:
    """A server with a master key that encrypts what asks for it."""
    settings: dict[str, str | None] = {
        "MINIO_SSE_AUTO_ENCRYPTION": None,
        "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
        "MINIO_DOMAIN": "s3.test",
    }
    with Server(tmp_path_factory.mktemp("plain"), settings, command=command) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server(
    tmp_path_factory: pytest.TempPathFactory, certificates: Path, command: tuple[str, ...]
) -> Iterator[Server]:
    """A server that encrypts everything, over TLS."""
    with Server(tmp_path_factory.mktemp("tls"), certs=certificates, command=command) as running:
        yield running


@pytest.fixture
def bucket_name() -> str:
    """A name that no other test uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def bucket(server: Server, bucket_name: str) -> str:
    """An empty bucket of ``server``."""
    server.client().create_bucket(Bucket=bucket_name)
    return bucket_name


@pytest.fixture
def plain_bucket(plain_server: Server, bucket_name: str) -> str:
    """An empty bucket of ``plain_server``."""
    plain_server.client().create_bucket(Bucket=bucket_name)
    return bucket_name


@pytest.fixture
def tls_bucket(tls_server: Server, bucket_name: str) -> str:
    """An empty bucket of ``tls_server``."""
    tls_server.client().create_bucket(Bucket=bucket_name)
    return bucket_name
