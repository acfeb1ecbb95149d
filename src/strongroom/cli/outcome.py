"""How a command ends: its exit code and the line that says why it failed; for a job on many objects its report as well,
and what signals do to it. Loads nothing that only some commands need.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import typer

from strongroom.cli.streams import give_up_output
from strongroom.report import Report, counted, shown

FAILED, WRONG, INCOMPLETE, STOPPED = 1, 2, 3, 130
"""Exit codes: a place that cannot be reached; a wrong argument; objects that failed; stopped by a signal."""

_SHOW_CURSOR = b"\x1b[?25h\n"  # which a progress bar hides


def finish(report: Report, as_json: bool) -> int:
    """Print a report; the exit code. Raises typer.Exit where it cannot be printed."""
    now = datetime.now(UTC)
    try:
        print(report.as_json(now) if as_json else "\n".join(report.lines(now)), flush=True)
    except BrokenPipeError:
        raise  # nobody reads it any more
    except OSError as error:
        how = f"{counted(report.done)} {report.verb}, {report.failed_count} failed"
        give_up_output()
        raise stop_with(f"the report cannot be printed: {error.strerror} ({how})", FAILED) from None
    if not report.finished:
        return STOPPED
    return INCOMPLETE if report.failed_count else 0


def fail(report: Report, as_json: bool, reason: object) -> typer.Exit:
    """Print what a job did before it failed, where it did anything, and why it failed; what to raise."""
    if report.done or report.before or report.failed_count:
        finish(report, as_json)
    return stop_with(reason, FAILED)


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at a signal that ends a process. A second one ends it at once: a large object that was begun may
    take hours, and whatever was begun is whole or untouched, and gone on with.
    """
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        if asked:
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR)
            os._exit(STOPPED)
        asked = True
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)


def stop_with(reason: object, code: int) -> typer.Exit:
    """Print why; what to raise."""
    print(f"strongroom: {shown(' '.join(str(reason).split()))}", file=sys.stderr)
    return typer.Exit(code)
