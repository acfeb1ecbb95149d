"""A directory for each store."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.base import Store
from tests.store.kinds import BACKENDS, KINDS, Kind

Run = Callable[[Callable[[Store], Awaitable[Any]]], Any]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of store in turn."""
    found: Kind = request.param
    return found


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Where the store lies: below TEST_STORES, if that is set (a mount, say)."""
    given = os.environ.get("TEST_STORES")
    yield Path(tempfile.mkdtemp(dir=given)) if given else tmp_path
    while BACKENDS:
        BACKENDS.popitem()[1].kill()


@pytest.fixture
def run(kind: Kind, directory: Path) -> Run:
    """Runs a coroutine with a store of the kind."""
    return lambda use: kind.run(directory, use)
