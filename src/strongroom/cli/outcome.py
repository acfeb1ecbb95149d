"""How a job on many objects ends: exit codes, why it stopped, its report. Loads nothing that only some jobs need."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import typer

from strongroom.cli.streams import give_up_output
from strongroom.report import Report, counted, shown
from strongroom.secret import Secret

FAILED, WRONG, INCOMPLETE, STOPPED = 1, 2, 3, 130
"""Exit codes: a place that cannot be reached; a wrong argument; objects that failed; stopped by a signal."""


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
