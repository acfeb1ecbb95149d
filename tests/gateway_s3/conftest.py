"""Backends that the tests of the S3 gateway share, each started when it is first needed."""

from __future__ import annotations

import base64
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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


@pytest.fixture(scope="session")
def versitygw_tls(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Backend]:
    """A versitygw over TLS, which encrypts nothing."""
    with Backend("versitygw", tmp_path_factory.mktemp("versitygw-tls"), certificates) as running:
        yield running


@dataclass
class RunningOn:
    """Gateways that run on when a test ends, for the next that needs such ones: by the backend and all settings."""

    start: Callable[[Server], Server]
    gateways: dict[object, list[Server]] = field(default_factory=lambda: defaultdict(list))


@pytest.fixture(scope="session")
def running_on() -> Iterator[RunningOn]:
    """The gateways that run on."""
    with contextlib.ExitStack() as stack:
        yield RunningOn(stack.enter_context)


@pytest.fixture
def gateway(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, running_on: RunningOn) -> Iterator[Gateway]:
    """Gives gateways before a backend (or a proxy before it), with settings: each time another one.

    What a test kills, and what is before a proxy or a backend of the test's own, is made ``alone``, for this test; the
    other gateways may have served before.
    """
    running: list[Server] = []
    taken: Counter[object] = Counter()

    def make(
        backend: Backend,
        settings: dict[str, str | None] | None = None,
        proxy: Proxy | None = None,
        certs: Path | None = None,
        alone: bool = False,
    ) -> Server:
        settings = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on", **(settings or {})}
        if alone or proxy is not None:
            server = served_by(backend, tmp_path / f"gateway-{len(running)}", settings, certs)
            server.workers = 1
            if proxy is not None:
                server.backend = proxy.endpoint
            running.append(server)
            return server.__enter__()
        kind = (backend.endpoint, certs, *sorted(settings.items()))
        gateways = running_on.gateways[kind]
        if taken[kind] == len(gateways):
            server = served_by(backend, tmp_path_factory.mktemp("gateway"), settings, certs)
            server.workers = 1
            gateways.append(running_on.start(server))
        taken[kind] += 1
        return gateways[taken[kind] - 1]

    yield make
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def raw_bucket(bucket_name: str) -> str:
    """A name for a bucket of the backend."""
    return bucket_name
