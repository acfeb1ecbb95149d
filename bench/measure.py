"""Measuring: one piece of work, by each peer in turn, several rounds."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import floors
from bench.generator import Generator
from bench.outcome import Outcome
from bench.peers import Peer
from bench.servers import Servers
from bench.work import Work

_LOOK, _LOOKS = 0.25, 40  # seconds between two looks at what a peer does, and how many there are at most
_SEEN_A_SECOND = 15_000  # names of a listing, by a server that remembers nothing yet: about
_TOUCHED = 4 * 1024**3  # bytes: more than the fastest server writes in a turn


@dataclass(frozen=True, slots=True)
class Sample:
    """What one peer did in one round.

    ``rate`` is in the work's unit a second. ``processor`` is what the server's processes took, ``generator`` what the
    load generator took: seconds of all cores for each operation (or each GB). ``p50`` and ``p99`` are in milliseconds.
    """

    rate: float
    processor: float
    p50: float
    p99: float
    generator: float = 0.0

    @classmethod
    def of(cls, outcome: Outcome, unit: str, processor: float, generator: float) -> Sample:
        """From what was done, and seconds of processor time."""
        amount = outcome.bytes / 1e6 if unit == "MB" else outcome.ops
        per = (amount / 1000 if unit == "MB" else amount) or 1.0
        rate = amount / outcome.seconds
        return cls(rate, processor / per, outcome.p50_ms, outcome.p99_ms, generator / per)


@dataclass
class Measured:
    """All samples of one piece of work, by peer (or floor)."""

    work: Work
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The peer that the others are compared with."""
        return next(iter(self.samples))

    def rate(self, peer: str) -> float:
        """The median rate of a peer."""
        return median(sample.rate for sample in self.samples[peer])

    def processor(self, peer: str) -> float:
        """The median of the processor time that a peer took for an operation or a GB, in seconds."""
        return median(sample.processor for sample in self.samples[peer])

    def ratio(self, peer: str, to: str) -> float:
        """The median of the ratios of two peers, round by round: what disturbs a round disturbs both."""
        pairs = zip(self.samples[peer], self.samples[to], strict=True)
        return median(mine.rate / other.rate for mine, other in pairs)

    def spread(self, peer: str) -> tuple[float, float]:
        """The least and the largest rate of a peer."""
        rates = [sample.rate for sample in self.samples[peer]]
        return min(rates), max(rates)


class Bench:
    """Does work with peers that are running, all but one of them paused at any time.

    ``filled`` is a file that remembers what peers were filled with, for the next run on the same data; ``floors_below``
    is where floors put files.
    """

    def __init__(
        self, generator: Generator, servers: Servers, seconds: float, floors_below: Path, filled: Path
    ) -> None:
        self._generator = generator
        self._servers = servers
        self._seconds = seconds
        self._below = floors_below
        self._filled = filled
        self._next: dict[tuple[str, str], int] = {}

    def prepare(self, name: str) -> None:
        """Make a peer's bucket, and let it wait."""
        peer = self._servers[name]
        self._generator.make_bucket(peer.endpoint, peer.authority)
        peer.encrypt(self._generator.bucket)
        peer.pause()

    def measure(self, work: Work, names: Sequence[str], rounds: int) -> Measured:
        """The work, by each of the named peers and floors in turn."""
        measured = Measured(work)
        for name in names:
            if name in self._servers:
                self._fill(self._servers[name], work)
                if work.state == "warm":
                    self._sample(name, work, _warming(work))
        for _ in range(rounds):
            for name in names:
                taken = self._sample(name, work) if name in self._servers else self._floor(name, work)
                measured.samples.setdefault(name, []).append(taken)
        return measured

    def _fill(self, peer: Peer, work: Work) -> None:
        line = f"{peer.name}: {work.fill}"
        before = self._filled.read_text().splitlines() if self._filled.exists() else []
        if work.fill and "-op delete" not in work.load and line not in before:
            self._with(peer, work.fill)
            with self._filled.open("a") as file:
                print(line, file=file)

    def _sample(self, name: str, work: Work, at_least: float = 0.0) -> Sample:
        if work.state == "cold":
            self._servers.restart(name)
        peer, load = self._servers[name], work.load
        first = self._next.get((name, work.name), 0)
        if "-op delete" in load:
            self._with(peer, work.fill)
        elif work.puts:
            load += f" -first {first}"
        if "-times" not in load:
            load += f" -seconds {max(self._seconds, at_least)}"
        os.sync()  # so that nobody pays for what another has left to be written
        if work.puts_much:
            _touch_memory()
        peer.resume()
        try:
            before = peer.running.processor_seconds()
            outcome = self._generate(peer, load)
            used = peer.running.processor_seconds() - before
            self._next[name, work.name] = outcome.last
            if work.puts_much:
                self._remove(peer, work, first, outcome.last)
        finally:
            peer.pause()
        return Sample.of(outcome, work.unit, used, outcome.processor_seconds)

    def _floor(self, name: str, work: Work) -> Sample:
        os.sync()
        cores = os.cpu_count() or 1
        count = int(work.load.partition("-clients ")[2].split()[0]) if work.load else cores
        outcome = floors.measure(name, self._below, count, self._seconds)
        return Sample.of(outcome, work.unit, outcome.processor_seconds, 0.0)

    def _remove(self, peer: Peer, work: Work, first: int, last: int) -> None:
        """Remove large objects that were put.

        The disk has its limits; and what lies in the kernel's memory must not grow from turn to turn: under a
        hypervisor, memory that was never used before costs many times what other memory does.
        """
        prefix = work.load.partition("-prefix ")[2].split()[0]
        load = f"-op delete -prefix {prefix} -clients 4 -first {first} -times {last - first}"
        self._generate(peer, load)
        _settle(peer)

    def _with(self, peer: Peer, load: str) -> None:
        peer.resume()
        try:
            self._generate(peer, load)
        finally:
            peer.pause()

    def _generate(self, peer: Peer, load: str) -> Outcome:
        return self._generator.run(peer.endpoint, load, peer.authority)


def _warming(work: Work) -> float:
    """Seconds until a server has seen all objects of a listing often enough to remember what it can of them."""
    return int(work.load.partition("-objects ")[2].split()[0]) / _SEEN_A_SECOND


def _touch_memory() -> None:
    """Use memory that is free, and free it again.

    A hypervisor takes back what a guest has freed, within seconds, and gives it anew page by page: whoever has the next
    turn would pay for that, with several times the processor time that writing a file takes.
    """
    pages = os.sysconf("SC_AVPHYS_PAGES") // 2
    size = min(_TOUCHED, pages * mmap.PAGESIZE)
    with mmap.mmap(-1, size) as memory:
        memory[:: mmap.PAGESIZE] = bytes(len(range(0, size, mmap.PAGESIZE)))


def _settle(peer: Peer) -> None:
    """Let a peer finish what it does behind its answers: removing files, say. Its next turn would be charged for it."""
    before = -1.0
    for _ in range(_LOOKS):
        used = peer.running.processor_seconds()
        if used == before:
            return
        before = used
        time.sleep(_LOOK)
