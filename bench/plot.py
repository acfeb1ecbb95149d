"""A plot of the ratios, ``ratios.svg``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from bench.goals import OURS
from bench.measure import Measured

mpl.use("svg")
from matplotlib import pyplot

_PEERS = ("minio", "versitygw")


def write(results: Sequence[Measured], file: Path) -> None:
    """Show Strongroom's rate as a multiple of those of its peers, for all work that it and one of them have done."""
    compared = [m for m in results if m.first == OURS and any(peer in m.samples for peer in _PEERS)]
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(compared) + 1.2))
    for offset, (peer, colour) in enumerate(zip(_PEERS, ("#b5485d", "#4878a8"), strict=True)):
        shown = [(i, m.ratio(OURS, peer)) for i, m in enumerate(compared) if peer in m.samples]
        rows = [i + 0.36 * offset - 0.18 for i, _ in shown]
        axes.barh(rows, [ratio for _, ratio in shown], 0.34, label=f"against {peer}", color=colour)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(compared)), [measured.work.name for measured in compared], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("Strongroom's rate, encrypted, as a multiple of the other's")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
