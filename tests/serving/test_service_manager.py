"""What the server tells a service manager, on the socket that systemd would give it."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strongroom.serving.service_manager import ServiceManager
from tests.serving.conftest import Start
from tests.waiting import comes


@contextlib.contextmanager
def listening(address: str) -> Iterator[Callable[..., str]]:
    """Yields what waits for the next message to this address, and raises TimeoutError if none comes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)

        def hear(patience: float = 20) -> str:
            heard.settimeout(patience)
            return heard.recv(4096).decode()

        yield hear


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_hears_when_the_server_serves_reloads_and_ends(
    start: Start, tmp_path: Path, abstract: bool
) -> None:
    name = str(tmp_path / "notify")
    with listening(f"\0{name}" if abstract else name) as hear:
        server = start("--workers=2", notify=f"@{name}" if abstract else name)
        assert hear() == "READY=1"
        assert server.get("/").isdigit()
        before = time.monotonic_ns()
        server.process.send_signal(signal.SIGHUP)
        first, _, second = hear().partition("\nMONOTONIC_USEC=")
        assert first == "RELOADING=1" and before <= int(second) * 1000 + 1000 <= time.monotonic_ns() + 1000
        assert hear() == "READY=1"
        assert server.end() == 0
        assert hear() == "STOPPING=1"


def test_the_service_manager_does_not_hear_of_a_server_that_cannot_start(start: Start, tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with listening(name) as hear:
        assert start(fails="start", notify=name).process.wait(20) == 1
        with pytest.raises(TimeoutError):
            hear(0.01)


def test_a_service_manager_that_does_not_listen_is_no_reason_not_to_serve(
    start: Start, tmp_path: Path, log: Callable[[], str]
) -> None:
    server = start(notify=str(tmp_path / "nobody"))
    assert server.get("/").isdigit()
    assert comes(lambda: "the service manager cannot be told" in log())
    assert server.end() == 0


def test_a_service_manager_that_reads_nothing_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = str(tmp_path / "notify")
    manager = ServiceManager(name)

    def tell() -> None:
        while not caplog.records:
            manager.ready()

    telling = threading.Thread(target=tell, daemon=True)
    with listening(name):
        telling.start()
        telling.join(20)
        assert not telling.is_alive()
    assert caplog.messages == ["the service manager cannot be told"]
