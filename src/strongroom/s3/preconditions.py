"""The conditional headers of writes. Pure.

Source: "Adding preconditions to S3 operations with conditional requests" in the Amazon S3 User Guide.
"""

from __future__ import annotations

from strongroom.s3.errors import S3Error
from strongroom.sealed.objects import NO_PRECONDITION, Precondition


def write_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """What If-Match and If-None-Match demand of a write. Raises NotImplemented for what S3 does not support."""
    if if_match is None and if_none_match is None:
        return NO_PRECONDITION
    if if_none_match is not None and if_none_match.strip() != "*":
        raise S3Error("NotImplemented", Header="If-None-Match")
    if if_match is not None and if_none_match is not None:
        raise S3Error("NotImplemented", "If-Match and If-None-Match cannot be used together.", Header="If-None-Match")
    return Precondition(
        if_match=if_match.strip().strip('"') if if_match is not None else None,
        if_none_match=if_none_match is not None,
    )
