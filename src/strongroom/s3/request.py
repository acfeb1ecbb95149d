"""An HTTP request as the S3 layer sees it: a plain value, apart from the server that received it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from strongroom.s3.errors import S3Error


@dataclass(slots=True)
class HttpRequest:
    """The head of a request.

    ``raw_path`` and ``raw_query`` are as they came on the wire, percent-encoded. ``headers`` has lower-case names; a
    header that came several times is joined by ",". Header values are decoded as Latin-1, so that encoding them again
    gives the bytes that came. ``query`` holds the decoded parameters, the first of each name.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    secure: bool
    client: str
    query: dict[str, str] = field(default_factory=dict)


def parse_query(raw: str) -> list[tuple[str, str]]:
    """The parameters of a query string in order, percent-decoded; "+" is a space. Raises InvalidURI."""
    pairs = []
    for item in raw.split("&") if raw else ():
        name, _, value = item.partition("=")
        pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
