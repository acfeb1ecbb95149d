"""``python -m bench``: measure, print, write ``bench/RESULTS.md``."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

from bench import report
from bench.measure import Bench, Measured
from bench.peers import PEERS, Peer, start
from bench.work import WORK, Work

_HERE = Path(__file__).parent


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each piece of work (default: 3)")
    parser.add_argument("--seconds", type=float, default=4, help="of each turn (default: 4)")
    parser.add_argument("--only", default="", help="a regular expression: just the work whose name it finds")
    parser.add_argument("--peers", default="", help="names, separated by semicolons: just these servers")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--below", type=Path, default=None, help="where data is put (default: beside the tools)")
    parser.add_argument("--load", type=Path, default=_HERE.parent / ".tools" / "bin" / "load")
    parser.add_argument("--write", type=Path, default=_HERE, help="where RESULTS.md goes (default: bench)")
    options = parser.parse_args()
    wanted = [w for w in WORK if re.search(options.only, w.name) and not (options.quick and w.slow)]
    only = [name.strip() for name in options.peers.split(";") if name.strip()]
    names = {name for work in wanted for name in work.peers if not only or name in only}
    below = options.below or _HERE.parent / ".tools"
    peers: dict[str, Peer] = {}
    with tempfile.TemporaryDirectory(prefix="bench-", dir=below) as data:
        try:
            for name in PEERS:
                if name in names:
                    peers[name] = start(name, Path(data))
            results = _measure(Bench(options.load, peers, options.seconds), options, wanted, only)
            memory = {name: peer.running.peak_bytes() for name, peer in peers.items()}
        finally:
            for peer in peers.values():
                peer.stop()
    report.write(results, peers, memory, options.write)
    return 0


def _measure(bench: Bench, options: argparse.Namespace, wanted: list[Work], only: list[str]) -> list[Measured]:
    results = []
    for work in wanted:
        measured = bench.measure(work, options.rounds, only)
        if measured.samples:
            results.append(measured)
            print(report.line(measured), flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
