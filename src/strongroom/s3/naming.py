"""Names and numbers in requests and answers: keys, versions, parts, the owner, pages of listings. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from strongroom.s3.errors import S3Error
from strongroom.s3.routing import MAX_KEY
from strongroom.s3.shapes import Initiator, Owner

MAX_PAGE = 1000
MAX_PARTS = 10_000
"""The maximum number of parts of an object, and the greatest part number (S3 User Guide, "Amazon S3 multipart upload
limits").
"""

_ENCODED = re.compile(r"[^A-Za-z0-9/*\-._~]")


OWNER = Owner(id="5374726f6e67726f6f6d00000000000000000000000000000000000000000000", display_name="strongroom")
"""Who owns all buckets and objects: there is one account, the operator's."""

INITIATOR = Initiator(id=OWNER.id, display_name=OWNER.display_name)
"""The owner as the initiator of an upload."""


def check_version(version_id: str | None) -> None:
    """Raises NoSuchVersion for any version but "null", the only one that objects have."""
    if version_id not in (None, "", "null"):
        raise S3Error("NoSuchVersion", VersionId=version_id or "")


def check_key(key: str) -> None:
    """Raises KeyTooLongError; UserKeyMustBeSpecified if the key is empty."""
    if not key:
        raise S3Error("UserKeyMustBeSpecified")
    size = len(key.encode())
    if size > MAX_KEY:
        raise S3Error("KeyTooLongError", Size=str(size), MaxSizeAllowed=str(MAX_KEY))


def check_part_number(number: int) -> int:
    """Returns the part number if it is from 1 to 10,000. Raises InvalidArgument."""
    if not 1 <= number <= MAX_PARTS:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    return number


def behind_marker(marker: str, prefix: str, delimiter: str) -> str:
    """The name behind which a page with this marker begins: what is rolled up as the marker itself would be is skipped
    with it, as in S3. (A ``start-after`` skips no more than itself.)
    """
    at = marker.find(delimiter, len(prefix)) if delimiter and marker.startswith(prefix) else -1
    return marker if at < 0 else marker[: at + len(delimiter)]


def encode_name(name: str, encoding: str | None) -> str:
    """A key or prefix as a listing with this ``encoding-type`` has it. Raises InvalidArgument for an unknown type."""
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
    """How many entries a page may have. Raises InvalidArgument, for parameter ``name``, if ``asked`` is not valid."""
    return MAX_PAGE if asked is None else min(_count(asked, name), MAX_PAGE)


def part_marker(asked: int | str | None) -> int:
    """The number of the part after which a page begins. Raises InvalidArgument for a malformed one."""
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
