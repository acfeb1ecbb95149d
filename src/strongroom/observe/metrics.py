"""The metrics of a worker. :mod:`strongroom.observe.exposition` makes a page of them.

Counting consists of plain additions, since each request does it. Workers show each other their metrics
(:mod:`strongroom.serving.board`), so whichever worker is asked answers for all; one that replaces a crashed worker goes
on from its numbers.
"""

from __future__ import annotations

import json
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypedDict

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histograms' buckets, in seconds. There is one more bucket, for everything above."""

Durations = dict[str, list[float]]
"""Histograms of durations, by name: a count for each bucket, then the sum of the seconds."""


class Snapshot(TypedDict):
    """What a worker counted: bytes, seconds, and numbers of things."""

    requests: list[tuple[str, int, int]]  # operation, status, count
    request_seconds: Durations
    data_keys: list[tuple[str, str, int]]  # call, result, count
    kms_seconds: Durations
    backend: list[tuple[str, int]]  # result, count
    received: int
    sent: int
    running: int
    connections: int
    memory: int
    processor: float
    told: float  # when, on the monotonic clock, which all processes share


class Everyones(NamedTuple):
    """The sum of all workers' metrics, their processor time in all, and the latest snapshots of the running ones."""

    counted: Snapshot
    processor: float
    running: Sequence[Snapshot]


class Metrics:
    """The metrics of one worker.

    ``free`` returns the bytes that are free where objects are stored, None if nobody knows.
    """

    def __init__(self, free: Callable[[], int | None] = lambda: None) -> None:
        self._free = free
        self._requests: dict[tuple[str, int], int] = {}
        self._request_seconds: Durations = {}
        self._data_keys: dict[tuple[str, str], int] = {}
        self._kms_seconds: Durations = {}
        self._backend: dict[str, int] = {}
        self._received = 0
        self._sent = 0
        self._processor_before = 0.0
        self.running = 0
        """Requests that are being answered."""
        self.connections = 0
        """Open connections."""
        self.others: Callable[[], Iterable[bytes]] = tuple
        """Returns the metrics of the other workers, in the form of :meth:`snapshot`."""
        self.certificate_end: Callable[[], datetime | None] = lambda: None
        """Returns when the server's TLS certificate expires; None if it has none."""

    def request(self, operation: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count a request that was answered; ``received`` and ``sent`` are the bytes of bodies."""
        key = operation, status
        self._requests[key] = self._requests.get(key, 0) + 1
        self._received += received
        self._sent += sent
        _count(self._request_seconds, operation, seconds)

    def kms_call(self, call: str, results: Iterable[str], seconds: float) -> None:
        """Count a call to the KMS, and the result for each data key in it ("ok", or why not)."""
        for result in results:
            self._data_keys[call, result] = self._data_keys.get((call, result), 0) + 1
        _count(self._kms_seconds, call, seconds)

    def backend_request(self, result: str) -> None:
        """Count a request to the backend: the class of the answer's status ("2xx"), or "failed"."""
        self._backend[result] = self._backend.get(result, 0) + 1

    def snapshot(self) -> bytes:
        """All metrics, as JSON, for other workers."""
        return json.dumps(self._snapshot(), separators=(",", ":")).encode()

    def _snapshot(self) -> Snapshot:
        return {
            "requests": [(*key, count) for key, count in self._requests.items()],
            "request_seconds": self._request_seconds,
            "data_keys": [(*key, count) for key, count in self._data_keys.items()],
            "kms_seconds": self._kms_seconds,
            "backend": list(self._backend.items()),
            "received": self._received,
            "sent": self._sent,
            "running": self.running,
            "connections": self.connections,
            "memory": _resident(),
            "processor": self._processor_before + time.process_time(),
            "told": time.monotonic(),
        }

    def resume(self, snapshot: bytes) -> None:
        """Go on from the metrics of the worker that this one replaces."""
        before: Snapshot = json.loads(snapshot)
        self._add(before)
        self._processor_before = before["processor"]

    def everyones(self) -> Everyones:
        """The metrics of all workers: sums that include those that ended, and the state of the running ones."""
        workers: list[Snapshot] = [json.loads(each) for each in (self.snapshot(), *self.others())]
        whole = Metrics()
        for worker in workers:
            whole._add(worker)
        oldest = time.monotonic() - _SILENT
        counted, processor = whole._snapshot(), sum(worker["processor"] for worker in workers)
        return Everyones(counted, processor, [worker for worker in workers if worker["told"] >= oldest])

    def free_bytes(self) -> int | None:
        """The bytes that are free where objects are stored, None if nobody knows."""
        return self._free()

    def _add(self, worker: Snapshot) -> None:
        for operation, status, count in worker["requests"]:
            self._requests[operation, status] = self._requests.get((operation, status), 0) + count
        for call, result, count in worker["data_keys"]:
            self._data_keys[call, result] = self._data_keys.get((call, result), 0) + count
        for result, count in worker["backend"]:
            self._backend[result] = self._backend.get(result, 0) + count
        for own, theirs in (
            (self._request_seconds, worker["request_seconds"]),
            (self._kms_seconds, worker["kms_seconds"]),
        ):
            for name, row in theirs.items():
                own[name] = [a + b for a, b in zip(own.get(name, _EMPTY), row, strict=True)]
        self._received += worker["received"]
        self._sent += worker["sent"]


_EMPTY = [0.0] * (len(BOUNDS) + 2)
_SILENT = 5.0
"""Seconds after which a worker that leaves no new snapshot is taken to have ended."""


def _count(durations: Durations, name: str, seconds: float) -> None:
    row = durations.get(name)
    if row is None:
        row = durations[name] = _EMPTY.copy()
    row[bisect_left(BOUNDS, seconds)] += 1
    row[-1] += seconds


def _resident() -> int:
    """The resident memory of this process, in bytes."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # for example, no file descriptor is left: no reason to fail
        return 0
