"""Starting, ending, crashing: real processes and real signals."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Callable

from tests.serving.conftest import Running, Start, until_closed
from tests.waiting import comes

Log = Callable[[], str]
SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


def refused(server: Running) -> bool:
    with contextlib.suppress(ConnectionRefusedError), server.connect():
        return False
    return True


def test_a_request_that_runs_at_sigterm_is_finished_and_the_exit_is_clean(start: Start) -> None:
    server = start("--workers=2")
    with server.connect() as connection:
        connection.sendall(SLOW)
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "slow\n"
        server.process.terminate()
        answer = until_closed(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.partition(b"\r\n\r\n")[2].isdigit()
    assert server.process.wait(20) == 0
    assert server.process.stdout.read().count("stopped") == 2  # each worker closed its store


def test_a_server_that_is_ending_refuses_new_connections_while_a_request_still_runs(start: Start) -> None:
    """They hung until its end, and so did the health checks of a load balancer."""
    server = start("--workers=2", "--idle-timeout=3600")
    with server.connect() as connection:
        connection.sendall(b"PUT /size HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        server.process.terminate()
        assert comes(lambda: refused(server))
        connection.sendall(b"12345")
        assert until_closed(connection).startswith(b"HTTP/1.1 200")
    assert server.process.wait(20) == 0


def test_sigint_ends_as_sigterm_does(start: Start) -> None:
    assert start().end(signal.SIGINT) == 0


def test_a_second_signal_ends_a_running_request_at_once(start: Start) -> None:
    server = start("--idle-timeout=3600")
    with server.connect() as connection:
        connection.sendall(b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")  # and never the body
        time.sleep(0.3)
        server.process.terminate()
        time.sleep(0.5)
        assert server.process.poll() is None
        assert server.end() == 1
        assert until_closed(connection) == b""


def test_a_client_that_takes_too_long_is_cut_off_when_the_server_ends(start: Start, log: Log) -> None:
    server = start("--idle-timeout=3600", "--stop-timeout=1")
    with server.connect() as connection:
        connection.sendall(b"PUT /size HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        ends_all_the_same(server, connection, log)


def test_a_request_that_does_not_end_without_its_client_either_is_cancelled(start: Start, log: Log) -> None:
    server = start("--stop-timeout=1")
    with server.connect() as connection:
        connection.sendall(SLOW.replace(b"/slow", b"/forever"))
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "forever\n"
        ends_all_the_same(server, connection, log)


def ends_all_the_same(server: Running, connection: socket.socket, log: Log) -> None:
    server.process.terminate()
    assert until_closed(connection) == b""
    assert server.process.wait(30) == 0
    assert server.process.stdout is not None
    assert "stopped" in server.process.stdout.read()
    assert "requests took too long to end, and were cut off" in log()


def test_a_worker_that_crashes_is_replaced(start: Start, log: Log) -> None:
    server = start()
    first = server.get("/")
    assert server.get("/crash") == b""
    second = server.get("/")
    assert second.isdigit() and second != first
    assert "a worker ended and is replaced" in log() and "SIGKILL" in log()
    assert server.end() == 0


def test_an_application_that_cannot_start_stops_the_server_with_its_reason_once(start: Start, log: Log) -> None:
    server = start("--workers=2", fails="start")
    assert server.process.wait(20) == 1
    assert log().count("the store is on fire") == 1
    assert "Traceback" not in log()


def test_an_unexpected_failure_at_the_start_is_logged_with_its_traceback(start: Start, log: Log) -> None:
    server = start(fails="factory")
    assert server.process.wait(20) == 1
    assert "RuntimeError: boom" in log() and "Traceback" in log()
    assert log().splitlines()[-1] == "the application could not be made; the log says why"


def test_workers_do_not_outlive_a_supervisor_that_was_killed(start: Start) -> None:
    server = start("--workers=2")
    server.process.kill()
    server.process.wait(20)
    assert comes(lambda: refused(server))


def test_an_unexpected_failure_of_the_supervisor_ends_the_workers_too(start: Start, log: Log) -> None:
    server = start("--workers=2", fails="announce")
    assert server.process.wait(20) == 1
    assert "RuntimeError: boom" in log()
    assert server.process.stdout is not None
    assert server.process.stdout.read().count("stopped") == 2


def test_sighup_without_tls_changes_nothing(start: Start, log: Log) -> None:
    server = start()
    before = server.get("/")
    server.process.send_signal(signal.SIGHUP)
    assert comes(lambda: "no certificate" in log())
    assert server.get("/") == before


def test_what_a_worker_holds_is_not_left_in_a_core_dump_or_the_environment(start: Start) -> None:
    server = start()
    worker = int(server.get("/"))
    for process in (worker, server.process.pid):
        with open(f"/proc/{process}/limits") as limits:
            core = next(line.split() for line in limits if line.startswith("Max core file size"))
        assert core[4:6] == ["0", "0"]


def test_connections_that_are_opened_at_once_are_spread_over_the_workers(start: Start) -> None:
    server = start("--workers=2")
    for _ in range(5):
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(server.connect()) for _ in range(16)]
            for connection in connections:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answers = {until_closed(connection).partition(b"\r\n\r\n")[2] for connection in connections}
        assert len(answers) == 2
