"""Names of HTTP headers. Pure."""

from __future__ import annotations

import re

LOWER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""What a header's name can be: "token" of RFC 9110, section 5.6.2, in lower case."""

META = "x-amz-meta-"
"""The prefix of the names of user metadata."""

REDIRECT = "x-amz-website-redirect-location"

CONTENT_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    REDIRECT,
)


def is_kept(name: str) -> bool:
    """Whether a header, given by its name in lower case, is stored with an object and sent with it."""
    return (name.startswith(META) and LOWER_NAME.fullmatch(name) is not None) or name in CONTENT_HEADERS
