"""Running a transfer: when it stops."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from strongroom.report import Report
from strongroom.transfer.copying import NotCopied
from strongroom.transfer.exporting import Export
from strongroom.transfer.place import Place
from strongroom.transfer.run import Watcher, run
from strongroom.transfer.s3 import Listed, S3Failed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTS = [Listed("bucket", str(number), 1, "etag", NOW) for number in range(1000)]
WATCHER = Watcher(lambda _: None, lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("code", "stops"),
    [
        ("503", True),
        ("ServiceUnavailable", True),
        ("XMinioStorageFull", True),
        ("InsufficientStorage", True),
        ("AccessDenied", False),
    ],
)
def test_an_s3_whose_kms_is_away_or_that_is_full_is_not_asked_for_one_object_after_another(
    code: str, stops: bool
) -> None:
    def work(listed: Listed) -> None:
        error = S3Failed("answers so", code)
        raise NotCopied(str(error), error.unavailable)

    report = Report("here", "there", NOW)
    run(OBJECTS, work, 4, report, threading.Event(), WATCHER)
    assert report.finished is not stops
    assert (report.failed_count < 50) is stops
    assert bool(report.notes) is stops


def test_an_object_that_comes_between_lets_it_go_on() -> None:
    def work(listed: Listed) -> None:
        if int(listed.key) % 10:
            raise NotCopied("answers so", unavailable=True)

    report = Report("here", "there", NOW)
    run(OBJECTS, work, 1, report, threading.Event(), WATCHER)
    assert (report.finished, report.done, report.failed_count) == (True, 100, 900)


class Copied:
    """A source whose objects have all been copied; ``stop`` is set as the first is listed."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop

    def list(self, bucket: str, prefix: str) -> Iterator[Listed]:
        for listed in OBJECTS:
            self.stop.set()
            yield listed

    def has(self, listed: Listed) -> bool:
        return True


def test_one_that_passes_over_what_was_copied_stops_too() -> None:
    report, stop = Report("here", "there", NOW), threading.Event()
    copied: Any = Copied(stop)
    Export(copied, Place("http://here", "bucket"), copied, None, 1).run(report, stop, WATCHER)
    assert (report.finished, report.before) == (False, 1)


def test_what_was_begun_when_it_stops_is_finished_and_counted() -> None:
    report, stop, begun = Report("here", "there", NOW), threading.Event(), list[str]()

    def work(listed: Listed) -> None:
        begun.append(listed.key)
        stop.set()

    run(OBJECTS, work, 4, report, stop, WATCHER)
    assert (report.finished, report.done, report.bytes) == (False, len(begun), len(begun))


class Removing:
    """A source of two buckets, the first of which a client removes when its first page was listed; or its listing ends
    with another ``code``.
    """

    def __init__(self, code: str = "NoSuchBucket") -> None:
        self.code = code

    def buckets(self) -> list[str]:
        return ["one", "two"]

    def list(self, bucket: str, prefix: str) -> Iterator[Listed]:
        yield Listed(bucket, "k", 1, "etag", NOW)
        if bucket == "one":
            raise S3Failed(f"there answers {self.code}", self.code)

    def has(self, listed: Listed) -> bool:
        return True


def test_a_bucket_that_a_client_removes_meanwhile_ends_nothing_unless_it_was_named() -> None:
    report, source = Report("here", "there", NOW), cast(Any, Removing())
    Export(source, Place("http://here"), source, None, 1).run(report, threading.Event(), WATCHER)
    assert (report.finished, report.before) == (True, 2)
    assert report.notes == ["one: the bucket was removed meanwhile"]
    with pytest.raises(S3Failed):
        Export(source, Place("http://here", "one"), source, None, 1).run(report, threading.Event(), WATCHER)


@pytest.mark.parametrize("code", ["AccessDenied", "503", "unreachable", ""])
def test_a_bucket_that_cannot_be_listed_to_its_end_is_not_taken_for_one_that_was_removed(code: str) -> None:
    report, source = Report("here", "there", NOW), cast(Any, Removing(code))
    with pytest.raises(S3Failed):
        Export(source, Place("http://here"), source, None, 1).run(report, threading.Event(), WATCHER)
    assert not report.finished
