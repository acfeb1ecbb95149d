"""Names of HTTP headers. Pure."""

from __future__ import annotations

import re

LOWER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""What a header's name can be: "token" of RFC 9110, section 5.6.2, in lower case."""

META = "x-amz-meta-"
"""What names of user metadata begin with."""

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
    """Whether a header, by its name in lower case, is one that is kept with an object and shown with it."""
    return (name.startswith(META) and LOWER_NAME.fullmatch(name) is not None) or name in CONTENT_HEADERS
