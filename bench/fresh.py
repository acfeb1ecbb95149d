"""A page of a listing that the S3 gateway has never seen, its backend near and far, beside asking for each object."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from bench.generator import Generator
from bench.peers import Peer, free_port, gateway, start
from bench.processes import Running

BACKENDS = ("minio, plain", "versitygw")
DELAYS = (0, 1, 5)
"""Milliseconds each way between gateway and backend."""

_OBJECTS, _ASKED = 1000, 100
_PAGE = f"-op page -prefix fresh -objects {_OBJECTS} -times 1"
_HEADS = f"-op head -prefix fresh -objects {_OBJECTS} -size 100 -times {_ASKED}"
_FILL = f"-op put -prefix fresh -size 100 -clients 16 -times {_OBJECTS}"


@dataclass
class Fresh:
    """Seconds, one figure a round: for a page of 1,000 objects the first and the second time, and for 1,000 HEADs one
    after the other, through the gateway and of the backend directly (as 100 of them took).
    """

    backend: str
    delay: int
    first: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    heads: list[float] = field(default_factory=list)
    direct: list[float] = field(default_factory=list)

    @property
    def line(self) -> str:
        """For the terminal."""
        figures = (median(figures) for figures in (self.first, self.again, self.heads, self.direct))
        names = ("a fresh page", "again", "1,000 HEADs", "of the backend")
        said = ", ".join(f"{name} {figure:.3f} s" for name, figure in zip(names, figures, strict=True))
        return f"S3 gateway before {self.backend}, {self.delay} ms each way: {said}"


def measure(generator: Generator, below: Path, rounds: int) -> Iterator[Fresh]:
    """Each backend, filled through a gateway and directly, with each delay."""
    directly = Generator(generator.program, "direct")
    for name in BACKENDS:
        backend = start(name, below / "fresh")
        try:
            with _gateway(below, backend.endpoint) as endpoint:
                for through, where in ((generator, endpoint), (directly, backend.endpoint)):
                    through.make_bucket(where)
                    through.run(where, _FILL)
                    through.run(where, _FILL.replace("fresh", "other"))
            for delay in DELAYS:
                fresh = Fresh(name.partition(",")[0], delay)
                for _ in range(rounds):
                    _round(generator, directly, below, backend, fresh)
                yield fresh
        finally:
            backend.stop()


def _round(generator: Generator, directly: Generator, below: Path, backend: Peer, fresh: Fresh) -> None:
    with ExitStack() as stack:
        way = stack.enter_context(_delayed(below, backend.endpoint, fresh.delay))
        endpoint = stack.enter_context(_gateway(below, way))
        generator.run(endpoint, _HEADS.replace("fresh", "other"))  # so that it has a connection, as gateways do
        fresh.first.append(generator.run(endpoint, _PAGE).seconds)
        fresh.again.append(generator.run(endpoint, _PAGE).seconds)
        fresh.heads.append(generator.run(endpoint, _HEADS).seconds * _OBJECTS / _ASKED)
        fresh.direct.append(directly.run(way, _HEADS).seconds * _OBJECTS / _ASKED)


@contextmanager
def _gateway(below: Path, backend: str) -> Iterator[str]:
    """A gateway with one worker, which knows nothing yet."""
    home = below / "gateway"
    home.mkdir(exist_ok=True)
    endpoint, running = gateway(home, backend, "--workers", "1")
    try:
        yield endpoint
    finally:
        running.stop()


@contextmanager
def _delayed(below: Path, backend: str, delay: int) -> Iterator[str]:
    """The backend's endpoint, or one from where the way is longer."""
    if delay == 0:
        yield backend
        return
    port = free_port()
    command = [sys.executable, "-m", "bench.delay", str(port), str(urlsplit(backend).port), str(delay / 1000)]
    running = Running(command, {"PYTHONPATH": str(Path(__file__).parents[1])}, below / "delay.log")
    running.wait_for(f"http://127.0.0.1:{port}/")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.stop()
