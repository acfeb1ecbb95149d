"""An OpenBao over TLS that tests share, and keys of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.openbao import OpenBao

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def tls_bao(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[OpenBao]:
    """An OpenBao over TLS, with transit and AppRole, that no test seals or stops."""
    with OpenBao(tmp_path_factory.mktemp("tls-bao"), certificates) as running:
        running.prepare()
        yield running


@pytest.fixture
def key() -> str:
    """The name of a transit key that no other test uses."""
    return f"key-{next(_numbers)}"
