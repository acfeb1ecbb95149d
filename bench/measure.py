"""Measuring: one piece of work, by each peer in turn, several rounds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.peers import ACCESS_KEY, SECRET_KEY, Peer
from bench.work import Work


@dataclass(frozen=True, slots=True)
class Sample:
    """What one peer did in one round. ``rate`` is in the work's unit a second, ``processor`` in seconds of all cores
    for each operation (or each GB), ``p50`` and ``p99`` in milliseconds.
    """

    rate: float
    processor: float
    p50: float
    p99: float


@dataclass
class Measured:
    """All samples of one piece of work, by peer."""

    work: Work
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The peer that the others are compared with."""
        return next(iter(self.samples))

    def rate(self, peer: str) -> float:
        """The median rate of a peer."""
        return median(sample.rate for sample in self.samples[peer])

    def ratio(self, peer: str, to: str) -> float:
        """The median of the ratios of two peers, round by round: what disturbs a round disturbs both."""
        pairs = zip(self.samples[peer], self.samples[to], strict=True)
        return median(mine.rate / other.rate for mine, other in pairs)

    def spread(self, peer: str) -> tuple[float, float]:
        """The least and the largest rate of a peer."""
        rates = [sample.rate for sample in self.samples[peer]]
        return min(rates), max(rates)


class LoadFailed(Exception):
    """The load generator had errors; a figure would mean nothing."""


class Bench:
    """Does work with peers that are running, all but one of them paused at any time."""

    def __init__(self, load: Path, peers: Mapping[str, Peer], seconds: float) -> None:
        self._load = load
        self._peers = peers
        self._seconds = seconds
        self._filled: set[tuple[str, str]] = set()
        self._next: dict[tuple[str, str], int] = {}
        for peer in peers.values():
            self._run(peer, ["-op", "bucket"])
            peer.pause()

    def measure(self, work: Work, rounds: int, only: Sequence[str]) -> Measured:
        """The work, by each of its peers in turn."""
        measured = Measured(work)
        names = [name for name in work.peers if name in self._peers and (not only or name in only)]
        for name in names:
            self._fill(self._peers[name], work)
        for _ in range(rounds):
            for name in names:
                measured.samples.setdefault(name, []).append(self._sample(self._peers[name], work))
        return measured

    def _fill(self, peer: Peer, work: Work) -> None:
        if work.fill and "-op delete" not in work.load and (peer.name, work.fill) not in self._filled:
            self._filled.add((peer.name, work.fill))
            self._with(peer, work.fill.split())

    def _sample(self, peer: Peer, work: Work) -> Sample:
        arguments = work.load.split()
        if "-op delete" in work.load:
            self._with(peer, work.fill.split())
        elif "-op put" in work.load or "-op multipart" in work.load:
            arguments += ["-first", str(self._next.get((peer.name, work.name), 0))]
        if "-times" not in arguments:
            arguments += ["-seconds", str(self._seconds)]
        peer.resume()
        try:
            before = peer.running.processor_seconds()
            result = self._run(peer, arguments)
            used = peer.running.processor_seconds() - before
        finally:
            peer.pause()
        self._next[peer.name, work.name] = int(result["last"])
        amount = result["bytes"] / 1e6 if work.unit == "MB" else result["ops"]
        per = amount / 1000 if work.unit == "MB" else amount
        return Sample(amount / result["seconds"], used / per if per else 0.0, result["p50_ms"], result["p99_ms"])

    def _with(self, peer: Peer, arguments: Sequence[str]) -> None:
        peer.resume()
        try:
            self._run(peer, arguments)
        finally:
            peer.pause()

    def _run(self, peer: Peer, arguments: Sequence[str]) -> dict[str, float]:
        access = ["-endpoint", peer.endpoint, "-access-key", ACCESS_KEY, "-secret-key", SECRET_KEY]
        done = subprocess.run([str(self._load), *access, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LoadFailed(f"{peer.name}: {' '.join(arguments)}: {done.stdout[-500:]}{done.stderr[-500:]}")
        return json.loads(done.stdout) if done.stdout else {}
