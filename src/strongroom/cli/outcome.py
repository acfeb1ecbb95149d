"""How a job on many objects ends: exit codes, signals, why it stopped, its report. Loads nothing that only some jobs
need.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import typer

from strongroom.cli.streams import give_up_output
from strongroom.report import Report, counted, shown
from strongroom.secret import Secret

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


def customer_key(path: Path | None) -> Secret | None:
    """The client's key for SSE-C objects, from a file. Raises typer.Exit."""
    if path is None:
        return None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise stop_with(f"--sse-c-key-file: {path}: {error.strerror}", WRONG) from None
    if len(key) != 32:
        raise stop_with(f"--sse-c-key-file: {path} has {len(key)} bytes, and a key has 32", WRONG)
    return Secret(key)


def stop_with(reason: object, code: int) -> typer.Exit:
    """Print why; what to raise."""
    print(f"strongroom: {shown(' '.join(str(reason).split()))}", file=sys.stderr)
    return typer.Exit(code)
