"""The name and the KMS context that a legacy object's keys are bound to. Pure."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping

# What Go's JSON encoder escapes in addition to what JSON requires.
_GO_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}
_SHORT_ESCAPES = {"\\b": "\\u0008", "\\f": "\\u000c"}


def bound_name(bucket: str, key: str) -> str:
    """The path that keys are bound to: bucket and key joined and made canonical, as Go's ``path.Join`` does it."""
    return posixpath.normpath(f"{bucket}/{key}")


def context_forms(context: Mapping[str, str]) -> tuple[bytes, ...]:
    """A context in the forms that releases wrote: until 2020 without any escapes, later with those of Go's encoder.

    For most names these are the same, and there is only one form.
    """
    pairs = sorted(context.items())
    raw = ",".join(f'"{name}":"{value}"' for name, value in pairs)
    escaped = ",".join(f"{_go_string(name)}:{_go_string(value)}" for name, value in pairs)
    return tuple(dict.fromkeys(f"{{{text}}}".encode() for text in (raw, escaped)))


def _go_string(text: str) -> str:
    encoded = json.dumps(text, ensure_ascii=False)
    for short, long in _SHORT_ESCAPES.items():
        encoded = encoded.replace(short, long)
    return encoded.translate(_GO_ESCAPES)
