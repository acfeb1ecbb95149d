"""Requests of web pages: what a browser asks first, and what lets it show a page the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.http.raw import Answer, error_of, request, send
from tests.server import NAS, Server
from tests.waiting import comes

APP, ELSEWHERE = "https://app.example.com", "https://elsewhere.example.net"
ALLOWED = "access-control-allow-"
ASKED = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "Content-Type, X-Amz-Meta-Note"}
REMEMBERED = 15.0
"""Seconds after which every worker of every gateway has seen a change."""


@pytest.fixture
def ruled(server: Server, bucket: str) -> Iterator[str]:
    """A bucket that lets one application in."""
    rules: Any = [
        {"AllowedOrigins": [ELSEWHERE], "AllowedMethods": ["HEAD"]},
        {
            "ID": "the application",
            "AllowedOrigins": ["https://*.example.com"],
            "AllowedMethods": ["GET", "PUT"],
            "AllowedHeaders": ["content-*", "X-Amz-Meta-Note"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": 600,
        },
    ]
    client = server.client()
    assert error_of(client.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": rules})
    assert client.get_bucket_cors(Bucket=bucket)["CORSRules"] == rules
    eventually(lambda: ask(server, f"/{bucket}/o", ELSEWHERE).status, 403)
    yield bucket
    client.delete_bucket_cors(Bucket=bucket)
    assert error_of(client.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)
    eventually(lambda: ask(server, f"/{bucket}/o", ELSEWHERE).status, 200)


def eventually(look: Any, wanted: Any) -> None:
    """See that all workers come to answer so: gateways remember a bucket's rules for some seconds."""
    assert comes(lambda: {look() for _ in range(8)} == {wanted}, REMEMBERED)


def ask(server: Server, path: str, origin: str, **more: str) -> Answer:
    """What a browser asks before a page's PUT; nobody signs that."""
    return send(server, "OPTIONS", path, {"Origin": origin, **ASKED, **more})


def shown(answer: Answer) -> dict[str, str]:
    """The headers that are for browsers."""
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_every_page_may_ask_where_nobody_says_otherwise(server: Server, bucket: str) -> None:
    for path in (f"/{bucket}/dir/o", f"/{bucket}", "/", "/no-such-bucket/o"):
        answer = ask(server, path, APP)
        assert (answer.status, answer.body) == (200, b"")
        headers = shown(answer)
        assert headers.pop("access-control-expose-headers").startswith("ETag, ")
        assert headers == {
            f"{ALLOWED}origin": "*",
            f"{ALLOWED}methods": "GET, PUT, HEAD, POST, DELETE",
            f"{ALLOWED}headers": "content-type, x-amz-meta-note",
        }
        assert "Origin" in answer.headers["vary"]


def test_a_page_sees_answers_and_errors_and_others_no_such_headers(server: Server, bucket: str) -> None:
    for method, path, status in (("PUT", "o", 200), ("GET", "o", 200), ("GET", "no", 404), ("HEAD", "o", 200)):
        answer = request(server, method, f"/{bucket}/{path}", {"Origin": APP}, b"x" if method == "PUT" else b"")
        assert (answer.status, answer.headers[f"{ALLOWED}origin"]) == (status, "*")
        assert "ETag" in answer.headers["access-control-expose-headers"]
        assert not shown(request(server, method, f"/{bucket}/{path}", {}, b"x" if method == "PUT" else b""))
    assert not shown(send(server, "GET", "/minio/health/live", {"Origin": APP}))
    unsigned = send(server, "GET", f"/{bucket}/o", {"Origin": APP})
    assert (unsigned.status, unsigned.headers[f"{ALLOWED}origin"]) == (403, "*")


def test_the_rules_of_a_bucket_decide(server: Server, ruled: str) -> None:
    allowed = ask(server, f"/{ruled}/o", APP)
    assert allowed.status == 200
    assert shown(allowed) == {
        f"{ALLOWED}origin": APP,
        f"{ALLOWED}credentials": "true",
        f"{ALLOWED}methods": "GET, PUT",
        f"{ALLOWED}headers": "content-type, x-amz-meta-note",
        "access-control-expose-headers": "ETag",
        "access-control-max-age": "600",
    }
    for origin, more in [
        (ELSEWHERE, {}),
        ("https://example.com", {}),
        ("http://app.example.com", {}),
        (APP, {"Access-Control-Request-Method": "DELETE"}),
        (APP, {"Access-Control-Request-Headers": "x-amz-meta-other"}),
    ]:
        answer = ask(server, f"/{ruled}/o", origin, **more)
        assert (answer.status, answer.code, shown(answer)) == (403, "AccessForbidden", {})


