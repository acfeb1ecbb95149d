"""The report: a table for people, ``RESULTS.md``, and a plot of the ratios."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl

from bench.measure import Measured
from bench.peers import Peer

mpl.use("svg")
from matplotlib import pyplot

OURS = "strongroom"
_PEERS = ("minio", "versitygw")


def line(measured: Measured) -> str:
    """One piece of work, as a line for the terminal."""
    rates = ", ".join(f"{name} {_number(measured.rate(name))}" for name in measured.samples)
    ratios = ", ".join(
        f"{measured.ratio(measured.first, name):.2f} x {name}" for name in measured.samples if name != measured.first
    )
    return f"{measured.work.name}: {rates} {measured.work.unit}/s{'; ' + ratios if ratios else ''}"


def write(results: Sequence[Measured], peers: Mapping[str, Peer], memory: Mapping[str, int], directory: Path) -> None:
    """Write RESULTS.md and ratios.svg into a directory."""
    (directory / "RESULTS.md").write_text(_markdown(results, peers, memory))
    compared = [m for m in results if m.first == OURS and any(peer in m.samples for peer in _PEERS)]
    _plot(compared, directory / "ratios.svg")


def _markdown(results: Sequence[Measured], peers: Mapping[str, Peer], memory: Mapping[str, int]) -> str:
    rounds = max(len(samples) for measured in results for samples in measured.samples.values())
    lines = [
        "# Results of the benchmark",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {platform.system()}"
        f" {platform.machine()}, Python {platform.python_version()}; the load generator shares the cores."
        f" {rounds} rounds in turns; rates are medians, with the least and the largest; ratios are medians of the"
        " rounds' ratios.",
        "",
        "![ratios](ratios.svg)",
        "",
        "| server | what it acknowledges is | most memory of a process |",
        "|---|---|---|",
        *(f"| {name} | {peer.durable} | {memory[name] / 1024**2:.0f} MiB |" for name, peer in peers.items()),
        "",
        "| work | server | a second | least – most | the first is | p50, p99 ms | processor time |",
        "|---|---|---|---|---|---|---|",
    ]
    for measured in results:
        for position, name in enumerate(measured.samples):
            lines.append(_row(measured, name, position == 0))
    return "\n".join(lines) + "\n"


def _row(measured: Measured, name: str, first: bool) -> str:
    samples = sorted(measured.samples[name], key=lambda sample: sample.rate)
    middle, (least, most) = samples[len(samples) // 2], measured.spread(name)
    ratio = f"{measured.ratio(measured.first, name):.2f} x" if name != measured.first else ""
    used = f"{middle.processor:.2f} s/GB" if measured.work.unit == "MB" else f"{middle.processor * 1e6:.0f} µs each"
    return (
        f"| {measured.work.name if first else ''} | {name} | {_number(measured.rate(name))} {measured.work.unit}"
        f" | {_number(least)} – {_number(most)} | {ratio} | {middle.p50:.2f}, {middle.p99:.2f} | {used} |"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _plot(results: Sequence[Measured], file: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(results) + 1.2))
    names = [measured.work.name for measured in results]
    for offset, (peer, colour) in enumerate(zip(_PEERS, ("#b5485d", "#4878a8"), strict=True)):
        shown = [(i, m.ratio(OURS, peer)) for i, m in enumerate(results) if peer in m.samples]
        rows = [i + 0.36 * offset - 0.18 for i, _ in shown]
        axes.barh(rows, [ratio for _, ratio in shown], 0.34, label=f"against {peer}", color=colour)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("Strongroom's rate, encrypted, as a multiple of the other's")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
