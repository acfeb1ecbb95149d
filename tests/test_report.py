"""The report of a job: what it names and counts."""

from __future__ import annotations

import errno
import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest
import typer

from strongroom.cli.outcome import FAILED, finish, stop_with
from strongroom.report import NAMED, Outage, Report

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_many_failures_are_counted_and_the_first_of_them_named() -> None:
    report = Report("here", "there", NOW)
    for number in range(NAMED + 1234):
        report.failed("bucket", f"key-{number}", "why")
    told = json.loads(report.as_json(0))
    assert (len(told["failed"]), told["failed_count"]) == (NAMED, NAMED + 1234)
    lines = report.lines(0)
    assert lines[0] == f"0 objects (0 bytes) copied and verified in 0.0 s; {NAMED + 1234:,} failed"
    assert f"failed: bucket/key-{NAMED - 1}: why" in lines
    assert lines[-2] == "failed: 1,234 more, which are not named here"
    assert len(report.failures) == NAMED


def test_a_reason_that_many_share_leaves_room_for_the_others() -> None:
    report = Report("here", "there", NOW)
    for number in range(NAMED):
        report.failed("bucket", f"plain-{number}", "it is not encrypted", at_most=10)
    report.failed("bucket", "damaged", "it is damaged")
    lines = report.lines(0)
    assert "failed: bucket/damaged: it is damaged" in lines
    assert f"failed: {NAMED - 10} more, which are not named here: it is not encrypted" in lines
    assert report.failed_count == NAMED + 1


def test_one_is_not_told_as_several() -> None:
    told = [Report("here", "there", NOW, done=number, before=number, bytes=number).lines(0)[:2] for number in (1, 2)]
    assert told == [
        ["1 object (1 byte) copied and verified in 0.0 s", "1 object was there from an earlier run"],
        ["2 objects (2 bytes) copied and verified in 0.0 s", "2 objects were there from an earlier run"],
    ]


def test_a_clock_that_is_set_meanwhile_makes_no_job_longer(capsys: pytest.CaptureFixture[str]) -> None:
    finish(Report("here", "there", NOW - timedelta(days=365)), as_json=True)
    assert 0 <= json.loads(capsys.readouterr().out)["seconds"] < 3600


def test_only_failures_in_a_row_end_a_job() -> None:
    report, outage = Report("here", "there", NOW), Outage(tasks=4)
    assert not any(outage.failed(report, "away") for _ in range(23))
    outage.ended()
    assert not any(outage.failed(report, "away") for _ in range(23))
    assert outage.failed(report, "away")
    assert not outage.failed(report, "away")
    assert report.notes == ["it failed with 24 objects in a row, so the others were not tried: away"]


def test_keys_and_answers_move_no_cursor_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("here", "there", NOW)
    report.failed("bucket", "a\x1b[2Jb\x9b2Jc\nü", "why")
    for text in (report.as_json(0).replace("\n", ""), *report.lines(0)):
        assert text.isprintable()
    assert json.loads(report.as_json(0))["failed"][0]["key"] == "a\x1b[2Jb\x9b2Jc\nü"
    assert report.as_json(0).isascii(), "whatever the encoding of the output is"
    stop_with("http://source answers 500: \x1b[2J\x9b2J", FAILED)
    assert capsys.readouterr().err.rstrip("\n").isprintable()


class Full(io.StringIO):
    """An output on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_report_that_cannot_be_printed_ends_with_one_line_of_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = Report("here", "there", NOW, done=7)
    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(typer.Exit) as ended:
        finish(report, as_json=False)
    sys.stdout.close()
    assert ended.value.exit_code == FAILED
    assert "No space left on device (7 objects copied and verified, 0 failed)" in capsys.readouterr().err
