"""Log lines: one line each, no secrets, for people and for machines."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Literal

import pytest

from strongroom.observe import logs

log = logging.getLogger("strongroom.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, root.level, logging.raiseExceptions = before
    logging.captureWarnings(False)


def written(form: Literal["text", "json"], message: str, failure: bool = False, **fields: object) -> str:
    stream = io.StringIO()
    logs.configure(form, stream)
    if failure:
        try:
            raise ValueError(message)
        except ValueError:
            log.exception("it failed", extra=fields)
    else:
        log.warning(message, extra=fields)
    return stream.getvalue()


def test_a_text_line_has_time_level_message_and_fields() -> None:
    line = written("text", "a worker ended", worker=7, reason="out of memory")
    assert line.endswith('a worker ended worker=7 reason="out of memory"\n')
    assert " WARNING strongroom.test [" in line
    assert line[10] == "T" and line[23] == "Z"


def test_a_json_line_is_one_object() -> None:
    line = json.loads(written("json", "a worker ended", worker=7, level="not this"))
    assert (line["level"], line["logger"], line["message"], line["worker"]) == (
        "warning",
        "strongroom.test",
        "a worker ended",
        7,
    )


def test_an_exception_comes_with_its_traceback() -> None:
    text = written("text", "boom", failure=True)
    assert "\n    Traceback" in text and "\n    ValueError: boom\n" in text
    assert "ValueError: boom" in json.loads(written("json", "boom", failure=True))["exception"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_nobody_can_forge_a_line(form: Literal["text", "json"]) -> None:
    forged = "key\n2026-01-01T00:00:00.000Z ERROR forged\x1b[2J\u2028"
    assert written(form, forged).count("\n") == 1
    assert "\x1b" not in written(form, forged, key=forged)
    assert "\n2026" not in written(form, forged, failure=True)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    "said",
    [
        "Authorization: AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/s3/aws4_request, Signature=0a1b2c3d",
        "{'authorization': 'AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=0a1b2c3d'}",
        "(b'authorization', b'Bearer 0a1b2c3d')",
        "/b/k?X-Amz-Date=1&X-Amz-Signature=0a1b2c3d&x=1",
        "x-amz-server-side-encryption-customer-key: 0a1b2c3d==",
        "{'x-amz-copy-source-server-side-encryption-customer-key': '0a1b2c3d=='}",
        "X-Amz-Security-Token=0a1b2c3d",
        "signature=0a1b2c3d",
        "secret_key='0a1b2c3d'",
    ],
)
def test_signatures_and_keys_are_blotted_out(form: Literal["text", "json"], said: str) -> None:
    for line in (written(form, said), written(form, "x", header=said), written(form, said, failure=True)):
        assert "0a1b2c3d" not in line
        assert "[redacted]" in line


def test_what_is_no_secret_stays_readable() -> None:
    said = "x-amz-server-side-encryption-customer-algorithm: AES256 for bucket/key of 12 bytes"
    assert said in written("text", said)


def test_a_closed_stream_does_not_make_more_noise(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure("text", stream)
    stream.close()
    log.warning("lost")
    assert capsys.readouterr() == ("", "")
    assert sys.stderr is not stream
