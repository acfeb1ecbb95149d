"""Names, owners and pages, as all listings have them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from strongroom.s3.errors import S3Error

MAX_PAGE = 1000

_ENCODED = re.compile(r"[^A-Za-z0-9/*\-._~]")


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns buckets and objects: there is one account, the operator's."""

    id: str
    display_name: str


OWNER = Account("5374726f6e67726f6f6d00000000000000000000000000000000000000000000", "strongroom")


def encode_name(name: str, encoding: str | None) -> str:
    """A key or prefix in a listing, under its ``encoding-type``. Raises InvalidArgument for one that S3 lacks."""
    if encoding is None:
        return name
    if encoding != "url":
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding[:256],
        )
    return quote(name, safe="/*-._").replace("%20", "+") if _ENCODED.search(name) else name


def page_size(asked: int | None, name: str) -> int:
    """How many entries a page may have. Raises InvalidArgument for a negative number."""
    return MAX_PAGE if asked is None else min(_count(asked, name), MAX_PAGE)


def part_marker(asked: int | str | None) -> int:
    """The number of the part after which a page begins. Raises InvalidArgument for what is none."""
    if isinstance(asked, str):
        asked = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else -1
    return _count(asked or 0, "part-number-marker")


def _count(asked: int, name: str) -> int:
    if asked < 0 or asked > 2**31 - 1:
        raise S3Error(
            "InvalidArgument",
            f"Argument {name} must be an integer between 0 and 2147483647",
            ArgumentName=name,
            ArgumentValue=str(asked)[:256],
        )
    return asked
