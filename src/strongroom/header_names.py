"""Names of HTTP headers. Pure."""

from __future__ import annotations

import re

LOWER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
"""What a header's name can be: "token" of RFC 9110, section 5.6.2, in lower case."""
