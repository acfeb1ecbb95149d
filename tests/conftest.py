"""Servers that tests share, and buckets of each test's own."""

from __future__ import annotations

import contextlib
import itertools
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.backends import Backend, served_by
from tests.certificates import make_certificates
from tests.openbao import OpenBao
from tests.server import NAS, SERVER, Server

_numbers = itertools.count(1)

# How long an example takes says nothing of the code: other things run on the same machine.
settings.register_profile("untimed", parent=settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a CA's and a server's certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Python 3.13 demands of certificates, whichever this one is."""

    def strict(**given: Any) -> ssl.SSLContext:
        context = default(**given)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    default = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.fixture(scope="session")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """An OpenBao over plain HTTP, with transit and AppRole, that no test seals or stops."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as running:
        running.prepare()
        yield running


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A MinIO."""
    with Backend("minio", tmp_path_factory.mktemp("minio")) as running:
        yield running


@pytest.fixture(scope="session")
def versitygw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """A versitygw."""
    with Backend("versitygw", tmp_path_factory.mktemp("versitygw")) as running:
        yield running


KINDS = ["server", "nas", "s3"]
"""What the common suites run over: `strongroom server`, `strongroom gateway nas`, and `strongroom gateway s3` before a
real MinIO.
"""

MORE_KINDS = ["s3-versitygw"]
"""What those marked ``every_backend`` run over too: the gateway before a real versitygw."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that needs a server over each way of serving, unless it looks into a server's own directory."""
    if "served" not in metafunc.fixturenames:
        return
    marked = metafunc.definition.get_closest_marker
    kinds = [*KINDS, *MORE_KINDS] if marked("every_backend") else KINDS
    if marked("on_disk"):
        kinds = KINDS[:2]
    if marked("local"):
        kinds = KINDS[:1]
    ids = [f"over-{kind}" for kind in kinds]
    metafunc.parametrize("served", kinds, indirect=True, scope="session", ids=ids)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say why each test that was run once more (``--reruns``) failed the first time."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("_", f"first run of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)
        for title, captured in report.sections:
            terminalreporter.write_sep("-", title)
            terminalreporter.write_line(captured)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes ``-n auto`` means: tests wait half of the time, for servers and for disks."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Distribute tests by the servers that they share, unless ``--dist`` says otherwise."""
    from tests.distribution import BySharedServers

    return BySharedServers(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def served(request: pytest.FixtureRequest) -> str:
    """The way of serving that the test is run over."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="session")
def command(served: str) -> tuple[str, ...]:
    """The command that serves it."""
    return NAS if served == "nas" else SERVER


@contextlib.contextmanager
def _backend(served: str, home: Path) -> Iterator[Backend | None]:
    if served in ("server", "nas"):
        yield None
        return
    kind = {"s3": "minio", "s3-versitygw": "versitygw"}[served]
    with Backend(kind, home) as running:
        yield running


@pytest.fixture(scope="session")
def backend(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend | None]:
    """The S3 that gateways stand before which encrypt everything; None for a server, which needs none."""
    with _backend(served, tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="session")
def plain_backend(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend | None]:
    """The same for those that store in plaintext too."""
    with _backend(served, tmp_path_factory.mktemp("plain-backend")) as running:
        yield running


@pytest.fixture(scope="session")
def server(
    backend: Backend | None, command: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that encrypts everything, and takes clients' keys without TLS."""
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with served_by(backend, tmp_path_factory.mktemp("server"), settings, command=command) as running:
        yield running


@pytest.fixture(scope="session")
def plain_server(
    plain_backend: Backend | None, command: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server with a master key that encrypts what asks for it."""
    settings: dict[str, str | None] = {
        "MINIO_SSE_AUTO_ENCRYPTION": None,
        "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
        "MINIO_DOMAIN": "s3.test",
    }
    with served_by(plain_backend, tmp_path_factory.mktemp("plain"), settings, command=command) as running:
        yield running


@pytest.fixture(scope="session")
def tls_server(
    backend: Backend | None, tmp_path_factory: pytest.TempPathFactory, certificates: Path, command: tuple[str, ...]
) -> Iterator[Server]:
    """A server that encrypts everything, over TLS."""
    with served_by(backend, tmp_path_factory.mktemp("tls"), {}, certs=certificates, command=command) as running:
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
