"""What came of a long job over many objects: counts, and each failure with its reason. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Failure:
    """An object with which it failed."""

    bucket: str
    key: str
    reason: str


@dataclass(slots=True)
class Report:
    """What came of a job. ``done``: objects that it was done with now; ``before``: by an earlier run. ``finished`` is
    False where it was stopped. ``verb`` says what was done.
    """

    source: str
    target: str
    started: datetime
    done: int = 0
    before: int = 0
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: bool = False
    dry_run: bool = False
    verb: str = "copied and verified"

    def failed(self, bucket: str, key: str, reason: str) -> None:
        """Note an object with which it failed."""
        self.failures.append(Failure(bucket, key, reason))

    def as_json(self, ended: datetime) -> str:
        """For programs."""
        seconds = round((ended - self.started).total_seconds(), 3)
        return json.dumps({**self.fields(), "seconds": seconds}, indent=1, ensure_ascii=False)

    def fields(self) -> dict[str, object]:
        """What programs are told, but for the time it took."""
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
            "notes": self.notes,
        }

    def told(self) -> Sequence[str]:
        """What people are told between the summary and the failures."""
        return []

    def lines(self, ended: datetime) -> Sequence[str]:
        """For people."""
        seconds = (ended - self.started).total_seconds()
        verb = f"would be {self.verb}, counted" if self.dry_run else self.verb
        lines = [f"{counted(self.done)} ({self.bytes:,} bytes) {verb} in {seconds:.1f} s"]
        if self.before:
            lines.append(f"{self.before} objects were there from an earlier run")
        lines += self.told()
        lines += [f"failed: {f.bucket}/{f.key}: {f.reason}" for f in self.failures]
        lines += self.notes
        if not self.finished:
            lines.append("stopped before the end; the same command goes on from here")
        return [_shown(line) for line in lines]


def _shown(line: str) -> str:
    """A line as terminals may have it: clients choose keys, and neither move the cursor nor add lines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def counted(number: int) -> str:
    """A number of objects, for people."""
    return "1 object" if number == 1 else f"{number} objects"
