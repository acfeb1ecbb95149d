"""Cross-origin requests: which web pages may reach buckets from a browser. Pure, except for :class:`CrossOrigin`.

A bucket's own rules decide, as in S3; if it has none, the server's only rule does, as in MinIO. The rules only decide
what a browser shows to a page: requests have to be signed all the same, and other clients ignore them.

Source: "Using cross-origin resource sharing (CORS)" in the Amazon S3 User Guide, the Fetch standard, section 3.3, and
for errors the answers of AWS.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from strongroom.s3.call import Headers
from strongroom.s3.describe import HEADER_NAME
from strongroom.s3.errors import S3Error
from strongroom.s3.service_model import shape_of
from strongroom.s3.shapes import CORSConfiguration, CORSRule
from strongroom.s3.xml import compile_reader, compile_writer, read_document
from strongroom.sealed.faults import NoSuchBucket, StoreError
from strongroom.sealed.remembered import Lately
from strongroom.sealed.store import SealedStore

METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
MAX_RULES = 100
"""The maximum number of rules of a bucket (S3 User Guide, "Elements of a CORS configuration")."""
MAX_DOCUMENT = 64 * 1024
"""The maximum bytes of a bucket's rules (S3 API reference, PutBucketCors)."""
MAX_NAMES = 256
"""The maximum number of headers that a preflight may ask about; no request has more. Each is compared with all patterns
of a bucket's rules, which may be thousands, and anybody may send a preflight."""

EXPOSED = (
    "ETag",
    "Accept-Ranges",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Date",
    "Last-Modified",
    "Location",
    "x-amz-bucket-region",
    "x-amz-copy-source-version-id",
    "x-amz-delete-marker",
    "x-amz-id-2",
    "x-amz-mp-parts-count",
    "x-amz-request-id",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-customer-key-MD5",
    "x-amz-tagging-count",
    "x-amz-version-id",
    "*",
)
"""The headers of answers that scripts see under the server's rule. The last one stands for all others, such as those of
metadata and checksums, if the request has no credentials of the browser's own (cookies, say).
"""

_NAME = "CORSConfiguration"
_VARY = ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_EVERY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Which origins may send which methods with which headers. Origins and headers may have one ``*``, for any text;
    headers are in lower case.
    """

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: int | None = None

    def allows(self, origin: str, method: str, headers: Iterable[str] = ()) -> bool:
        """Whether a page of this origin may send such a request; ``headers`` in lower case."""
        return (
            method in self.methods
            and any(_fits(pattern, origin) for pattern in self.origins)
            and all(any(_fits(pattern, header) for pattern in self.headers) for header in headers)
        )

    def answer(self, origin: str) -> Headers:
        """The headers that tell a browser that a page of this origin is allowed by this rule."""
        found: Headers = [("access-control-allow-methods", ", ".join(self.methods)), _VARY]
        if _EVERY in self.origins:
            found.append(("access-control-allow-origin", _EVERY))
        else:
            found += [("access-control-allow-origin", origin), ("access-control-allow-credentials", "true")]
        if self.exposed:
            found.append(("access-control-expose-headers", ", ".join(self.exposed)))
        if self.max_age is not None:
            found.append(("access-control-max-age", str(self.max_age)))
        return found


Rules = Sequence[Rule]


def server_rules(origins: Sequence[str]) -> Rules:
    """The rule of a server that lets these origins use all buckets; no rule if there are no origins."""
    return [Rule(tuple(origins), METHODS, (_EVERY,), EXPOSED)] if origins else []


def preflight(rules: Rules, headers: Mapping[str, str]) -> Headers:
    """The headers of the answer to a preflight request. ``headers`` are those of the request.

    Raises BadRequest for a malformed preflight, AccessForbidden if no rule allows what it asks for.
    """
    origin = headers.get("origin")
    if not origin:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    method = headers.get("access-control-request-method", "")
    if method not in METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method[:64]}")
    wanted = _names(headers.get("access-control-request-headers", ""))
    if not rules:
        raise S3Error("AccessForbidden", "CORSResponse: CORS is not enabled for this bucket.", Method="OPTIONS")
    for rule in rules:
        if rule.allows(origin, method, wanted):
            found = rule.answer(origin)
            return [*found, ("access-control-allow-headers", ", ".join(wanted))] if wanted else found
    raise S3Error("AccessForbidden", Method="OPTIONS")


def answered(rules: Rules, origin: str, method: str) -> Headers:
    """The headers to add to the answer to a request from a page; none if no rule allows it."""
    return next((rule.answer(origin) for rule in rules if rule.allows(origin, method)), [])


# -- the configuration of a bucket ---------------------------------------------------------------------------------


def encode(configuration: CORSConfiguration) -> bytes:
    """A configuration as it is stored: the document of PutBucketCors.

    Raises EntityTooLarge, InvalidRequest, MalformedXML for a configuration that S3 would refuse.
    """
    rules = configuration.cors_rules
    if not rules or not all(rule.allowed_methods and rule.allowed_origins for rule in rules):
        raise S3Error("MalformedXML")
    if len(rules) > MAX_RULES:
        raise S3Error(
            "InvalidRequest", f"The number of CORS rules should not exceed allowed limit of {MAX_RULES} rules."
        )
    for rule in rules:
        _check(rule)
    out: list[str] = []
    _write(out, configuration)
    document = "".join(out).encode()
    if len(document) > MAX_DOCUMENT:
        raise S3Error("EntityTooLarge", ProposedSize=str(len(document)), MaxSizeAllowed=str(MAX_DOCUMENT))
    return document


def decode(document: bytes) -> CORSConfiguration:
    """Read what :func:`encode` wrote. Raises MalformedXML."""
    configuration: CORSConfiguration = _read(read_document(document, _NAME))
    return configuration


@lru_cache(64)
def rules_of(document: bytes) -> Rules:
    """The rules in a bucket's stored configuration. Raises MalformedXML."""
    return [
        Rule(
            tuple(rule.allowed_origins),
            tuple(rule.allowed_methods),
            tuple(name.lower() for name in rule.allowed_headers),
            tuple(rule.expose_headers),
            rule.max_age_seconds,
        )
        for rule in decode(document).cors_rules
    ]


