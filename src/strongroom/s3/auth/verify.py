"""Verifies the signature of a request, in its ``Authorization`` header or in its URL, and says how to check its body.

Error codes and messages are S3's. Checked are the form of the credential, its region, service and day, whether all
headers that have to be signed are signed, the clock, and last the signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import unquote

from strongroom.dates import parse_http_date
from strongroom.s3.auth.payload import Payload, check_content_sha256, payload_of
from strongroom.s3.errors import S3Error
from strongroom.s3.request import HttpRequest
from strongroom.sigv4.canonical import InvalidText, Pairs, as_minio, canonical_pairs, request_digest
from strongroom.sigv4.chunks import UNSIGNED_PAYLOAD, ChunkSigning
from strongroom.sigv4.keys import (
    ALGORITHM,
    ALGORITHM_ECDSA,
    DEFAULT_REGION,
    MAX_SKEW,
    SERVICE,
    TERMINATOR,
    Credentials,
    Scope,
    parse_credential,
    parse_timestamp,
    right_region,
    same_signature,
    signature,
    signing_key,
    timestamp,
)

MAX_EXPIRES = 604_800
"""The longest life of a presigned URL: a week, in seconds."""

_V4_QUERY = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)
_V2_QUERY = ("AWSAccessKeyId", "Signature")
_SESSION = "x-amz-security-token"
TO_BE_SIGNED = ("x-amz-", "x-minio-")
"""How the names of headers begin that have to be signed: S3 gives them a meaning, or a MinIO behind a gateway does."""
_DAY = re.compile(r"[0-9]{8}")
_CREDENTIAL_FORM = '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"'
_REMEMBERED = 512
"""Up to how many characters the beginning of an Authorization header is cached."""
_USE_V4 = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
_NO_V4A = "Signature Version 4A (ECDSA) is not implemented; use AWS4-HMAC-SHA256."


@dataclass(slots=True)
class Identity:
    """Who sent a request, how its body has to be checked, and the names of the signed headers."""

    access_key: str
    payload: Payload
    signed: frozenset[str]


@dataclass(slots=True)
class _Claim:
    """What a request claims in its header or URL. ``signed`` is the list of header names as the client wrote it."""

    scope: Scope
    signed: str
    signature: str
    timestamp: str
    content_sha256: str


def authenticate(request: HttpRequest, credentials: Credentials, region: str, now: datetime) -> Identity:
    """Verify who sent ``request``; ``now`` is an aware datetime. ``region``: the region that it has to be signed for;
    "" accepts any, as MinIO does if no region is set.

    Raises AccessDenied (no authentication, unsigned headers, an expired URL), AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError, InvalidAccessKeyId, InvalidArgument, InvalidRequest, InvalidToken, InvalidURI,
    NotImplemented, RequestTimeTooSkewed and SignatureDoesNotMatch.
    """
    try:
        return _authenticate(request, credentials, region, now)
    except InvalidText:
        raise S3Error("InvalidURI") from None


def _authenticate(request: HttpRequest, credentials: Credentials, region: str, now: datetime) -> Identity:
    authorization = request.headers.get("authorization")
    pairs = canonical_pairs(request.raw_query)
    in_query = any(name in _V4_QUERY or name in _V2_QUERY for name, _ in pairs) if pairs else False
    if authorization is None:
        if not in_query:
            raise S3Error("AccessDenied")
        return _authenticate_query(request, pairs, credentials, region, now)
    if in_query:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string"
            " parameter or the Authorization header should be specified",
            ArgumentName="Authorization",
        )
    return _authenticate_header(request, authorization, pairs, credentials, region, now)


# -- the Authorization header --------------------------------------------------------------------------------------


def _authenticate_header(
    request: HttpRequest, authorization: str, pairs: Pairs, credentials: Credentials, region: str, now: datetime
) -> Identity:
    headers = request.headers
    scope, signed, provided = _components(authorization)
    moment, stamp = _header_time(headers)
    fault = _scope_fault(scope, region, stamp)
    if fault:
        raise _malformed_header(fault, region)
    content = headers.get("x-amz-content-sha256")
    if content is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    check_content_sha256(content)
    if not _check_signed_headers(headers, signed):
        raise _malformed_header("SignedHeaders names a header twice.")
    if abs(now - moment) > MAX_SKEW:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=stamp,
            ServerTime=_iso(now),
            MaxAllowedSkewMilliseconds=str(int(MAX_SKEW.total_seconds() * 1000)),
        )
    return _verify(request, _Claim(scope, signed, provided, stamp, content), pairs, credentials)


def _components(authorization: str) -> tuple[Scope, str, str]:
    """The scope, the list of signed headers, and the signature."""
    beginning, mark, provided = authorization.rpartition("Signature=")
    stated = _stated(beginning) if mark and len(beginning) <= _REMEMBERED and "," not in provided else None
    if stated is not None:
        return *stated, provided
    fields = _authorization_fields(authorization)
    if len(fields) < 3:
        raise _malformed_header(
            "the authorization header requires three components: Credential, SignedHeaders, and Signature."
        )
    try:
        credential, signed, provided = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
    except KeyError as missing:
        raise _malformed_header(f"missing {missing.args[0]}.") from None
    scope = parse_credential(credential)
    if scope is None:
        raise _malformed_header(f"the Credential is mal-formed; expecting {_CREDENTIAL_FORM}.")
    return scope, signed, provided


@lru_cache(1024)
def _stated(beginning: str) -> tuple[Scope, str] | None:
    """The scope and the list of signed headers at a header's beginning; None unless it holds exactly these two.

    Cached, since it is the same in most of a client's requests on one day.
    """
    fields = _authorization_fields(beginning.rstrip(", "))
    scope = parse_credential(fields.get("Credential", ""))
    if scope is None or fields.keys() != {"Credential", "SignedHeaders"}:
        return None
    return scope, fields["SignedHeaders"]


def _authorization_fields(authorization: str) -> dict[str, str]:
    algorithm, space, rest = authorization.strip().partition(" ")
    if not space:
        raise S3Error(
            "InvalidArgument",
            "Authorization header is invalid -- one and only one ' ' (space) required.",
            ArgumentName="Authorization",
            ArgumentValue=authorization[:256],
        )
    if algorithm != ALGORITHM:
        if algorithm == ALGORITHM_ECDSA:
            raise S3Error("NotImplemented", _NO_V4A)
        if algorithm == "AWS":
            raise S3Error("InvalidRequest", _USE_V4)
        raise S3Error(
            "InvalidArgument",
            "Unsupported Authorization Type",
            ArgumentName="Authorization",
            ArgumentValue=algorithm[:256],
        )
    fields: dict[str, str] = {}
    for item in rest.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals:
            raise _malformed_header(f'the authorization component "{name}" is malformed.')
        if name in fields:
            raise _malformed_header(f"the component {name} is there twice.")
        fields[name] = value
    return fields


def _header_time(headers: Mapping[str, str]) -> tuple[datetime, str]:
    """The time of the request, and its text in the string to sign: from ``x-amz-date``, else from ``date``."""
    text = headers.get("x-amz-date")
    moment = None
    if text is not None:
        moment = parse_timestamp(text)
        if moment is not None:
            return moment, text  # already in the form that is signed
    elif "date" in headers:
        text = headers["date"]
        moment = parse_timestamp(text) or parse_http_date(text)
    if moment is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return moment, timestamp(moment)


# -- presigned URLs ------------------------------------------------------------------------------------------------


def _authenticate_query(
    request: HttpRequest, pairs: Pairs, credentials: Credentials, region: str, now: datetime
) -> Identity:
    parameters = _query_parameters(pairs)
    scope = parse_credential(parameters["X-Amz-Credential"])
    if scope is None:
        raise _malformed_query(
            f"Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting {_CREDENTIAL_FORM}."
        )
    stamp = parameters["X-Amz-Date"]
    moment = parse_timestamp(stamp)
    if moment is None:
        raise _malformed_query("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    fault = _scope_fault(scope, region, stamp)
    if fault:
        raise _malformed_query(f"Error parsing the X-Amz-Credential parameter; {fault}", region)
    _check_lifetime(moment, parameters["X-Amz-Expires"], now)
    signed = parameters["X-Amz-SignedHeaders"]
    if not _check_signed_headers(request.headers, signed):
        raise _malformed_query("X-Amz-SignedHeaders names a header twice.")
    content = parameters.get("X-Amz-Content-Sha256") or request.headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
    check_content_sha256(content)
    claim = _Claim(scope, signed, parameters["X-Amz-Signature"], stamp, content)
    return _verify(request, claim, [pair for pair in pairs if pair[0] != "X-Amz-Signature"], credentials)


def _query_parameters(pairs: Pairs) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name in _V4_QUERY or name == "X-Amz-Content-Sha256":
            if name in parameters:
                raise _malformed_query(f"{name} is there twice.")
            parameters[name] = unquote(value)
    if "X-Amz-Algorithm" not in parameters and any(name in _V2_QUERY for name, _ in pairs):
        raise S3Error("InvalidRequest", _USE_V4)
    if not all(parameters.get(name) for name in _V4_QUERY):
        raise _malformed_query(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential,"
            " X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if parameters["X-Amz-Algorithm"] == ALGORITHM_ECDSA:
        raise S3Error("NotImplemented", _NO_V4A)
    if parameters["X-Amz-Algorithm"] != ALGORITHM:
        raise _malformed_query(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    return parameters


def _check_lifetime(moment: datetime, expires: str, now: datetime) -> None:
    digits = expires[1:] if expires.startswith("-") else expires
    if not (digits.isascii() and digits.isdigit()):
        raise _malformed_query("X-Amz-Expires should be a number")
    if expires.startswith("-"):
        raise _malformed_query("X-Amz-Expires must be non-negative")
    if len(expires) > 18 or int(expires) > MAX_EXPIRES:
        raise _malformed_query(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less"
            " than 604800 seconds"
        )
    if int(expires) == 0:
        raise _malformed_query("X-Amz-Expires must be at least 1 second")
    if moment - now > MAX_SKEW:
        raise S3Error("AccessDenied", "Request is not valid yet", ServerTime=_iso(now))
    end = moment + timedelta(seconds=int(expires))
    if now >= end:
        raise S3Error(
            "AccessDenied",
            "Request has expired",
            Expires=_iso(end),
            ServerTime=_iso(now),
            **{"X-Amz-Expires": expires},
        )


# -- both ----------------------------------------------------------------------------------------------------------


def _verify(request: HttpRequest, claim: _Claim, pairs: Pairs, credentials: Credentials) -> Identity:
    scope = claim.scope
    secret = credentials.get(scope.access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=scope.access_key)
    if _SESSION in request.headers or (pairs and any(name.lower() == _SESSION for name, _ in pairs)):
        raise S3Error("InvalidToken")  # there are no temporary credentials here
    key = signing_key(scope.access_key, secret, scope.day, scope.region)
    scope_text = str(scope)

    def to_sign(headers: Mapping[str, str]) -> str:
        digest = request_digest(request.method, request.raw_path, pairs, headers, claim.signed, claim.content_sha256)
        return f"{ALGORITHM}\n{claim.timestamp}\n{scope_text}\n{digest}"

    string_to_sign = to_sign(request.headers)
    expected = signature(key, string_to_sign)
    if not same_signature(expected, claim.signature):
        expected = signature(key, to_sign(as_minio(request.headers)))
        if not same_signature(expected, claim.signature):
            # Unlike AWS's, this answer omits the canonical request: it would repeat the client's key of SSE-C.
            raise S3Error(
                "SignatureDoesNotMatch",
                AWSAccessKeyId=scope.access_key,
                StringToSign=string_to_sign,
                SignatureProvided=claim.signature,
            )
    signing = ChunkSigning(expected, key, claim.timestamp, scope_text)
    return Identity(scope.access_key, payload_of(claim.content_sha256, signing), frozenset(claim.signed.split(";")))


def _scope_fault(scope: Scope, region: str, stamp: str) -> str:
    """What is wrong with a scope, in S3's words; "" if nothing is."""
    if scope.terminator != TERMINATOR:
        return f'incorrect terminator "{scope.terminator}". This endpoint uses "{TERMINATOR}".'
    if scope.service != SERVICE:
        return f'incorrect service "{scope.service}". This endpoint belongs to "{SERVICE}".'
    if not right_region(scope, region):
        return f"the region '{scope.region}' is wrong; expecting '{region or DEFAULT_REGION}'"
    if scope.day != stamp[:8]:
        if not _DAY.fullmatch(scope.day):
            return f'incorrect date format "{scope.day}". This date in the credential must be in the format "yyyyMMdd".'
        return f'Invalid credential date "{scope.day}". This date is not the same as X-Amz-Date: "{stamp[:8]}".'
    return ""


def _check_signed_headers(headers: Mapping[str, str], signed: str) -> bool:
    """Whether ``signed`` names no header twice. The canonical request repeats the value for each time that a header is
    named, and could become thousands of times larger than the head. Raises AccessDenied if a header that has to be
    signed is not in the list.
    """
    listed = signed.split(";")
    names = set(listed)
    unsigned = [name for name in headers if name not in names and name.startswith(TO_BE_SIGNED)]
    if "host" not in names:
        unsigned.append("host")
    if unsigned:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(unsigned),
        )
    return len(names) == len(listed)


def _malformed_header(fault: str, region: str = "") -> S3Error:
    details = {"Region": region or DEFAULT_REGION} if "the region" in fault else {}
    return S3Error("AuthorizationHeaderMalformed", f"The authorization header is malformed; {fault}", **details)


def _malformed_query(message: str, region: str = "") -> S3Error:
    details = {"Region": region or DEFAULT_REGION} if "the region" in message else {}
    return S3Error("AuthorizationQueryParametersError", message, **details)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
