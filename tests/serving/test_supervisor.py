"""What the supervisor does when a worker dies, with processes that only seem to be."""

from __future__ import annotations

import errno
import math
import multiprocessing
import os
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from strongroom.config import LocalDirectory, from_process
from strongroom.serving import supervisor
from strongroom.serving.accept import AWAY, Load
from strongroom.serving.supervisor import CannotStart, _Supervisor
from strongroom.serving.worker import HANDLED, RELOAD, Shared, Task
from tests.serving.tiny import make


class Process:
    """One that is not there."""

    exitcode = -9
    pid = 0
    blocked: frozenset[int] = frozenset()
    """The signals that the one which was started last has blocked."""
    terminated = 0
    """How many were told to end."""

    def __init__(self, **_: object) -> None:
        pass

    def start(self) -> None:
        Process.blocked = frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ()))

    def terminate(self) -> None:
        Process.terminated += 1

    def join(self) -> None:
        pass


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> _Supervisor:
    """Of two workers, which both serve."""
    monkeypatch.setattr(supervisor, "_spawn", SimpleNamespace(Pipe=multiprocessing.Pipe, Process=Process))
    settings = from_process({}, LocalDirectory(Path("unused")), dev=True)
    made = _Supervisor(Task(make, settings, None), [], 2)
    for number in range(2):
        made._workers.append(made._start(number))
        made._workers[number].ready = True
    return made


def test_where_nothing_can_be_shared_the_start_stops_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(count: int) -> Shared:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Shared, "for_workers", refuse)
    settings = from_process({}, LocalDirectory(Path("unused")), dev=True)
    with pytest.raises(CannotStart, match=r"/dev/shm .*TMPDIR.*Read-only file system$"):
        _Supervisor(Task(make, settings, None), [], 2)


def test_a_worker_that_fails_to_come_back_again_and_again_is_tried_for_ever(two: _Supervisor) -> None:
    for _ in range(1100):
        two._bury(two._workers[1])
        ((_, number),) = two._due
        two._due.clear()
        two._workers.append(two._start(number))
    assert two._crashes == 1100


def test_pauses_grow_with_each_crash_in_a_row_and_a_crash_after_a_long_life_is_the_first_of_its_row(
    two: _Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = two._workers[1].started = 1000.0
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: now))

    def pause() -> float:
        """For how long worker 1, which crashes now, is not there."""
        nonlocal now
        begun = now
        two._bury(two._workers[1])
        ((due, _),) = two._due
        now = due - 0.001
        two._replace()
        assert [worker.number for worker in two._workers] == [0]
        now = due
        two._replace()
        assert [worker.number for worker in two._workers] == [0, 1] and not two._due
        return due - begun

    assert [pause() for _ in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]
    now += 60
    assert pause() == 30
    now += 61
    assert [pause() for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("exitcode", [0, 1, -9])
def test_an_end_at_which_a_worker_fails_is_not_clean(
    two: _Supervisor, exitcode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    two._signals = 1
    monkeypatch.setattr(Process, "exitcode", exitcode)
    two._bury(two._workers[0])
    monkeypatch.setattr(Process, "exitcode", 0)
    two._bury(two._workers[0])
    assert two._unclean is (exitcode != 0) and not two._due


def test_a_worker_for_which_there_is_no_room_comes_later_and_the_others_serve_on(
    two: _Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ended, with all that it was doing, where the system had no process left for a moment."""
    made = Process.start
    monkeypatch.setattr(Process, "start", refused)
    two._bury(two._workers[1])
    two._replace()
    assert [worker.number for worker in two._workers] == [0]
    monkeypatch.setattr(Process, "start", made)
    two._due = [(0, number) for _, number in two._due]
    two._replace()
    assert [worker.number for worker in two._workers] == [0, 1]


def test_where_no_worker_can_be_started_the_start_stops_with_a_line(
    two: _Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Process, "start", refused)
    two._workers.clear()
    with pytest.raises(CannotStart, match="a worker process cannot be started: Resource temporarily unavailable"):
        two._bring_up(0)


def refused(self: Process) -> None:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def test_a_server_all_of_whose_workers_are_yet_to_be_replaced_does_not_say_that_it_serves(
    two: _Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    two._workers.clear()
    two._due = [(math.inf, 0)]
    monkeypatch.setattr(two, "_wait", lambda heard: two._due.clear())
    announced: list[None] = []
    with socket.socket() as heard:
        two._watch(heard, lambda: announced.append(None))
    assert announced == [] and not two._due, "but waits for them"


def test_it_sleeps_until_something_comes_or_the_first_replacement_is_due(
    two: _Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float | None] = []

    def sleep(sources: list[object], timeout: float | None) -> list[object]:
        slept.append(timeout)
        return []

    monkeypatch.setattr(supervisor, "wait", sleep)
    monkeypatch.setattr(supervisor, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    two._workers.clear()
    with socket.socket() as heard:
        for two._due in [], [(1005.0, 0), (1003.0, 1)], [(999.0, 0)]:
            two._wait(heard)
    assert slept == [None, 3, 0]


def test_a_signal_kills_no_worker_that_comes_up(two: _Supervisor) -> None:
    assert Process.blocked >= set(HANDLED)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & set(HANDLED)


def test_a_worker_that_hears_no_more_is_told_to_no_avail(two: _Supervisor) -> None:
    """Its end is noticed a moment later."""
    two._workers[0].say(RELOAD)


def test_the_end_is_told_to_all_and_none_is_replaced_then(two: _Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "terminated", 0)
    two._due = [(0, 1)]
    two._signalled(signal.SIGTERM)
    assert Process.terminated == 2 and not two._due


@pytest.mark.parametrize(("announced", "ending"), [(False, False), (True, False), (True, True)])
def test_a_service_manager_hears_of_a_reload_only_while_the_server_serves(
    two: _Supervisor, announced: bool, ending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take a server that comes up or ends for one that serves."""
    told: list[str] = []
    monkeypatch.setattr(two._manager, "_say", lambda first, *_: told.append(first))
    two._announced, two._signals = announced, int(ending)
    two._signalled(signal.SIGHUP)
    assert told == (["RELOADING=1", "READY=1"] if announced and not ending else [])


def test_no_worker_leaves_connections_to_one_that_is_down_or_comes_up(two: _Supervisor) -> None:
    numbers = two._shared.load
    assert list(numbers) == [AWAY, AWAY]
    first = Load(numbers, 0)
    first.publish(5)
    assert not first.above_the_least(5)
    Load(numbers, 1).publish(3)
    assert first.above_the_least(5)
    two._bury(two._workers[1])
    assert not first.above_the_least(5)
