"""``python -m bench``: measure, print, write ``bench/RESULTS.md``."""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import fresh, plot, report
from bench.generator import Generator, LoadFailed
from bench.measure import Bench, Measured
from bench.peers import PEERS
from bench.servers import Servers
from bench.work import WORK, Work

_HERE = Path(__file__).parent
_FRESH = "fresh pages through the S3 gateway"
_ROOM = 40 * 1024**3
"""Bytes of data that all servers together have at the end of a whole run, with some to spare."""


def main() -> int:
    """Run what the command line asks for."""
    options, began = _options(), time.monotonic()
    found = _Found(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and not leave servers behind
    try:
        _measure(found, options)
    finally:  # what was measured before it was stopped is worth having
        if found.results:
            _write(found, options)
    print(f"took {(time.monotonic() - began) / 60:.0f} minutes; {options.write / 'RESULTS.md'}")
    return 1 if found.failures else 0


def _measure(found: _Found, options: argparse.Namespace) -> None:
    whole = not (options.only or options.peers or options.quick)
    if whole and shutil.disk_usage(options.below).free < _ROOM:
        sys.exit(
            f"{options.below}: a whole run needs {_ROOM >> 30} GiB there; --below names another place for its data"
        )
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.below) as temporary:
        data = Path(temporary)
        found.measure([work for work in WORK if not work.kept], data, data)
        kept = options.keep or data / "kept"
        kept.mkdir(parents=True, exist_ok=True)
        found.measure([work for work in WORK if work.kept], kept, data)
        if re.search(options.only, _FRESH) and not options.quick:
            (data / "fresh").mkdir()
            for page in fresh.measure(Generator(options.load), data, options.rounds):
                found.fresh.append(page)
                print(page.line, flush=True)


def _write(found: _Found, options: argparse.Namespace) -> None:
    servers = list(found.servers.values())
    run = report.Run(found.results, servers, found.fresh, found.failures, options.seconds, _command(options))
    options.write.mkdir(parents=True, exist_ok=True)
    (options.write / "RESULTS.md").write_text(report.markdown(run))
    plot.write(found.results, options.write / "ratios.svg")


def _command(options: argparse.Namespace) -> str:
    """What was asked for, but for what is this machine's alone."""
    flags = [f"--{name}" for name in ("quick", "slow") if getattr(options, name)]
    flags += [f'--{name} "{said}"' for name in ("only", "peers") if (said := getattr(options, name))]
    return f"make bench BENCH_FLAGS='{' '.join(flags)}'" if flags else "make bench"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="turns of each piece of work (default: 3; 1 with --quick)")
    parser.add_argument("--seconds", type=float, help="of each turn (default: 2; 1 with --quick)")
    parser.add_argument("--only", default="", help="a regular expression: just the work whose name it finds")
    parser.add_argument("--peers", default="", help="names, separated by semicolons: just these servers and floors")
    parser.add_argument("--quick", action="store_true", help="one short turn each, and no fresh pages")
    parser.add_argument("--slow", action="store_true", help="also listings that take many minutes to fill")
    parser.add_argument(
        "--keep", type=Path, help="a directory that keeps what listings are filled with, for the next run"
    )
    parser.add_argument(
        "--below",
        type=Path,
        default=_HERE.parent / ".tools",
        help="where other data is put (default: beside the tools)",
    )
    parser.add_argument("--load", type=Path, default=_HERE.parent / ".tools" / "bin" / "load")
    parser.add_argument("--write", type=Path, default=_HERE, help="where RESULTS.md goes (default: bench)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    return options


class _Found:
    """What has been measured so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._only = [name.strip() for name in options.peers.split(";") if name.strip()]
        self.results: list[Measured] = []
        self.servers: dict[str, report.Server] = {}
        self.fresh: list[fresh.Fresh] = []
        self.failures: list[str] = []

    def measure(self, works: Sequence[Work], below: Path, temporary: Path) -> None:
        """All of the work that is wanted, with servers on directories below one."""
        wanted = {work: self._names(work) for work in works if re.search(self._options.only, work.name)}
        needed = [name for name in PEERS if any(name in names for names in wanted.values())]
        with Servers(below, needed) as servers:
            bench = Bench(Generator(self._options.load), servers, self._options.seconds, temporary, below / "filled")
            for name in needed:
                bench.prepare(name)
            for work, names in wanted.items():
                if names:
                    self._one(bench, work, names)
        for name in needed:
            before = self.servers[name].memory if name in self.servers else 0
            memory = max(before, servers.memory[name])
            self.servers[name] = report.Server(name, servers.durable[name], memory)

    def _one(self, bench: Bench, work: Work, names: Sequence[str]) -> None:
        try:
            measured = bench.measure(work, names, self._options.rounds)
        except LoadFailed as failure:  # the rest is worth having all the same
            self.failures.append(f"{work.name}: {failure}")
            print(f"FAILED: {self.failures[-1]}", file=sys.stderr, flush=True)
        else:
            self.results.append(measured)
            print(report.line(measured), flush=True)

    def _names(self, work: Work) -> list[str]:
        names: Iterator[str] = iter((*work.peers, *(work.slow if self._options.slow else ()), *work.floors))
        return [name for name in names if not self._only or name in self._only]


if __name__ == "__main__":
    sys.exit(main())