def _check(rule: CORSRule) -> None:
    for method in rule.allowed_methods:
        if method not in METHODS:
            raise _invalid(f"Found unsupported HTTP method in CORS config. Unsupported method is {method[:64]}")
    for origin in rule.allowed_origins:
        if origin.count(_EVERY) > 1:
            raise _invalid(f'AllowedOrigin "{origin[:256]}" can not have more than one wildcard.')
        if not origin.isprintable() or not origin.isascii():
            raise _invalid(f'AllowedOrigin "{origin[:256]}" contains invalid character.')
    for name in rule.allowed_headers:
        if not HEADER_NAME.fullmatch(name):
            raise _invalid(f'AllowedHeader "{name[:256]}" contains invalid character.')
        if name.count(_EVERY) > 1:
            raise _invalid(f'AllowedHeader "{name[:256]}" can not have more than one wildcard.')
    for name in rule.expose_headers:
        if not HEADER_NAME.fullmatch(name):
            raise _invalid(f'ExposeHeader "{name[:256]}" contains invalid character.')
        if _EVERY in name:
            raise _invalid(
                f'ExposeHeader "{name[:256]}" contains wildcard. We currently do not support wildcard for ExposeHeader.'
            )


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidRequest", message)


def _fits(pattern: str, text: str) -> bool:
    before, star, behind = pattern.partition(_EVERY)
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(behind) and text.startswith(before) and text.endswith(behind)


def _names(text: str) -> list[str]:
    """The header names that a preflight asks about, in lower case. Raises BadRequest."""
    names = [name.strip() for name in text.split(",")] if text.strip() else []
    if len(names) > MAX_NAMES:
        raise S3Error("BadRequest", f"Access-Control-Request-Headers names more than {MAX_NAMES} headers.")
    for name in names:
        if not HEADER_NAME.fullmatch(name):
            raise S3Error("BadRequest", f'Access-Control-Request-Headers "{name[:256]}" contains invalid character.')
    return [name.lower() for name in names]


_read = compile_reader(shape_of(_NAME))
_write = compile_writer(shape_of(_NAME), _NAME)


# -- which rules hold ----------------------------------------------------------------------------------------------


class CrossOrigin:
    """Knows which rules apply to a bucket.

    ``origins``: those that may use buckets without rules. ``of_buckets``: whether buckets can have rules here.
    ``seconds``: for how long a bucket's rules may be cached; 0 for not at all.
    """

    def __init__(self, objects: SealedStore, origins: Sequence[str], of_buckets: bool, seconds: float) -> None:
        self._objects = objects
        self._default = server_rules(origins)
        self._of_buckets = of_buckets
        self._seconds = seconds
        self._known: Lately[str, Rules] = Lately(seconds)

    async def rules(self, bucket: str) -> Rules:
        """The rules for requests about a bucket, or about none (""); no rule at all if they cannot be read."""
        if not bucket or not self._of_buckets:
            return self._default
        now = time.monotonic()
        if self._known.holds(bucket, now):
            return self._known.known(bucket)
        try:
            document = await self._objects.cors(bucket)
            rules = self._default if document is None else rules_of(document)
        except NoSuchBucket:
            return self._default  # not cached: there is no end of such names
        except (StoreError, S3Error, OSError):
            return []
        if self._seconds:
            self._known.forget_old(now)  # rules may be long, and buckets many
            self._known.keep(bucket, rules, now)
        return rules

    def forget(self, bucket: str) -> None:
        """Drop a bucket's cached rules, since they were changed here, or the bucket was removed or made."""
        self._known.forget(bucket, time.monotonic())
