"""The report, ``RESULTS.md``: the goals, the servers, all work."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from bench.fresh import Fresh
from bench.goals import Goal, goals
from bench.interpreter import calls_a_second
from bench.measure import Measured

_HEAD = """# Results of the benchmark

Written by `{command}` on {today}: {cores} cores, {system}, Python {python}
(which makes and calls {calls:.1f} million small objects a second: [which Python](../docs/performance.md#which-python)).
[performance.md](../docs/performance.md) says how to read it.

- All servers do the same work in turns on the same cores, which the load generator shares; all but one are stopped
  meanwhile. Before each turn all that was written is brought to disk.
- {rounds} of {seconds:g} s. Rates are medians, with the least and the largest; ratios are medians of the ratios of
  rounds.
- Each client is one kept-alive connection, or opens one each time where that is said; over plain HTTP unless it says
  TLS. Each request is signed in its headers (Signature Version 4).
  Bodies of up to 64 KiB are signed with their SHA-256, as SDKs do over HTTP; larger ones are `UNSIGNED-PAYLOAD`, as
  SDKs do over TLS.
- Answers are checked: status, length, ETag, the bytes of bodies of up to 64 KiB each time and of larger ones now and
  then, the number of a page's entries. GETs read what was put shortly before: from the kernel's memory.
- Servers that encrypt use SSE-S3 with a static master key, so that ETags are MD5s, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Server:
    """What took part. ``memory`` is the most that one of its processes has held, in bytes."""

    name: str
    durable: str
    memory: int


@dataclass(frozen=True, slots=True)
class Run:
    """All that a run has found."""

    results: Sequence[Measured]
    servers: Sequence[Server]
    fresh: Sequence[Fresh]
    failures: Sequence[str]
    seconds: float
    command: str


def line(measured: Measured) -> str:
    """One piece of work, as a line for the terminal."""
    said = []
    for name in measured.samples:
        compared = f" ({ratio})" if (ratio := _ratio(measured, name)) else ""
        said.append(f"{name} {number(measured.rate(name))}{compared}")
    return f"{measured.work.name}, {measured.work.unit}/s: {', '.join(said)}"


def markdown(run: Run) -> str:
    """RESULTS.md."""
    turns = max((len(samples) for m in run.results for samples in m.samples.values()), default=0)
    head = _HEAD.format(
        command=run.command,
        today=f"{datetime.now(UTC):%Y-%m-%d}",
        cores=os.cpu_count(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        calls=calls_a_second() / 1e6,
        rounds=f"{turns} round{'s' * (turns != 1)}",
        seconds=run.seconds,
    )
    memory = {server.name: server.memory for server in run.servers}
    lines = [
        *(
            head,
            *(f"- **Failed**, and left out: {failure}" for failure in run.failures),
            "",
            "## Goals",
            "",
            "| goal | is | wanted | measured | met |",
            "|---|---|---|---|---|",
        ),
        *(_goal(goal) for goal in goals(run.results, memory)),
        *("", "![ratios](ratios.svg)", "", "## Servers", ""),
        *("| server | what it acknowledges is | most memory of a process |", "|---|---|---|"),
        *(f"| {one.name} | {one.durable} | {one.memory / 1024**2:.0f} MiB |" for one in run.servers),
        *("", "## Work", "", "Processor time is the server's own, and beside it the load generator's.", ""),
        "| work | server | a second | least – most | the first is | p50, p99 ms | processor time | generator's |",
        "|---|---|---|---|---|---|---|---|",
        *(row for measured in run.results for row in _rows(measured)),
        *(_fresh(run.fresh) if run.fresh else ()),
    ]
    return "\n".join(lines) + "\n"


def _goal(goal: Goal) -> str:
    met = {True: "yes", False: "**no**", None: ""}[goal.met]
    wanted = f"{'under' if goal.below else 'at least'} {goal.wanted:g}{goal.unit}"
    return f"| {goal.text} | {goal.formula} | {wanted} | {_figures(goal)} | {met} |"


def _figures(goal: Goal) -> str:
    """All figures, or where there are many those that fail (or the one nearest to failing) and how many there are."""
    shown, digits = dict(goal.figures), 0 if goal.unit else 2
    if not shown:
        return "not measured"
    if len(shown) > 4:
        ordered = sorted(shown, key=lambda label: shown[label], reverse=goal.below)
        failing = [label for label in ordered if not goal.holds(shown[label])]
        shown = {label: shown[label] for label in failing or ordered[:1]}
    told = "; ".join(f"{label}: {figure:.{digits}f}".removeprefix(": ") for label, figure in shown.items())
    rest = len(goal.figures) - len(shown)
    return f"{told}; the other {rest} {'less' if goal.below else 'more'}" if rest else told


def _rows(measured: Measured) -> Iterator[str]:
    for position, name in enumerate(measured.samples):
        samples = sorted(measured.samples[name], key=lambda sample: sample.rate)
        middle, (least, most) = samples[len(samples) // 2], measured.spread(name)
        used = _processor(middle.processor, measured.work.unit)
        generator = _processor(middle.generator, measured.work.unit) if middle.generator else ""
        yield (
            f"| {measured.work.name if position == 0 else ''} | {name}"
            f" | {number(measured.rate(name))} {measured.work.unit} | {number(least)} – {number(most)}"
            f" | {_ratio(measured, name)} | {middle.p50:.2f}, {middle.p99:.2f} | {used} | {generator} |"
        )


def _ratio(measured: Measured, name: str) -> str:
    """How many times as fast the first is, where the first is a server and not a floor too."""
    if name == measured.first or measured.first in measured.work.floors:
        return ""
    return f"{measured.ratio(measured.first, name):.2f} x"


def _processor(seconds: float, unit: str) -> str:
    return f"{seconds:.2f} s/GB" if unit == "MB" else f"{seconds * 1e6:.0f} µs each"


def _fresh(fresh: Sequence[Fresh]) -> list[str]:
    lines = [
        *("", "## A page that the S3 gateway has never seen", ""),
        "Seconds for a page of 1,000 objects from a gateway with one worker that has just started, and for the same",
        "page again, beside 1,000 HEADs one after the other: through the gateway (so many times the fresh page), and",
        *("of the backend without it.", ""),
        "| backend | one way | fresh page | again | 1,000 HEADs | times | of the backend |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in fresh:
        first, again, heads, direct = (median(figures) for figures in (one.first, one.again, one.heads, one.direct))
        figures = f"{first:.3f} | {again:.3f} | {heads:.2f} | {heads / first:.1f} | {direct:.2f}"
        lines.append(f"| {one.backend} | {one.delay} ms | {figures} |")
    return lines


def number(value: float) -> str:
    """A rate, with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