def test_the_rules_of_a_bucket_say_which_pages_see_answers(server: Server, ruled: str) -> None:
    put = request(server, "PUT", f"/{ruled}/o", {"Origin": APP}, b"x")
    assert (put.status, put.headers[f"{ALLOWED}origin"]) == (200, APP)
    other = request(server, "GET", f"/{ruled}/o", {"Origin": ELSEWHERE})
    assert (other.status, other.body, shown(other)) == (200, b"x", {})  # a browser keeps that from the page
    assert request(server, "HEAD", f"/{ruled}/o", {"Origin": ELSEWHERE}).headers[f"{ALLOWED}origin"] == ELSEWHERE


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": ""},
        {"Access-Control-Request-Method": "PATCH"},
        {"Access-Control-Request-Method": ""},
        {"Access-Control-Request-Headers": "a b"},
        {"Access-Control-Request-Headers": "a,,b"},
        {"Access-Control-Request-Headers": ",".join(["a"] * 257)},  # which would all be looked for among the rules
    ],
)
def test_a_question_that_is_none_is_refused(server: Server, bucket: str, change: dict[str, str]) -> None:
    answer = send(server, "OPTIONS", f"/{bucket}/o", {"Origin": APP, **ASKED, **change})
    assert (answer.status, answer.code) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({}, "MalformedXML"),
        ({"AllowedMethods": []}, "MalformedXML"),
        ({"AllowedOrigins": []}, "MalformedXML"),
        ({"AllowedMethods": ["PATCH"]}, "InvalidRequest"),
        ({"AllowedMethods": ["get"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["https://*.*"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["https://ü"]}, "InvalidRequest"),
        ({"AllowedHeaders": ["x-*-*"]}, "InvalidRequest"),
        ({"AllowedHeaders": ["a b"]}, "InvalidRequest"),
        ({"ExposeHeaders": ["x-*"]}, "InvalidRequest"),
        ({"ExposeHeaders": ["a\nb"]}, "InvalidRequest"),
        ({"AllowedOrigins": ["https://" + "x" * 1000] * 70}, "EntityTooLarge"),
    ],
    ids=range(12),
)
def test_rules_that_cannot_be_are_refused(server: Server, bucket: str, rule: dict[str, Any], code: str) -> None:
    client = server.client()
    rules: Any = [{"AllowedOrigins": [APP], "AllowedMethods": ["GET"], **rule}] if rule else []
    put = {"Bucket": bucket, "CORSConfiguration": {"CORSRules": rules}}
    assert error_of(client.put_bucket_cors, **put) == (code, 400)
    assert error_of(client.get_bucket_cors, Bucket=bucket) == ("NoSuchCORSConfiguration", 404)


def test_more_rules_than_there_may_be_are_refused(server: Server, bucket: str) -> None:
    rules: Any = [{"AllowedOrigins": [APP], "AllowedMethods": ["GET"]}] * 101
    put = {"Bucket": bucket, "CORSConfiguration": {"CORSRules": rules}}
    assert error_of(server.client().put_bucket_cors, **put) == ("InvalidRequest", 400)


def test_a_bucket_that_is_not_there_has_no_rules(server: Server) -> None:
    client, none = server.client(), "there-is-no-such-bucket"
    rules: Any = [{"AllowedOrigins": [APP], "AllowedMethods": ["GET"]}]
    put = {"Bucket": none, "CORSConfiguration": {"CORSRules": rules}}
    assert error_of(client.put_bucket_cors, **put) == ("NoSuchBucket", 404)
    assert error_of(client.get_bucket_cors, Bucket=none) == ("NoSuchBucket", 404)
    assert error_of(client.delete_bucket_cors, Bucket=none) == ("NoSuchBucket", 404)


def test_a_bucket_made_anew_has_none_of_the_rules_that_were_remembered(tmp_path: Path) -> None:
    rules: Any = [{"AllowedOrigins": [APP], "AllowedMethods": ["PUT"], "AllowedHeaders": ["*"]}]
    with Server(tmp_path, command=NAS, workers=1) as gateway:
        client = gateway.client()
        client.create_bucket(Bucket="bucket")
        client.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": rules})
        assert ask(gateway, "/bucket/o", ELSEWHERE).status == 403
        client.delete_bucket(Bucket="bucket")
        assert ask(gateway, "/bucket/o", ELSEWHERE).status == 200
        client.create_bucket(Bucket="bucket")
        client.put_bucket_cors(Bucket="bucket", CORSConfiguration={"CORSRules": rules})
        assert ask(gateway, "/bucket/o", ELSEWHERE).status == 403
        (gateway.directory / "bucket").rmdir()  # somebody else does
        client.create_bucket(Bucket="bucket")
        assert ask(gateway, "/bucket/o", ELSEWHERE).status == 200
