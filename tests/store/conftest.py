"""A directory for each store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.base import Store
from tests.backends import Backend
from tests.store.kinds import BACKENDS, KINDS, Kind

Run = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of store in turn."""
    found: Kind = request.param
    return found


@pytest.fixture(scope="session")
def emptied_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A MinIO for one test after the other, which empties it."""
    with Backend("minio", tmp_path_factory.mktemp("emptied-minio")) as running:
        yield running


@pytest.fixture
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where the store lies: below TEST_STORES, if that is set (a mount, say); for another S3, what stands for it."""
    given = os.environ.get("TEST_STORES")
    directory = Path(tempfile.mkdtemp(dir=given)) if given else tmp_path
    if "kind" in request.fixturenames and request.getfixturevalue("kind").name == "s3":
        BACKENDS[directory] = request.getfixturevalue("emptied_minio")
    yield directory
    while BACKENDS:
        _empty(BACKENDS.popitem()[1])


def _empty(minio: Backend) -> None:
    """Remove all buckets with all that is in them, open uploads too."""
    client = minio.client()
    client.meta.events.register(
        "before-call.s3.DeleteBucket", lambda params, **_: params["headers"].update({"x-minio-force-delete": "true"})
    )
    for bucket in client.list_buckets()["Buckets"]:
        client.delete_bucket(Bucket=bucket["Name"])


@pytest.fixture
def run(kind: Kind, directory: Path) -> Run:
    """Runs a coroutine with a store of the kind."""
    return lambda use: kind.run(directory, use)
