"""Log lines: for people, or one JSON object a line; to standard error.

Modules log with :mod:`logging` as usual; what they pass as ``extra`` becomes fields of the line. Two things hold for
every entry, whatever is logged: it is one line (a traceback follows on indented lines), and what looks like a signature
or an SSE-C key is redacted. The latter is only a safety net: code that logs such a thing is wrong already.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from typing import Literal, TextIO

_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}

# A header or query parameter that carries a secret, and its value, as written in headers, URLs, JSON and repr.
_SECRET = re.compile(
    r"""(?ix)
    ( (?: authorization
        | (?: x-amz-(?:copy-source-)?server-side-encryption-customer-key )(?! -? (?:md5|algorithm) )
        | x-amz-(?:signature | security-token | credential)
        | (?<![a-z-]) signature | cookie | password | secret[_-]?key )
      ["']? \s* [:=,] \s* b?["']? )
    ( (?: aws4-hmac-sha256 | basic | bearer ) [ ] [^"'\r\n]+ | [^\s"'&,;)]+ )
    """
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def configure(form: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Send everything that this process logs, warnings included, to ``stream`` (standard error) in this form."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of each form that anybody sends malformed
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log line that cannot be written must not cause tracebacks on standard error


def redacted(text: str) -> str:
    """``text`` without what looks like a secret: a signature, a session token, an SSE-C key, a password."""
    return _SECRET.sub(r"\1[redacted]", text)


class TextLines(logging.Formatter):
    """``2026-01-31T12:00:00.000Z WARNING strongroom.serving [123] message key=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; a traceback follows, indented."""
        fields = "".join(f" {name}={_quoted(value)}" for name, value in _fields(record).items())
        head = f"{_time(record)} {record.levelname:<7} {record.name} [{record.process}] "
        lines = [head + _one_line(record.getMessage()) + fields]
        lines += [f"    {_one_line(line)}" for line in _traceback(self, record).splitlines()]
        return redacted("\n".join(lines))


class JsonLines(logging.Formatter):
    """One JSON object: time, level, logger, process, message, the fields, and the traceback as ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line."""
        line: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": redacted(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line.setdefault(
                name, value if isinstance(value, int | float) else redacted(f"{name}={value}")[len(name) + 1 :]
            )
        if traceback := _traceback(self, record):
            line["exception"] = redacted(traceback)
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _ORDINARY}


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
