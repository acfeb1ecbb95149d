"""What all forms of Signature Version 4 have in common: credential scope, signing key, timestamps, the MAC itself.

Source: "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API reference.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256

from strongroom.secret import Secret

Credentials = Mapping[str, Secret]
"""Access key → secret key."""

ALGORITHM = "AWS4-HMAC-SHA256"
ALGORITHM_ECDSA = "AWS4-ECDSA-P256-SHA256"
SERVICE = "s3"
TERMINATOR = "aws4_request"
DEFAULT_REGION = "us-east-1"
EMPTY_SHA256 = sha256(b"").hexdigest()

MAX_SKEW = timedelta(minutes=15)
"""How far the clocks of client and server may differ."""

_CACHED_KEYS = 4096
_TIMESTAMP_LENGTH = 16
_TIMESTAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_REGION = re.compile(r"[A-Za-z0-9-]{0,64}")  # bounded, since signing keys are cached under it
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class Scope:
    """A credential scope: whose key it is, and for which day (``YYYYMMDD``), region and service it signs."""

    access_key: str
    day: str
    region: str
    service: str
    terminator: str

    def __str__(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{self.terminator}"


def parse_credential(text: str) -> Scope | None:
    """Read ``<access key>/<day>/<region>/<service>/aws4_request``; None if it has fewer fields or no access key.

    Access keys may hold slashes, so the text is split from the right. The fields are not checked.
    """
    fields = text.rsplit("/", 4)
    if len(fields) != 5 or not fields[0]:
        return None
    return Scope(*fields)


def right_region(scope: Scope, region: str) -> bool:
    """Whether a request is signed for ``region``. If that is "", any well-formed region will do, the empty one, too."""
    return scope.region == region if region else _REGION.fullmatch(scope.region) is not None


# (access key, day, region) → (the secret it was derived from, signing key). Only known credentials get here, and the
# clock check refuses requests of other days, so it stays small; the bound is for long runs.
_signing_keys: dict[tuple[str, str, str], tuple[Secret, Secret]] = {}


def signing_key(access_key: str, secret: Secret, day: str, region: str) -> Secret:
    """The key that signs for one day and region, derived from the secret key by four HMACs, and cached."""
    name = (access_key, day, region)
    cached = _signing_keys.get(name)
    if cached is not None and (cached[0] is secret or cached[0] == secret):
        return cached[1]
    key = b"AWS4" + secret.reveal()
    for step in (day, region, SERVICE, TERMINATOR):
        key = hmac.digest(key, step.encode(), "sha256")
    derived = Secret(key)
    if len(_signing_keys) >= _CACHED_KEYS:
        _signing_keys.clear()
    _signing_keys[name] = (secret, derived)
    return derived


def signature(key: Secret, string_to_sign: str) -> str:
    """HMAC-SHA256 in lower-case hexadecimal."""
    return hmac.digest(key.reveal(), string_to_sign.encode(), "sha256").hex()


def same_signature(expected: str, provided: str) -> bool:
    """Compare in constant time. False if ``provided`` is not even in the form of a signature."""
    return _SIGNATURE.fullmatch(provided) is not None and hmac.compare_digest(expected, provided)


def timestamp(moment: datetime) -> str:
    """``moment`` in ISO 8601 basic form, UTC: ``20130524T000000Z``."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def parse_timestamp(text: str) -> datetime | None:
    """Read ISO 8601 basic form (``20130524T000000Z``); None if it does not have this form, or is no valid date."""
    return _parse_timestamp(text) if len(text) == _TIMESTAMP_LENGTH else None


@lru_cache(1024)  # requests of the same second share it
def _parse_timestamp(text: str) -> datetime | None:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
