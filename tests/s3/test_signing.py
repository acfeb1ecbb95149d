"""Signature Version 4: the examples of the Amazon S3 API reference, and that what signs here is verified here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.s3.auth import HashedPayload, UnsignedPayload, authenticate
from strongroom.s3.errors import S3Error
from strongroom.s3.request import HttpRequest, parse_query
from strongroom.secret import Secret
from strongroom.sigv4 import SigningCredential, presign, sign

ACCESS_KEY, SECRET_KEY = "AKIAIOSFODNN7EXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
CREDENTIALS = {ACCESS_KEY: SECRET_KEY}
NOW = datetime(2013, 5, 24, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
HOST = "examplebucket.s3.amazonaws.com"


def http(method: str, path: str, query: str, headers: Mapping[str, str]) -> HttpRequest:
    return HttpRequest(method, path, query, dict(headers), True, "", dict(parse_query(query)))


def authorization(signed: str, mac: str) -> str:
    scope = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"
    return f"AWS4-HMAC-SHA256 Credential={scope},SignedHeaders={signed},Signature={mac}"


# "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk", its four examples.
EXAMPLES = [
    (
        "GET", "/test.txt", "", {"range": "bytes=0-9"}, EMPTY, "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        "PUT", "/test%24file.text", "",
        {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    (
        "GET", "/", "lifecycle", {}, EMPTY, "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    (
        "GET", "/", "max-keys=2&prefix=J", {}, EMPTY, "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query", "more", "digest", "signed", "mac"), EXAMPLES)
def test_the_examples_of_the_reference_verify(
    method: str, path: str, query: str, more: dict[str, str], digest: str, signed: str, mac: str
) -> None:
    headers = {"host": HOST, "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": digest, **more}
    good = http(method, path, query, {**headers, "authorization": authorization(signed, mac)})
    assert authenticate(good, CREDENTIALS, "us-east-1", NOW).payload == HashedPayload(digest)
    bad = http(method, path, query, {**headers, "authorization": authorization(signed, mac[:-1] + "e")})
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        authenticate(bad, CREDENTIALS, "us-east-1", NOW)


def test_the_presigned_example_of_the_reference_verifies_for_a_day() -> None:
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = http("GET", "/test.txt", query, {"host": HOST})
    assert authenticate(request, CREDENTIALS, "us-east-1", NOW).payload == UnsignedPayload()
    with pytest.raises(S3Error, match="AccessDenied"):
        authenticate(request, CREDENTIALS, "us-east-1", NOW + timedelta(days=1))


TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)


@given(
    path=st.lists(st.sampled_from(["a", "%2F", "/", "..", "%20", "+", "~", "%C3%BC", "=", "&"]), max_size=8),
    query=st.lists(st.sampled_from(["a=1", "b", "a=%20", "prefix=x+y", "z=%C3%BC", "="]), max_size=5),
    value=TEXT,
)
def test_what_signs_here_is_verified_here(path: list[str], query: list[str], value: str) -> None:
    credential = SigningCredential(ACCESS_KEY, SECRET_KEY)
    raw = http("GET", "/" + "".join(path), "&".join(query), {"host": "h", "x-amz-meta-a": value})
    added = sign(raw, credential, "eu-west-1", NOW).headers
    request = http("GET", raw.raw_path, raw.raw_query, {**raw.headers, **added})
    assert authenticate(request, CREDENTIALS, "eu-west-1", NOW).access_key == ACCESS_KEY
    url = presign(raw, credential, "eu-west-1", NOW, 60)
    presigned = http("GET", raw.raw_path, url, raw.headers)
    assert authenticate(presigned, CREDENTIALS, "eu-west-1", NOW).payload == UnsignedPayload()


@pytest.mark.parametrize("in_query", [False, True])
def test_a_list_that_repeats_a_header_is_refused_before_its_value_is_written_out_each_time(in_query: bool) -> None:
    signed = "host;x-amz-content-sha256;x-amz-date" + ";long" * 10_000
    headers = {"host": HOST, "x-amz-date": "20130524T000000Z", "x-amz-content-sha256": EMPTY, "long": "v" * 10_000}
    if in_query:
        scope = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request"
        query = (
            f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=60"
            f"&X-Amz-SignedHeaders={signed}&X-Amz-Signature={EMPTY}"
        )
        request, code = http("GET", "/", query, headers), "AuthorizationQueryParametersError"
    else:
        request = http("GET", "/", "", {**headers, "authorization": authorization(signed, EMPTY)})
        code = "AuthorizationHeaderMalformed"
    with pytest.raises(S3Error, match=code):
        authenticate(request, CREDENTIALS, "us-east-1", NOW)
