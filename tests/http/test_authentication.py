"""Who may ask: signatures in headers and URLs, and everything about them that is refused."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest

from tests.http.raw import Answer, request, send, signed_headers
from tests.server import Server


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """botocore signs for this moment, in Python or in C."""

    def now(remove_tzinfo: bool = True) -> datetime:
        return moment.replace(tzinfo=None) if remove_tzinfo else moment

    with patch("botocore.auth.get_current_datetime", now), patch("botocore.crt.auth.get_current_datetime", now):
        yield


def test_a_wrong_signature_is_refused(server: Server, bucket: str) -> None:
    answer = request(server, "GET", f"/{bucket}", secret_key="another-secret-key")
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")


def test_an_unknown_access_key_is_refused(server: Server, bucket: str) -> None:
    answer = request(server, "GET", f"/{bucket}", access_key="nobody")
    assert (answer.status, answer.code) == (403, "InvalidAccessKeyId")
    assert answer.find("AWSAccessKeyId") == "nobody"


def test_a_request_without_a_signature_is_refused(server: Server, bucket: str) -> None:
    assert send(server, "GET", f"/{bucket}").code == "AccessDenied"
    assert send(server, "PUT", f"/{bucket}/o", body=b"x").code == "AccessDenied"
    assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("minutes", [-16, 16])
def test_a_request_of_another_time_is_refused(server: Server, bucket: str, minutes: int) -> None:
    with at(datetime.now(UTC) + timedelta(minutes=minutes)):
        answer = request(server, "GET", f"/{bucket}")
    assert (answer.status, answer.code) == (403, "RequestTimeTooSkewed")


def test_a_header_that_was_changed_on_the_way_is_refused(server: Server, bucket: str) -> None:
    headers = signed_headers(server, "PUT", f"/{bucket}/o", {"x-amz-meta-a": "1"}, b"x")
    for changed in ({"x-amz-meta-a": "2"}, {"x-amz-meta-b": "1"}):
        sent = {name: value for name, value in headers.items() if name.lower() not in changed}
        assert send(server, "PUT", f"/{bucket}/o", {**sent, **changed}, b"x").status == 403
    assert send(server, "PUT", f"/{bucket}/other", headers, b"x").code == "SignatureDoesNotMatch"
    assert send(server, "POST", f"/{bucket}/o?uploads", headers, b"x").code == "SignatureDoesNotMatch"
    assert send(server, "PUT", f"/{bucket}/o", headers, b"x").status == 200


def test_a_body_that_is_not_the_signed_one_is_refused(server: Server, bucket: str) -> None:
    headers = signed_headers(server, "PUT", f"/{bucket}/o", body=b"what was signed")
    answer = send(server, "PUT", f"/{bucket}/o", headers, b"what was smuggl")
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("AWS test-access-key:c2lnbmF0dXJl", "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a", "NotImplemented"),
        ("Bearer token", "InvalidArgument"),
        ("AWS4-HMAC-SHA256 Credential=x", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=00", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 ," * 500, "AuthorizationHeaderMalformed"),
    ],
)
def test_an_authorization_of_another_form_is_refused(
    server: Server, bucket: str, authorization: str, code: str
) -> None:
    headers = {**signed_headers(server, "GET", f"/{bucket}"), "Authorization": authorization}
    assert send(server, "GET", f"/{bucket}", headers).code == code


def test_two_ways_of_signing_at_once_are_refused(server: Server, bucket: str) -> None:
    answer = request(server, "GET", f"/{bucket}?X-Amz-Algorithm=AWS4-HMAC-SHA256")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


# -- presigned URLs ------------------------------------------------------------------------------------------------


def fetch(url: str, **options: Any) -> Answer:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, **options)) as answer:
            return Answer(answer.status, {}, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, {}, error.read())


def presigned(server: Server, bucket: str, expires: int = 60, method: str = "get_object", **given: Any) -> str:
    client = server.client(signature_version="s3v4")
    url: str = client.generate_presigned_url(method, {"Bucket": bucket, "Key": "o", **given}, ExpiresIn=expires)
    return url


def test_a_url_ends_with_its_time(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    assert fetch(presigned(server, bucket)).body == b"x"
    with at(datetime.now(UTC) - timedelta(seconds=120)):
        late = fetch(presigned(server, bucket))
    assert (late.status, late.code) == (403, "AccessDenied")
    assert late.find("Message") == "Request has expired"
    with at(datetime.now(UTC) + timedelta(minutes=30)):
        assert fetch(presigned(server, bucket)).find("Message") == "Request is not valid yet"


def test_a_url_holds_for_what_it_was_made_for(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    url = presigned(server, bucket)
    assert fetch(url.replace(f"/{bucket}/o?", f"/{bucket}/p?")).code == "SignatureDoesNotMatch"
    assert fetch(url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")).code == "SignatureDoesNotMatch"
    assert fetch(url + "&response-content-type=text%2Fhtml").code == "SignatureDoesNotMatch"
    assert fetch(url, data=b"y", method="PUT").code == "SignatureDoesNotMatch"
    assert fetch(url, headers={"x-amz-meta-a": "1"}).code == "AccessDenied"


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "x", "9" * 40])
def test_a_url_that_lives_too_long_or_never_is_refused(server: Server, bucket: str, expires: str) -> None:
    url = presigned(server, bucket).replace("X-Amz-Expires=60", f"X-Amz-Expires={expires}")
    answer = fetch(url)
    assert (answer.status, answer.code) == (400, "AuthorizationQueryParametersError")


def test_the_old_kind_of_url_is_told_what_to_use(server: Server, bucket: str) -> None:
    url = server.client(signature_version="s3").generate_presigned_url("get_object", {"Bucket": bucket, "Key": "o"})
    answer = fetch(url)
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    assert "AWS4-HMAC-SHA256" in answer.find("Message")


def test_a_url_may_bind_headers(server: Server, bucket: str) -> None:
    url = presigned(server, bucket, method="put_object", Metadata={"who": "me"}, ContentType="text/plain")
    assert fetch(url, data=b"x", method="PUT").status == 403
    right = {"x-amz-meta-who": "me", "Content-Type": "text/plain"}
    assert fetch(url, data=b"x", method="PUT", headers=right).status == 200
    assert server.client().head_object(Bucket=bucket, Key="o")["Metadata"] == {"who": "me"}


# -- what an answer gives away -------------------------------------------------------------------------------------


def test_no_answer_and_no_log_repeats_a_secret(server: Server, bucket: str) -> None:
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    digest = hashlib.md5(b"0123456789abcdef0123456789abcdef").digest().hex()
    prefix = "x-amz-server-side-encryption-customer-"
    headers = {prefix + "algorithm": "AES256", prefix + "key": key, prefix + "key-md5": digest}
    wrong_md5 = request(server, "PUT", f"/{bucket}/o", headers, b"x")
    wrong_signature = request(server, "PUT", f"/{bucket}/o", headers, b"x", secret_key="another-secret-key")
    assert (wrong_md5.code, wrong_signature.code) == ("InvalidArgument", "SignatureDoesNotMatch")
    assert key.encode() not in wrong_md5.body + wrong_signature.body
    assert key not in server.log
    assert "test-secret-key" not in server.log
