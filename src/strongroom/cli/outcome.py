"""How a command ends: its exit code and the line that says why it failed; for a job on many objects, also its report
and what signals do to it. Imports nothing that only some commands need.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import typer

from strongroom.cli.streams import give_up_output
from strongroom.report import Report, counted, shown

FAILED, WRONG, INCOMPLETE, STOPPED = 1, 2, 3, 130
"""Exit codes: a place that cannot be reached; a wrong argument; objects that failed; stopped by a signal."""

_SHOW_CURSOR = b"\x1b[?25h\n"  # progress bars hide it


def finish(report: Report, as_json: bool) -> int:
    """Print a report. Returns the exit code. Raises typer.Exit if the report cannot be printed."""
    seconds = time.monotonic() - report.began
    try:
        print(report.as_json(seconds) if as_json else "\n".join(report.lines(seconds)), flush=True)
    except BrokenPipeError:
        raise  # the reader is gone
    except OSError as error:
        how = f"{counted(report.done)} {report.verb}, {report.failed_count} failed"
        give_up_output()
        raise stop_with(f"the report cannot be printed: {error.strerror} ({how})", FAILED) from None
    if not report.finished:
        return STOPPED
    return INCOMPLETE if report.failed_count else 0


def fail(report: Report, as_json: bool, reason: object) -> typer.Exit:
    """Print what a job did before it failed, if anything, and why it failed. Returns the exception to raise."""
    if report.done or report.before or report.failed_count:
        finish(report, as_json)
    return stop_with(reason, FAILED)


def stop_on_signals(stop: Callable[[], object]) -> None:
    """Call ``stop`` at SIGINT or SIGTERM. A second signal ends the process at once: finishing a large object may take
    hours; each object is either done or untouched then, and the next run goes on with it.
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
    """Print why the command ends. Returns the exception to raise."""
    print(f"strongroom: {shown(' '.join(str(reason).split()))}", file=sys.stderr)
    return typer.Exit(code)
