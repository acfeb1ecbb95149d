"""Gateways on a folder of each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import NAS, Server

MIXED: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None, "STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
"""Settings of a gateway that encrypts what asks for it."""


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway that encrypts what asks for it."""
    with Server(tmp_path_factory.mktemp("gateway"), MIXED, command=NAS) as running:
        yield running


@pytest.fixture
def shared(gateway: Server, bucket_name: str) -> Path:
    """The folder of an empty bucket of ``gateway``, as whoever mounts the share sees it; its name is the bucket's."""
    gateway.client().create_bucket(Bucket=bucket_name)
    return gateway.directory / bucket_name
