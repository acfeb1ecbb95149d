"""Requests whose signatures are right and that are refused all the same, for what they claim."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import pytest

from strongroom.s3.auth import authenticate
from strongroom.s3.errors import S3Error
from strongroom.s3.request import HttpRequest
from strongroom.secret import Secret
from strongroom.sigv4.canonical import canonical_pairs, request_digest
from strongroom.sigv4.keys import ALGORITHM, EMPTY_SHA256, MAX_SKEW, signature, signing_key

ACCESS_KEY, SECRET_KEY = "access", Secret("secret")
CREDENTIALS = {ACCESS_KEY: SECRET_KEY}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
STAMP = "20260102T000000Z"
SCOPE = "20260102/us-east-1/s3/aws4_request"
HEADERS = {"host": "h", "x-amz-date": STAMP, "x-amz-content-sha256": EMPTY_SHA256}
SIGNED = "host;x-amz-content-sha256;x-amz-date"
PARAMETERS = {
    "X-Amz-Algorithm": ALGORITHM,
    "X-Amz-Credential": f"{ACCESS_KEY}/{SCOPE}",
    "X-Amz-Date": STAMP,
    "X-Amz-Expires": "60",
    "X-Amz-SignedHeaders": "host",
}


def mac(headers: Mapping[str, str], query: str, signed: str, scope: str, content: str) -> str:
    """The signature of a request, whatever it claims."""
    digest = request_digest("GET", "/b/o", canonical_pairs(query), headers, signed, content)
    day, region = scope.split("/")[:2]
    key = signing_key(ACCESS_KEY, SECRET_KEY, day, region)
    return signature(key, f"{ALGORITHM}\n{STAMP}\n{scope}\n{digest}")


def request(headers: Mapping[str, str], signed: str = SIGNED, scope: str = SCOPE, more: str = "") -> HttpRequest:
    """A request that is signed in its headers; ``more`` stands in the claim before its signature."""
    made = mac(headers, "", signed, scope, headers.get("x-amz-content-sha256", EMPTY_SHA256))
    claim = f"{ALGORITHM} Credential={ACCESS_KEY}/{scope}, SignedHeaders={signed}, {more}Signature={made}"
    return HttpRequest("GET", "/b/o", "", {**headers, "authorization": claim}, True, "")


def presigned(parameters: Mapping[str, str], content: str = "UNSIGNED-PAYLOAD", more: str = "") -> HttpRequest:
    """A presigned URL; ``more`` stands in its query, and is signed, too."""
    query = urlencode(parameters, quote_via=quote, safe="") + more
    credential = parameters["X-Amz-Credential"].partition("/")[2]
    made = mac({"host": "h"}, query, parameters["X-Amz-SignedHeaders"], credential, content)
    return HttpRequest("GET", "/b/o", f"{query}&X-Amz-Signature={made}", {"host": "h"}, True, "")


def refusal(claimed: HttpRequest, now: datetime = NOW) -> str:
    """The code of the error that a request ends in, or ""."""
    try:
        authenticate(claimed, CREDENTIALS, "us-east-1", now)
    except S3Error as error:
        return error.code
    return ""


def test_the_requests_that_these_are_made_from_are_taken() -> None:
    assert refusal(request(HEADERS)) == ""
    assert refusal(presigned(PARAMETERS)) == ""


def test_a_request_whose_host_is_not_signed_is_refused() -> None:
    # It would be taken by any server that has the same credentials.
    with pytest.raises(S3Error) as refused:
        authenticate(request(HEADERS, "x-amz-content-sha256;x-amz-date"), CREDENTIALS, "us-east-1", NOW)
    assert (refused.value.code, refused.value.details["HeadersNotSigned"]) == ("AccessDenied", "host")
    assert refusal(presigned({**PARAMETERS, "X-Amz-SignedHeaders": "accept"})) == "AccessDenied"


@pytest.mark.parametrize(
    "scope",
    [
        "20260102/us-east-1/s3/aws4_requests",
        "20260102/us-east-1/iam/aws4_request",
        "20260102/eu-west-1/s3/aws4_request",
        "20260101/us-east-1/s3/aws4_request",
        "2026012/us-east-1/s3/aws4_request",
    ],
    ids=["terminator", "service", "region", "another day", "no day"],
)
def test_a_scope_that_is_not_this_one_is_refused(scope: str) -> None:
    assert refusal(request(HEADERS, scope=scope)) == "AuthorizationHeaderMalformed"
    claimed = presigned({**PARAMETERS, "X-Amz-Credential": f"{ACCESS_KEY}/{scope}"})
    assert refusal(claimed) == "AuthorizationQueryParametersError"


def test_a_claim_that_says_a_thing_twice_or_not_as_it_should_is_refused() -> None:
    for more in (f"Credential={ACCESS_KEY}/{SCOPE}, ", "Credential, ", "More, "):
        assert refusal(request(HEADERS, more=more)) == "AuthorizationHeaderMalformed"
    for name, value in PARAMETERS.items():
        twice = presigned(PARAMETERS, more=f"&{name}={quote(value, safe='')}")
        assert refusal(twice) == "AuthorizationQueryParametersError", name
    twice = presigned(PARAMETERS, more=2 * "&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
    assert refusal(twice) == "AuthorizationQueryParametersError"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("", "InvalidArgument"),
        (EMPTY_SHA256[:-1], "InvalidArgument"),
        ("UNSIGNED-PAYLOADS", "InvalidArgument"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "NotImplemented"),
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER", "NotImplemented"),
    ],
)
def test_a_body_that_cannot_be_checked_as_the_request_says_is_refused(content: str, code: str) -> None:
    assert refusal(request({**HEADERS, "x-amz-content-sha256": content})) == code
    if content:  # an empty parameter counts as none
        assert refusal(presigned({**PARAMETERS, "X-Amz-Content-Sha256": content}, content)) == code


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_url_that_lacks_a_part_of_its_claim_is_refused(name: str) -> None:
    claimed = presigned(PARAMETERS)
    for missing in (f"x-{name}", f"x-amz-{name}"):
        claimed.raw_query = presigned(PARAMETERS).raw_query.replace(f"{name}=", f"{missing}=")
        assert refusal(claimed) == "AuthorizationQueryParametersError"


def test_the_older_signature_of_a_url_is_told_from_one_that_lacks_something() -> None:
    older = HttpRequest("GET", "/b/o", "AWSAccessKeyId=access&Expires=1&Signature=s", {"host": "h"}, True, "")
    assert refusal(older) == "InvalidRequest"
    assert refusal(presigned(PARAMETERS, more="&AWSAccessKeyId=access")) == ""


def test_clients_learn_the_region_that_they_should_have_signed_for() -> None:
    for region, scope, told in (
        ("eu-west-1", SCOPE, {"Region": "eu-west-1"}),
        ("us-east-1", SCOPE.replace("s3", "iam"), {}),
    ):
        for claimed in (
            request(HEADERS, scope=scope),
            presigned({**PARAMETERS, "X-Amz-Credential": f"{ACCESS_KEY}/{scope}"}),
        ):
            with pytest.raises(S3Error) as refused:
                authenticate(claimed, CREDENTIALS, region, NOW)
            assert refused.value.details == told


def test_a_header_may_be_signed_as_clients_of_minio_do_it() -> None:
    # For them a no-break space is a blank: those at the ends are left out, and several are one.
    def wire(text: str) -> str:
        return text.encode().decode("latin-1")

    signed = f"{SIGNED};x-amz-meta-a"
    sent = {**HEADERS, "x-amz-meta-a": wire("\u00a0gr\u00fcn \u00a0 x")}
    theirs = request({**HEADERS, "x-amz-meta-a": wire("gr\u00fcn x")}, signed).headers["authorization"]
    for claim in (theirs, request(sent, signed).headers["authorization"]):
        assert refusal(HttpRequest("GET", "/b/o", "", {**sent, "authorization": claim}, True, "")) == ""
        altered = {**sent, "x-amz-meta-a": wire("gr\u00fcnx"), "authorization": claim}
        assert refusal(HttpRequest("GET", "/b/o", "", altered, True, "")) == "SignatureDoesNotMatch"


def test_a_request_has_to_say_how_its_body_is_checked() -> None:
    headers = {name: value for name, value in HEADERS.items() if name != "x-amz-content-sha256"}
    assert refusal(request(headers, "host;x-amz-date")) == "InvalidRequest"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"X-Amz-Algorithm": "AWS4-ECDSA-P256-SHA256"}, "NotImplemented"),
        ({"X-Amz-Algorithm": "AWS4-HMAC-SHA512"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Date": "20260102T000000"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Date": "20260102T250000Z"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Credential": SCOPE}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "604801"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "0"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "-1"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "1" * 5000}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "\u00b2"}, "AuthorizationQueryParametersError"),
        ({"X-Amz-Expires": "604800"}, ""),
    ],
)
def test_a_url_that_claims_what_none_may_is_refused(changed: dict[str, str], code: str) -> None:
    assert refusal(presigned({**PARAMETERS, **changed})) == code


def test_tokens_of_temporary_credentials_are_refused_wherever_they_stand() -> None:
    assert (
        refusal(request({**HEADERS, "x-amz-security-token": "t"}, f"{SIGNED};x-amz-security-token")) == "InvalidToken"
    )
    for name in ("X-Amz-Security-Token", "x-amz-security-token"):
        assert refusal(presigned(PARAMETERS, more=f"&{name}=t")) == "InvalidToken"


def test_clocks_may_lie_a_quarter_of_an_hour_apart_and_no_more() -> None:
    second = timedelta(seconds=1)
    for way in (MAX_SKEW, -MAX_SKEW):
        beyond = way + (second if way > timedelta() else -second)
        assert refusal(request(HEADERS), NOW + way) == ""
        assert refusal(request(HEADERS), NOW + beyond) == "RequestTimeTooSkewed"
    week = presigned({**PARAMETERS, "X-Amz-Expires": "604800"})
    assert refusal(week, NOW - MAX_SKEW) == ""
    assert refusal(week, NOW - MAX_SKEW - second) == "AccessDenied"
    assert refusal(week, NOW + timedelta(days=7) - second) == ""
    assert refusal(week, NOW + timedelta(days=7)) == "AccessDenied"


def test_the_time_may_stand_in_date_in_either_form() -> None:
    signed = "date;host;x-amz-content-sha256"
    headers = {name: value for name, value in HEADERS.items() if name != "x-amz-date"}
    assert refusal(request({**headers, "date": STAMP}, signed)) == ""
    assert refusal(request({**headers, "date": "Fri, 02 Jan 2026 00:00:00 GMT"}, signed)) == ""
    assert refusal(request({**headers, "date": "today"}, signed)) == "AccessDenied"
    assert refusal(request({**HEADERS, "x-amz-date": "today", "date": STAMP}, f"date;{SIGNED}")) == "AccessDenied"
    assert refusal(request(headers, "host;x-amz-content-sha256")) == "AccessDenied"


def test_a_secret_key_that_was_replaced_verifies_nothing_any_more() -> None:
    claimed = request(HEADERS)
    assert refusal(claimed) == ""
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        authenticate(claimed, {ACCESS_KEY: Secret("another")}, "us-east-1", NOW)
    equal = {ACCESS_KEY: Secret("secret")}
    assert authenticate(claimed, equal, "us-east-1", NOW).access_key == ACCESS_KEY


def test_a_head_with_characters_that_none_can_have_is_refused() -> None:
    claimed = request(HEADERS)
    claimed.raw_path = "/b/\u20ac"
    assert refusal(claimed) == "InvalidURI"
