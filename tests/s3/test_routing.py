"""Which operation a request means, on which bucket and key: never another than its sender can have meant."""

from __future__ import annotations

import pytest

from strongroom.s3.errors import S3Error
from strongroom.s3.request import HttpRequest, parse_query
from strongroom.s3.routing import Router, Target, administers, is_bucket_name, target_of, valid_new_bucket_name

ROUTER = Router()
COPY = {"x-amz-copy-source": "/bucket/o"}


def head(method: str, path: str, headers: dict[str, str] | None = None) -> HttpRequest:
    raw, _, query = path.partition("?")
    return HttpRequest(method, raw, query, headers or {}, False, "", dict(reversed(parse_query(query))))


def meant(method: str, path: str, headers: dict[str, str] | None = None) -> str:
    """The operation, or the code of the refusal."""
    request = head(method, path, headers)
    try:
        return ROUTER.select(request, target_of(request, []).level).name
    except S3Error as error:
        return error.code


@pytest.mark.parametrize(
    ("method", "path", "headers", "operation"),
    [
        ("GET", "/", {}, "ListBuckets"),
        ("GET", "/bucket", {}, "ListObjects"),
        ("GET", "/bucket/", {}, "ListObjects"),
        ("GET", "/bucket?list-type=2&prefix=a", {}, "ListObjectsV2"),
        ("GET", "/bucket?list-type=1", {}, "ListObjects"),
        ("GET", "/bucket?versions", {}, "ListObjectVersions"),
        ("GET", "/bucket?uploads", {}, "ListMultipartUploads"),
        ("POST", "/bucket?delete", {}, "DeleteObjects"),
        ("DELETE", "/bucket", {}, "DeleteBucket"),
        ("DELETE", "/bucket?x-id=DeleteBucket", {}, "DeleteBucket"),
        ("DELETE", "/bucket?cors", {}, "DeleteBucketCors"),
        ("GET", "/bucket/o?partNumber=1", {}, "GetObject"),
        ("HEAD", "/bucket/o?partNumber=1", {}, "HeadObject"),
        ("GET", "/bucket/o?uploadId=u", {}, "ListParts"),
        ("PUT", "/bucket/o", {}, "PutObject"),
        ("PUT", "/bucket/o", COPY, "CopyObject"),
        ("PUT", "/bucket/o?x-id=CopyObject", COPY, "CopyObject"),
        ("PUT", "/bucket/o?partNumber=1&uploadId=u", {}, "UploadPart"),
        ("PUT", "/bucket/o?partNumber=1&uploadId=u", COPY, "UploadPartCopy"),
        ("PUT", "/bucket/o?tagging", {}, "PutObjectTagging"),
        ("POST", "/bucket/o?uploads", {}, "CreateMultipartUpload"),
        ("POST", "/bucket/o?uploadId=u", {}, "CompleteMultipartUpload"),
        ("DELETE", "/bucket/o", {}, "DeleteObject"),
        ("DELETE", "/bucket/o?uploadId=u", {}, "AbortMultipartUpload"),
    ],
)
def test_a_request_means_one_operation(method: str, path: str, headers: dict[str, str], operation: str) -> None:
    assert meant(method, path, headers) == operation


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/bucket?uploads"),
        ("DELETE", "/bucket?acl"),
        ("DELETE", "/bucket/o?uploads"),
        ("DELETE", "/bucket/o?acl"),
        ("DELETE", "/bucket/o?partNumber=1"),
        ("DELETE", "/bucket/o?tagging&uploadId=u"),
        ("PUT", "/bucket?uploads"),
        ("PUT", "/bucket/o?uploads"),
        ("PUT", "/bucket/o?uploadId=u"),
        ("PUT", "/bucket/o?partNumber=1"),
        ("PUT", "/bucket/o?tagging&acl"),
        ("GET", "/bucket/o?uploads"),
        ("POST", "/bucket/o"),
        ("PATCH", "/bucket/o"),
    ],
)
def test_nothing_is_written_or_removed_by_a_request_that_says_two_things_or_none(method: str, path: str) -> None:
    """What it names beside the object may be all that its sender wanted to remove."""
    assert meant(method, path) == "MethodNotAllowed"


@pytest.mark.parametrize(
    ("host", "path", "bucket", "key"),
    [
        ("s3.test", "/bucket/a/b", "bucket", "a/b"),
        ("s3.test:9000", "/bucket//a", "bucket", "/a"),
        ("bucket.s3.test", "/a/b", "bucket", "a/b"),
        ("bucket.s3.test:9000", "//a", "bucket", "/a"),
        ("BUCKET.S3.Test:9000", "/", "bucket", ""),
        ("a.b.s3.test", "/o", "a.b", "o"),
        ("bucket.s3.test.evil.net", "/other/o", "other", "o"),
        ("evils3.test", "/other/o", "other", "o"),
        ("[::1]:9000", "/other/o", "other", "o"),
        ("[::1]", "/other/o", "other", "o"),
        ("", "/other/%2Fo%20%C3%BC", "other", "/o ü"),
    ],
)
def test_a_bucket_is_in_the_path_or_in_the_name_of_the_host(host: str, path: str, bucket: str, key: str) -> None:
    assert target_of(head("GET", path, {"host": host}), ["s3.test"]) == Target(bucket, key)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("//key", "InvalidBucketName"),
        ("/Bucket/o", "InvalidBucketName"),
        ("/a..b/o", "InvalidBucketName"),
        ("/%2e%2e/o", "InvalidBucketName"),
        ("/.strongroom/o", "InvalidBucketName"),
        (f"/{'b' * 64}/o", "InvalidBucketName"),
        ("/bucket/%FF", "InvalidURI"),
        (f"/bucket/{'k' * 1025}", "KeyTooLongError"),
        (f"/bucket/{'%C3%BC' * 513}", "KeyTooLongError"),
    ],
)
def test_a_path_that_names_nothing_is_refused(path: str, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        target_of(head("GET", path), [])
    assert refused.value.code == code


def test_a_key_may_have_1024_bytes() -> None:
    for key in ("k" * 1024, "%C3%BC" * 512):
        assert len(target_of(head("PUT", f"/bucket/{key}"), []).key.encode()) == 1024


def test_the_admin_api_is_where_no_bucket_is_in_the_name_of_the_host() -> None:
    path = "/minio/admin/v3/info"
    assert administers(head("GET", path, {"host": "s3.test"}), [])
    assert administers(head("GET", path, {"host": "s3.test"}), ["s3.test"])
    assert not administers(head("GET", path, {"host": "bucket.s3.test"}), ["s3.test"])
    assert not administers(head("GET", "/minio/o", {"host": "s3.test"}), [])


@pytest.mark.parametrize(
    ("name", "new"),
    [
        ("bucket-1.a", True),
        ("abc", True),
        ("b" * 63, True),
        ("a_b", False),  # there may be one, from another server
        ("192.168.1.1", False),
        ("xn--bucket", False),
        ("sthree-bucket", False),
        ("bucket-s3alias", False),
        ("bucket--x-s3", False),
    ],
)
def test_a_new_bucket_has_a_name_that_s3_allows(name: str, new: bool) -> None:
    assert is_bucket_name(name)
    assert valid_new_bucket_name(name) == new
