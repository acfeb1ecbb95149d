"""What Strongroom is to reach, and whether a run has shown it. Computed from the run's figures alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import floors
from bench.measure import Measured
from bench.work import OVER_TLS, RANGES, SYNCED, WITHOUT_MD5, first_pages, folders, large, pages, small, through_gateway

OURS = "strongroom"
MEMORY = 300 * 1024**2
FLAT = 0.8
"""The part of the rate over 10,000 objects that listings of more must have to be called flat."""
_FEWEST, _SIZES = 10_000, (10_000, 100_000, 1_000_000)


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: figures that each must be at least ``wanted`` (or ``below`` it), under the names of what they are of.

    Without figures the run has not measured it.
    """

    text: str
    formula: str
    wanted: float
    figures: Mapping[str, float]
    below: bool = False
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether all figures are as wanted; None where there are none."""
        if not self.figures:
            return None
        return all(self.holds(figure) for figure in self.figures.values())

    def holds(self, figure: float) -> bool:
        """Whether a figure is as wanted."""
        return figure < self.wanted if self.below else figure >= self.wanted


class _Run:
    """A run's figures, by the names of work and peers; those that were not measured are left out."""

    def __init__(self, results: Sequence[Measured]) -> None:
        self.results = results
        self._by_name = {measured.work.name: measured for measured in results}

    def ratios(self, named: Mapping[str, str], peer: str, to: str) -> dict[str, float]:
        """Of two peers, for each label of ``named`` that in the work it names."""
        found = {}
        for label, name in named.items():
            measured = self._by_name.get(name)
            if measured and peer in measured.samples and to in measured.samples:
                found[label] = measured.ratio(peer, to)
        return found

    def rate(self, name: str, peer: str) -> float | None:
        """The rate of a peer."""
        measured = self._by_name.get(name)
        return measured.rate(peer) if measured and peer in measured.samples else None

    def one_core(self, named: Mapping[str, str], peer: str, to: str) -> dict[str, float]:
        """What one core would carry with the processor time that ``peer`` takes, against the rate of ``to``."""
        found = {}
        for label, name in named.items():
            measured = self._by_name.get(name)
            if measured and peer in measured.samples and to in measured.samples and measured.processor(peer):
                found[label] = 1 / measured.processor(peer) / measured.rate(to)
        return found


def goals(results: Sequence[Measured], memory: Mapping[str, int]) -> list[Goal]:
    """All goals, with what was measured; ``memory`` is the most that a process of each peer has held, in bytes."""
    run = _Run(results)
    return [
        *_small(run),
        *_large(run),
        *_listings(run),
        Goal("ranged GETs", "rate / MinIO's", 2.0, run.ratios({"64 KiB of 1 GiB": RANGES}, OURS, "minio")),
        _price(run),
        *_gateway(run),
        Goal(
            "memory of a worker",
            "largest resident set of a process at any time, MiB",
            MEMORY / 1024**2,
            {name: size / 1024**2 for name, size in memory.items() if name.startswith(OURS)},
            below=True,
            unit=" MiB",
        ),
    ]


def _counts(operation: str) -> dict[str, str]:
    return {str(count): small(operation, count) for count in (1, 8, 64)}


def _small(run: _Run) -> Iterator[Goal]:
    for operation, peer, name, wanted in (
        ("put", "minio", "MinIO's", 2.5),
        ("put", *SYNCED, "versitygw's, synced", 1.0),
        ("put", "versitygw", "versitygw's, not synced", 1.0),
        ("get", "minio", "MinIO's", 2.5),
        ("get", "versitygw", "versitygw's", 1.0),
    ):
        figures = run.ratios(_counts(operation), OURS, peer)
        yield Goal(f"4 KiB {operation.upper()}, by clients", f"rate / {name}", wanted, figures)


def _large(run: _Run) -> Iterator[Goal]:
    put, get = {"": large("put")}, {"": large("get")}
    yield Goal("64 MiB PUT", "rate / MinIO's", 1.0, run.ratios(put, OURS, "minio"))
    figures = run.ratios(put, *WITHOUT_MD5)
    yield Goal("64 MiB PUT, both without MD5", "rate with --no-compat / MinIO's with SSE-KMS", 1.0, figures)
    yield Goal("64 MiB GET", "rate / MinIO's", 1.0, run.ratios(get, OURS, "minio"))
    over_tls = {f"64 MiB {operation.upper()}": f"{large(operation)}, over TLS" for operation in ("put", "get")}
    yield Goal("large objects over TLS", "rate / MinIO's", 1.0, run.ratios(over_tls, *OVER_TLS))
    yield Goal(
        "64 MiB PUT, of what MD5 and the disk allow",
        "rate / copies of 64 MiB hashed with MD5 and synced, as many at a time",
        0.8,
        run.ratios(put, OURS, floors.MD5_AND_COPY),
    )
    yield Goal(
        "64 MiB GET, of what the machine allows",
        "rate / AES-GCM packages of 64 KiB read from a cached file, opened and sent to a socket, as many at a time",
        0.8,
        run.ratios(get, OURS, floors.OPEN_AND_SEND),
    )
    yield Goal(
        "64 MiB PUT with --no-compat, of a plain copy",
        "rate / copies of 64 MiB synced, as many at a time",
        0.8,
        run.ratios(put, f"{OURS} --no-compat", floors.COPY),
    )


def _listings(run: _Run) -> Iterator[Goal]:
    kinds = (("listing", pages), ("listing just after a start", first_pages), ("listing of folders", folders))
    for what, named in kinds:
        names = {f"{size:,}": named(size) for size in _SIZES}
        yield Goal(f"{what}, by objects", "rate / MinIO's", 5.0, run.ratios(names, OURS, "minio"))
        fewest = run.rate(named(_FEWEST), OURS)
        more = {f"{size:,}": run.rate(named(size), OURS) for size in _SIZES if size > _FEWEST}
        figures = {label: rate / fewest for label, rate in more.items() if rate and fewest}
        yield Goal(f"{what}, flat", f"rate / rate over {_FEWEST:,} objects", FLAT, figures)


def _price(run: _Run) -> Goal:
    named = {measured.work.name: measured.work.name for measured in run.results}
    figures = run.ratios(named, OURS, f"{OURS}, plain")
    figures |= run.ratios(named, f"{OURS} gateway s3", f"{OURS} gateway s3, plain")
    return Goal("encryption costs less than 10 %", "rate / rate without encryption", 0.9, figures)


def _gateway(run: _Run) -> Iterator[Goal]:
    for operation in ("put", "get"):
        named = {str(count): through_gateway(operation, count) for count in (8, 64)}
        one, backend = f"{OURS} gateway s3, 1 worker", "minio, plain"
        text = f"4 KiB {operation.upper()} through the S3 gateway"
        yield Goal(
            f"{text}, 1 worker, by clients",
            "rate with one worker / backend's own; all on the same cores",
            0.6,
            run.ratios(named, one, backend),
        )
        yield Goal(
            f"{text}, a core, by clients",
            "1 / processor time of the gateway's own for a request / backend's own rate on all cores",
            0.6,
            run.one_core(named, one, backend),
        )
