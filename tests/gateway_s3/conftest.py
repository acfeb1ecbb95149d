"""Backends that the tests of the S3 gateway share, each started when it is first needed."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backends import Backend, served_by
from tests.gateway_s3.proxy import Proxy
from tests.server import Server

Gateway = Callable[..., Server]


@pytest.fixture(scope="session")
def minio_tls(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Backend]:
    """A MinIO over TLS, with a KMS of its own: it encrypts with SSE-S3 and SSE-C."""
    kms = {"MINIO_KMS_SECRET_KEY": "minio-own-key:" + base64.b64encode(bytes(range(32))).decode()}
    with Backend("minio", tmp_path_factory.mktemp("minio-tls"), certificates, kms) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Makes gateways, which are stopped with the test: before a backend (or a proxy before it), with settings."""
    running: list[Server] = []

    def make(
        backend: Backend,
        settings: dict[str, str | None] | None = None,
        proxy: Proxy | None = None,
        certs: Path | None = None,
    ) -> Server:
        home = tmp_path / f"gateway-{len(running)}"
        allowed: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
        server = served_by(backend, home, {**allowed, **(settings or {})}, certs)
        server.workers = 1
        if proxy is not None:
            server.backend = proxy.endpoint
        running.append(server)
        return server.__enter__()

    yield make
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def raw_bucket(bucket_name: str) -> str:
    """A name for a bucket of the backend."""
    return bucket_name
