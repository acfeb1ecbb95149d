"""What of a request's head a gateway without a KMS passes on, and what of the backend's answer."""

from __future__ import annotations

import pytest

from strongroom.relay.headers import answered_headers, located, passed_headers, passed_query, without_hidden

ABOUT_THE_OBJECT = {
    "cache-control": "no-store",
    "content-type": "text/plain",
    "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==",
    "expires": "Sat, 01 Jan 2000 00:00:00 GMT",
    "if-match": '"e"',
    "if-none-match": "*",
    "range": "bytes=1-2",
    "x-amz-meta-who": "me",
    "x-amz-tagging": "a=b",
    "x-amz-server-side-encryption": "AES256",
    "x-amz-checksum-crc32": "AAAAAA==",
}
OF_THIS_CONNECTION = (
    "authorization",
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-security-token",
    "x-amz-trailer",
)


def test_what_is_of_the_object_is_passed_on_and_what_is_of_the_client_s_connection_or_signature_is_not() -> None:
    given = {**ABOUT_THE_OBJECT, **dict.fromkeys(OF_THIS_CONNECTION, "x")}
    assert passed_headers(given, ()) == ABOUT_THE_OBJECT
    assert passed_headers(given, given) == ABOUT_THE_OBJECT  # whatever the client has signed
    of_others = {"x-emc-namespace": "a", "cookie": "b"}
    assert passed_headers(of_others, ("x-emc-namespace",)) == {"x-emc-namespace": "a"}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("aws-chunked", None), ("aws-chunked,gzip", "gzip"), ("gzip", "gzip"), ("gzip,aws-chunked", "gzip")],
)
def test_how_a_body_came_is_not_taken_for_how_the_object_is_encoded(sent: str, kept: str | None) -> None:
    assert passed_headers({"content-encoding": sent}, ()).get("content-encoding") == kept


def test_of_a_query_neither_the_signature_nor_what_became_a_header_is_passed_on() -> None:
    signature = ("Algorithm", "Content-Sha256", "Credential", "Date", "Expires", "Security-Token", "Signature")
    query = {
        **{f"X-Amz-{name}": "x" for name in (*signature, "SignedHeaders")},
        "x-amz-security-token": "x",
        "versionId": "v",
        "response-content-type": "text/plain",
        "X-Amz-Meta-Who": "me",
        "x-amz-meta-where": "here",
        "who": "else",
    }
    passed = passed_query(query, {"x-amz-meta-who": "me", "who": "me"})
    expected = {"versionId": "v", "response-content-type": "text/plain", "x-amz-meta-where": "here", "who": "else"}
    assert dict(passed) == expected


def test_of_an_answer_all_is_passed_on_but_what_is_of_the_backend_itself() -> None:
    of_the_object = {
        "content-type": "text/plain",
        "etag": '"e"',
        "last-modified": "Sat, 01 Jan 2000 00:00:00 GMT",
        "x-amz-meta-who": "me",
        "x-amz-version-id": "v",
        "x-amz-server-side-encryption": "AES256",
        "x-amz-checksum-crc32": "AAAAAA==",
        "accept-ranges": "bytes",
    }
    of_the_backend = (
        "alt-svc",
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "strict-transport-security",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-amz-id-2",
        "x-amz-request-id",
        "access-control-allow-origin",
        "access-control-expose-headers",
        "x-amz-meta-strongroom-id",
        "x-amz-meta-strongroom-record",
    )
    assert dict(answered_headers({**of_the_object, **dict.fromkeys(of_the_backend, "x")})) == of_the_object


def test_where_a_completed_object_is_is_well_formed() -> None:
    document = b"<R><Location>http://backend/b/o</Location><Key>o</Key></R>"
    assert located(document, "http://here/b/a&b") == b"<R><Location>http://here/b/a&amp;b</Location><Key>o</Key></R>"


@pytest.mark.parametrize(
    "entry",
    [
        b"<Contents><Key>%s</Key><Size>1</Size></Contents>",
        b"<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>",
        b"<Version><Key>%s</Key></Version>",
        b"<DeleteMarker><Key>%s</Key></DeleteMarker>",
        b"<Upload><Key>%s</Key><UploadId>u</UploadId></Upload>",
    ],
)
def test_no_listing_shows_what_is_hidden(entry: bytes) -> None:
    for name in (b".strongroom.sys/", b".strongroom.sys/check", b".strongroom.sys%2Fcheck"):
        assert without_hidden(b"<L>" + entry % name + entry % b"o" + b"</L>") == b"<L>" + entry % b"o" + b"</L>"
    for name in (b".strongroom.sysx", b"a/.strongroom.sys/check"):
        assert without_hidden(b"<L>" + entry % name + b"</L>") == b"<L>" + entry % name + b"</L>"
