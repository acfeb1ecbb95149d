"""The report of a long job over many objects: counts, and each failure with its reason."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

NAMED = 1000
"""Failures that are named; further ones are only counted."""

GOES_ON = "stopped before the end; the same command goes on from here"

_IN_A_ROW = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that failed; a bucket as such if ``key`` is ""; the whole place if ``bucket`` is "", too."""

    bucket: str
    key: str
    reason: str

    @property
    def name(self) -> str:
        """The name that is printed before the reason."""
        return f"{self.bucket}/{self.key}: " if self.bucket else ""


@dataclass(slots=True)
class Report:
    """The results of a job. ``done``: how many objects were done in this run; ``before``: in an earlier one.
    ``finished`` is False if the job was stopped. ``failures``: the first ones; ``unnamed``: how many more there were,
    by reason if that is one which many share, else under "". ``verb`` says what was done. ``began``: when it started,
    by the monotonic clock, which nobody sets.
    """

    source: str
    target: str
    started: datetime
    done: int = 0
    before: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    unnamed: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    finished: bool = False
    dry_run: bool = False
    verb: str = "copied and verified"
    began: float = field(default_factory=time.monotonic)

    @property
    def failed_count(self) -> int:
        """How many objects failed."""
        return len(self.failures) + self.unnamed.total()

    def failed(self, bucket: str, key: str, reason: str, at_most: int = 0) -> None:
        """Note an object that failed. ``at_most``: for a reason that many share, how many of them are named."""
        if len(self.failures) < (at_most or NAMED):
            self.failures.append(Failure(bucket, key, reason))
        else:
            self.unnamed[reason if at_most else ""] += 1

    def as_json(self, seconds: float) -> str:
        """For programs: JSON, in ASCII, so that no key, terminal or output encoding can spoil it. The job took so many
        seconds.
        """
        return json.dumps({**self.fields(), "seconds": round(seconds, 3)}, indent=1)

    def fields(self) -> dict[str, object]:
        """The fields of the JSON report, except for the duration."""
        return {
            "source": self.source,
            "target": self.target,
            "started": self.started.isoformat(),
            "finished": self.finished,
            "dry_run": self.dry_run,
            "done": self.done,
            "done_before": self.before,
            "bytes": self.bytes,
            "failed": [{"bucket": f.bucket, "key": f.key, "reason": f.reason} for f in self.failures],
            "failed_count": self.failed_count,
            "notes": self.notes,
        }

    def told(self) -> Sequence[str]:
        """The lines that people are shown between the summary and the failures."""
        return []

    def lines(self, seconds: float) -> Sequence[str]:
        """The report for people, of a job that took so many seconds."""
        verb = f"would be {self.verb}, counted" if self.dry_run else self.verb
        failed = f"; {self.failed_count:,} failed" if self.failed_count else ""
        lines = [f"{counted(self.done)} ({counted(self.bytes, 'byte')}) {verb} in {seconds:.1f} s{failed}"]
        if self.before:
            lines.append(f"{counted(self.before, 'object was', 'objects were')} there from an earlier run")
        lines += self.told()
        lines += [f"failed: {f.name}{f.reason}" for f in self.failures]
        for reason, more in sorted(self.unnamed.items()):
            lines.append(f"failed: {more:,} more, which are not named here{reason and f': {reason}'}")
        lines += self.notes
        if not self.finished:
            lines.append(GOES_ON)
        return [shown(line) for line in lines]


@dataclass(slots=True)
class Outage:
    """Counts failures in a row because something that all objects need is not available: if the job went on, the rest
    would fail, too. ``tasks`` objects are worked on at the same time, so that many may fail at the same moment.
    """

    tasks: int
    _row: int = 0

    def ended(self) -> None:
        """An object was done."""
        self._row = 0

    def failed(self, report: Report, reason: object) -> bool:
        """Count one more failure. Returns True if the job is to stop; the report then says why."""
        self._row += 1
        if self._row != _IN_A_ROW + self.tasks:
            return False
        report.notes.append(f"it failed with {self._row} objects in a row, so the others were not tried: {reason}")
        return True


def shown(line: str) -> str:
    """A line that is safe to show on a terminal: keys come from clients, answers from other servers, and neither may
    move the cursor or add lines.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def counted(number: int, one: str = "object", many: str = "") -> str:
    """A number of things, for people; ``many`` is what several are called, ``one`` and an "s" if it is not given."""
    return f"1 {one}" if number == 1 else f"{number:,} {many or f'{one}s'}"
