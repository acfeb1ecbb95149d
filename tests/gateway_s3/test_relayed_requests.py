"""What a gateway without a KMS sends to its backend, and what it does not send, one request at a time."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from strongroom.s3.errors import S3Error
from strongroom.s3.request import ClientGone
from strongroom.store.s3.messages import Refusal
from strongroom.store.s3.streaming import StreamedBody
from tests.customer_keys import customer_key_headers
from tests.gateway_s3.imagined import HIDDEN, LARGE, Answered, Backend


def crc32(body: bytes) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


# -- bodies ---------------------------------------------------------------------------------------------------------


def test_a_body_without_a_checksum_gets_one_on_its_way() -> None:
    backend, md5 = Backend(), base64.b64encode(hashlib.md5(b"body").digest()).decode()
    backend.relay("PUT", "PutObject", body=b"body")
    backend.relay("PUT", "PutObject", body=b"body", x_amz_checksum_crc32=crc32(b"body"))
    backend.relay("POST", "CreateMultipartUpload", query={"uploads": ""})
    with_md5, with_checksum, empty = backend.asked
    assert (with_md5.body, with_md5.headers["content-md5"]) == (b"body", md5)
    assert with_checksum.headers["x-amz-checksum-crc32"] == crc32(b"body")
    assert "content-md5" not in with_checksum.headers and "content-md5" not in empty.headers


def test_a_small_body_that_is_another_than_it_says_is_not_sent() -> None:
    assert Backend().refuses("PUT", "PutObject", body=b"body", content_md5="1B2M2Y8AsgTpgAmY7PhCfg==") == "BadDigest"
    assert Backend().refuses("PUT", "UploadPart", body=b"body", x_amz_checksum_crc32="AAAAAA==") == "BadDigest"


def test_the_checksum_of_a_completed_object_is_not_taken_for_that_of_the_list_of_its_parts() -> None:
    backend, whole = Backend(), crc32(b"the whole object")
    query = {"uploadId": "u"}
    backend.relay("POST", "CompleteMultipartUpload", query=query, body=b"<parts/>", x_amz_checksum_crc32=whole)
    assert backend.asked[0].headers["x-amz-checksum-crc32"] == whole


@pytest.mark.parametrize("size", [5, LARGE])
@pytest.mark.parametrize("named", ["x-amz-checksum-crc32", " X-Amz-Checksum-CRC32 "])
def test_a_checksum_behind_a_body_is_verified_and_passed_on(size: int, named: str) -> None:
    body = os.urandom(size)

    def chunks(checksum: str) -> dict[str, Any]:
        framed = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (size, body, checksum.encode())
        how = {"x_amz_trailer": named, "x_amz_decoded_content_length": str(size)}
        return {"body": framed, "chunked": True, **how}

    backend = Backend()
    backend.relay("PUT", "PutObject", **chunks(crc32(body)))
    (sent,) = backend.asked
    if isinstance(sent.body, StreamedBody):
        assert (backend.taken, sent.body.trailer) == (body, ("x-amz-checksum-crc32", 8))
        assert sent.body.trailing == crc32(body)
    else:
        assert (sent.body, sent.headers["x-amz-checksum-crc32"]) == (body, crc32(body))
        assert "content-md5" not in sent.headers
    wrong = Backend()
    with pytest.raises(S3Error, match="BadDigest"):
        wrong.relay("PUT", "PutObject", **chunks("AAAAAA=="))
    assert wrong.given_up or not wrong.asked


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart"])
def test_a_large_body_is_sent_while_it_comes(operation: str) -> None:
    backend, body = Backend(), os.urandom(LARGE)
    backend.relay("PUT", operation, body=body, x_amz_meta_a="b")
    assert backend.taken == body
    (sent,) = backend.asked
    assert isinstance(sent.body, StreamedBody) and sent.headers["x-amz-meta-a"] == "b"
    assert sent.body.trailer is None


def test_a_body_that_is_not_large_is_kept_so_that_it_can_be_sent_again() -> None:
    for size, kept in ((6 * 1024**2, True), (6 * 1024**2 + 1, False)):
        backend = Backend()
        backend.relay("PUT", "PutObject", body=bytes(size))
        assert isinstance(backend.asked[0].body, StreamedBody) != kept


def test_a_document_may_name_ten_thousand_parts_and_is_not_sent_if_it_is_much_longer() -> None:
    asked, query = ("POST", "CompleteMultipartUpload"), {"uploadId": "u"}
    Backend().relay(*asked, query=query, body=bytes(8 * 1024**2))
    assert Backend().refuses(*asked, query=query, body=bytes(8 * 1024**2 + 1)) == "MaxMessageLengthExceeded"


@pytest.mark.parametrize(
    ("method", "operation", "size"),
    [("PUT", "PutObject", 5), ("PUT", "PutObject", LARGE), ("POST", "CompleteMultipartUpload", 5)],
)
def test_what_stands_behind_a_body_does_not_become_a_header_unless_it_is_a_checksum(
    method: str, operation: str, size: int
) -> None:
    """Nobody has looked whether its value may be passed on."""
    name = "x-amz-copy-source"
    framed = b"%x\r\n%s\r\n0\r\n%s:/bucket/secret\r\n\r\n" % (size, bytes(size), name.encode())
    how: dict[str, Any] = {"x_amz_trailer": name, "x_amz_decoded_content_length": str(size)}
    backend = Backend()
    with contextlib.suppress(S3Error):
        backend.relay(method, operation, body=framed, chunked=True, **how)
    assert not [sent for sent in backend.asked if {name, "x-amz-trailer"} & sent.headers.keys()]


def test_a_client_that_goes_away_midway_leaves_no_request_to_the_backend() -> None:
    def gone() -> Iterable[bytes]:
        for _ in range(3):
            yield bytes(2**20)
        raise ClientGone

    backend = Backend()
    with pytest.raises(ClientGone):
        backend.relay("PUT", "PutObject", body=gone(), length=LARGE)
    assert backend.given_up


def test_a_backend_that_answers_before_it_has_taken_a_body_is_not_waited_for() -> None:
    answer = Answered()
    backend = Backend(answer, hurry=True)
    with pytest.raises(ConnectionAbortedError, match="before the body was sent"):
        backend.relay("PUT", "PutObject", body=bytes(LARGE))
    assert answer.closed, "it holds no connection"
    refused = Refusal(403, {}, b"<Error/>")
    _, response = Backend(refused, hurry=True).relay("PUT", "PutObject", body=bytes(LARGE))
    assert (response.status, response.body) == (403, b"<Error/>")


# -- names ---------------------------------------------------------------------------------------------------------


def test_neither_a_request_nor_its_source_reaches_what_is_hidden() -> None:
    for method, operation in (("GET", "GetObject"), ("PUT", "PutObject"), ("DELETE", "DeleteObject")):
        assert Backend().refuses(method, operation, key=HIDDEN) == "AccessDenied"
    for operation in ("CopyObject", "UploadPartCopy"):
        assert Backend().refuses("PUT", operation, x_amz_copy_source=f"bucket/{HIDDEN}") == "AccessDenied"
    document = f"<Delete><Object><Key>a</Key></Object><Object><Key>{HIDDEN}</Key></Object></Delete>".encode()
    how: dict[str, Any] = {"key": "", "query": {"delete": ""}}
    assert Backend().refuses("POST", "DeleteObjects", body=document, **how) == "AccessDenied"
    assert Backend().refuses("POST", "DeleteObjects", body=b"<Delete><Object>", **how) == "MalformedXML"
    backend, good = Backend(), document.replace(HIDDEN.encode(), b"b")
    backend.relay("POST", "DeleteObjects", body=good, **how)
    assert backend.asked[0].body == good


def test_a_bucket_is_not_removed_with_what_is_hidden_in_it() -> None:
    backend = Backend()
    backend.relay("DELETE", "DeleteBucket", key="", x_minio_force_delete="true")
    backend.relay("DELETE", "DeleteObject", x_minio_force_delete="true")
    bucket, object_ = (asked.headers for asked in backend.asked)
    assert (bucket, object_["x-minio-force-delete"]) == ({}, "true")


def test_a_list_of_a_thousand_objects_to_delete_may_say_all_that_s3_has_of_each() -> None:
    names = ("VersionId", "ETag", "LastModifiedTime", "Size")
    said = "".join(f"<{name}>1</{name}>" for name in names)
    objects = "".join(f"<Object><Key>{number}</Key>{said}</Object>" for number in range(1000))
    document, backend = f"<Delete>{objects}<Quiet>true</Quiet></Delete>".encode(), Backend()
    backend.relay("POST", "DeleteObjects", key="", query={"delete": ""}, body=document)
    assert backend.asked[0].body == document


def test_neither_a_request_nor_its_source_reaches_the_administration_of_the_backend() -> None:
    assert Backend().refuses("GET", "GetObject", bucket="minio", key="admin/v3") == "NotImplemented"
    assert Backend().refuses("PUT", "CopyObject", x_amz_copy_source="minio/admin/v3") == "NotImplemented"


def test_names_that_a_backend_may_take_for_others_are_refused_where_it_may() -> None:
    for key in ("a//b", "a/../b", "/a"):
        refused = Backend(exact=False).refuses("PUT", "PutObject", key=key)
        assert refused == Backend(exact=False).refuses("PUT", "CopyObject", x_amz_copy_source=f"bucket/{key}")
        assert refused == "XMinioInvalidObjectName"
        backend = Backend(exact=True)
        backend.relay("PUT", "PutObject", key=key)
        assert backend.asked[0].key == key
    for key in ("a/b", "a..b", ""):
        Backend(exact=False).relay("GET", "GetObject", key=key)


def test_only_buckets_have_events() -> None:
    query = {"events": ""}
    assert Backend().refuses("GET", "ListObjects", key="", query=query) == "NotImplemented"
    backend = Backend()
    backend.relay("GET", "GetObject", query=query)
    backend.relay("PUT", "CreateBucket", key="", query=query)
    assert [list(asked.query) for asked in backend.asked] == [[("events", "")]] * 2


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("x-amz-meta-strongroom-id", "InvalidArgument"),
        ("X-Amz-Meta-Strongroom-Anything", "InvalidArgument"),
        ("x-amz-meta-snowball-auto-extract", "NotImplemented"),
        ("X-Amz-Meta-Snowball-Auto-Extract", "NotImplemented"),
    ],
)
def test_metadata_with_a_meaning_to_gateways_or_backends_do_not_come_in_a_query_either(name: str, code: str) -> None:
    assert Backend().refuses("PUT", "PutObject", query={name: "a"}) == code
    assert Backend().refuses("PUT", "PutObject", **{name.lower(): "a"}) == code


# -- copies --------------------------------------------------------------------------------------------------------


def test_a_copy_is_asked_for_as_its_source_was_understood_and_looked_at() -> None:
    key, its_key = customer_key_headers(bytes(32)), customer_key_headers(bytes(range(32)), of="x-amz-copy-source-")
    backend = Backend()
    source = "other/a%2Fb%20%C3%A4?versionId=a%2Fb"
    backend.relay("PUT", "CopyObject", x_amz_copy_source=source, x_amz_meta_a="b", **key, **its_key)
    look, copy = backend.asked
    assert (look.method, look.bucket, look.key, look.query) == ("HEAD", "other", "a/b ä", [("versionId", "a/b")])
    assert look.headers == customer_key_headers(bytes(range(32))), "its own key, and not that of the copy"
    assert copy.headers["x-amz-copy-source"] == "/other/a/b%20%C3%A4?versionId=a%2Fb"
    assert {**key, **its_key, "x-amz-meta-a": "b"}.items() <= copy.headers.items()


def test_the_newest_version_is_copied_where_none_is_named() -> None:
    backend = Backend()
    backend.relay("PUT", "CopyObject", x_amz_copy_source="/other/o", **customer_key_headers(bytes(32)))
    look, copy = backend.asked
    assert (look.query, look.headers, copy.headers["x-amz-copy-source"]) == ([], {}, "/other/o")


def test_a_source_that_the_backend_does_not_show_is_left_to_its_judgment() -> None:
    judged = Refusal(404, {}, b"<Error><Code>NoSuchKey</Code></Error>")
    _, response = Backend(Refusal(403, {}, b""), judged).relay("PUT", "CopyObject", x_amz_copy_source="/other/o")
    assert (response.status, response.body) == (404, judged.document)
