"""Objects over HTTP: what is put is got, whole and in ranges, with all that was said of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from tests.http.raw import error_of, request, send, signed_headers
from tests.server import Server

pytestmark = pytest.mark.every_backend

SIZES = [0, 1, 4096, 65_535, 65_536, 65_537, 131_072, 200_000, 1_048_576, 1_048_577, 3_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_an_object_comes_back_as_it_was_put(server: Server, bucket: str, size: int) -> None:
    body, client = os.urandom(size), server.client()
    put = client.put_object(Bucket=bucket, Key="object", Body=body)
    got = client.get_object(Bucket=bucket, Key="object")
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert got["ContentLength"] == size
    assert got["ServerSideEncryption"] == put["ServerSideEncryption"] == "AES256"


KEYS = [
    "a", "a/b", "a/", "/", "//x", "..", "../../etc/passwd", ".", "%41", "a b+c", "ü/日本/🗝",
    "~!@#$^&*()_=[]{}|;:'\",<>?",
    "x" * 1024, "line\nbreak\ttab", "\x01", "é" * 512, "a\\b", "trailing ", ".strongroom/index.db",
]  # fmt: skip


NO_FILES = ["a", "/", "//x", "..", "../../etc/passwd", ".", "x" * 1024, "é" * 512]  # "a": there is "a/b"
NOT_EVERYWHERE = ["a/", "\x01"]  # versitygw has no data in what ends with a slash, and lists no control characters


def test_any_key_works_beside_any_other(server: Server, bucket: str) -> None:
    client = server.client()
    keys = [key for key in KEYS if not (server.keys_like_files and key in NO_FILES)]
    if server.backend:
        keys = [key for key in keys if key not in NOT_EVERYWHERE]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for key in keys:
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    listed = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == sorted(keys, key=str.encode)
    for key in keys:
        client.delete_object(Bucket=bucket, Key=key)
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_headers_and_metadata_are_kept(server: Server, bucket: str) -> None:
    client = server.client()
    said = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="x"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentType": "text/plain; charset=utf-8",
        "WebsiteRedirectLocation": "/elsewhere",
    }
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    client.put_object(Bucket=bucket, Key="o", Body=b"x", Metadata={"who": "me", "empty": ""}, Expires=expires, **said)
    head = client.head_object(Bucket=bucket, Key="o")
    assert {name: head[name] for name in said} == said
    assert head["Metadata"] == {"who": "me", "empty": ""}
    assert head["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"


def test_an_object_without_content_type_gets_that_of_aws(server: Server, bucket: str) -> None:
    assert request(server, "PUT", f"/{bucket}/o", body=b"x").status == 200
    assert server.client().head_object(Bucket=bucket, Key="o")["ContentType"] == "binary/octet-stream"


def test_aws_chunked_is_not_kept_as_content_encoding(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"x", ContentEncoding="aws-chunked")
    assert "ContentEncoding" not in client.head_object(Bucket=bucket, Key="o")


def test_response_headers_can_be_overridden(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"x", ContentType="text/plain")
    got = client.get_object(
        Bucket=bucket, Key="o", ResponseContentType="image/png", ResponseContentDisposition="inline"
    )
    assert (got["ContentType"], got["ContentDisposition"]) == ("image/png", "inline")


RANGES = [
    ("bytes=0-0", 0, 1), ("bytes=0-65535", 0, 65_536), ("bytes=65535-65536", 65_535, 65_537), ("bytes=-10", -10, None),
    ("bytes=199990-", 199_990, None), ("bytes=100-999999999", 100, None), ("bytes=-99999999", 0, None),
    ("bytes=131072-131072", 131_072, 131_073),
    (f"bytes={'0' * 30}5-{'0' * 30}9", 5, 10),
]  # fmt: skip


@pytest.mark.parametrize(("header", "start", "end"), RANGES)
def test_a_range_gives_just_those_bytes(server: Server, bucket: str, header: str, start: int, end: int | None) -> None:
    body, client = os.urandom(200_000), server.client()
    client.put_object(Bucket=bucket, Key="o", Body=body)
    got = client.get_object(Bucket=bucket, Key="o", Range=header)
    wanted = body[start:end]
    assert got["Body"].read() == wanted
    first = start % 200_000
    assert got["ContentRange"] == f"bytes {first}-{first + len(wanted) - 1}/200000"
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_a_range_behind_the_end_is_refused_with_the_size(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"0123456789")
    for header in ("bytes=10-", "bytes=10-20", "bytes=-0"):
        answer = request(server, "GET", f"/{bucket}/o", {"Range": header})
        assert (answer.status, answer.code) == (416, "InvalidRange")
        assert answer.headers["content-range"] == "bytes */10"
        assert answer.find("ActualObjectSize") == "10"


def test_the_last_bytes_of_an_empty_object_are_none(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"")
    answer = request(server, "GET", f"/{bucket}/o", {"Range": "bytes=-5"})
    assert (answer.status, answer.body) == (200, b"")
    assert "content-range" not in answer.headers
    assert request(server, "GET", f"/{bucket}/o", {"Range": "bytes=0-"}).code == "InvalidRange"


def test_where_a_website_redirects_is_not_copied(server: Server, bucket: str) -> None:
    client, here = server.client(), f"{bucket}/o"
    client.put_object(Bucket=bucket, Key="o", WebsiteRedirectLocation="/elsewhere", Metadata={"a": "1"})
    client.copy_object(Bucket=bucket, Key="copy", CopySource=here)
    head = client.head_object(Bucket=bucket, Key="copy")
    assert head["Metadata"] == {"a": "1"}
    assert "WebsiteRedirectLocation" not in head
    client.copy_object(Bucket=bucket, Key="copy", CopySource=here, WebsiteRedirectLocation="https://example.com/")
    head = client.head_object(Bucket=bucket, Key="copy")
    assert (head["Metadata"], head["WebsiteRedirectLocation"]) == ({"a": "1"}, "https://example.com/")


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes="])
def test_a_range_that_is_none_is_passed_over(server: Server, bucket: str, header: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"0123456789")
    answer = request(server, "GET", f"/{bucket}/o", {"Range": header})
    assert (answer.status, answer.body) == (200, b"0123456789")


def test_a_range_of_another_object_than_is_there_now_gives_the_whole(server: Server, bucket: str) -> None:
    client, body = server.client(), os.urandom(200_000)
    etag = client.put_object(Bucket=bucket, Key="o", Body=body)["ETag"]
    date = request(server, "HEAD", f"/{bucket}/o").headers["last-modified"]
    for condition in (etag, date):
        answer = request(server, "GET", f"/{bucket}/o", {"Range": "bytes=5-", "If-Range": condition})
        assert (answer.status, answer.body) == (206, body[5:])
    for condition in ('"other"', f"W/{etag}", "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"):
        answer = request(server, "GET", f"/{bucket}/o", {"Range": "bytes=5-", "If-Range": condition})
        assert (answer.status, answer.body) == (200, body)
        assert "content-range" not in answer.headers


def test_reads_are_answered_as_their_conditions_say(server: Server, bucket: str) -> None:
    client = server.client()
    etag = client.put_object(Bucket=bucket, Key="o", Body=b"x")["ETag"]
    modified = client.head_object(Bucket=bucket, Key="o")["LastModified"]
    before, after = modified - timedelta(hours=1), modified + timedelta(hours=1)
    get = {"Bucket": bucket, "Key": "o"}
    assert error_of(client.get_object, **get, IfMatch=etag) == ("", 200)
    assert error_of(client.get_object, **get, IfMatch='"other"') == ("PreconditionFailed", 412)
    assert error_of(client.get_object, **get, IfNoneMatch=etag) == ("304", 304)
    assert error_of(client.get_object, **get, IfNoneMatch='"other"') == ("", 200)
    assert error_of(client.get_object, **get, IfModifiedSince=before) == ("", 200)
    assert error_of(client.get_object, **get, IfModifiedSince=modified) == ("304", 304)
    assert error_of(client.get_object, **get, IfModifiedSince=after) == ("", 200)  # a client's clock may be ahead
    assert error_of(client.get_object, **get, IfUnmodifiedSince=before) == ("PreconditionFailed", 412)
    assert error_of(client.get_object, **get, IfMatch=etag, IfUnmodifiedSince=before) == ("", 200)
    assert error_of(client.head_object, **get, IfNoneMatch=etag) == ("304", 304)


def test_writes_happen_only_where_their_conditions_hold(server: Server, bucket: str) -> None:
    client = server.client()
    put = {"Bucket": bucket, "Key": "o"}
    etag = client.put_object(**put, Body=b"1", IfNoneMatch="*")["ETag"]
    assert error_of(client.put_object, **put, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert error_of(client.put_object, **put, Body=b"2", IfMatch='"other"') == ("PreconditionFailed", 412)
    assert error_of(client.put_object, **put, Body=b"2", IfMatch=etag) == ("", 200)
    assert error_of(client.put_object, Bucket=bucket, Key="no", Body=b"2", IfMatch=etag) == ("NoSuchKey", 404)
    assert error_of(client.delete_object, **put, IfMatch=etag) == ("PreconditionFailed", 412)
    assert client.get_object(**put)["Body"].read() == b"2"


def test_the_object_that_was_there_is_replaced_whole(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=os.urandom(500_000), Metadata={"old": "1"})
    client.put_object(Bucket=bucket, Key="o", Body=b"new")
    got = client.get_object(Bucket=bucket, Key="o")
    assert (got["Body"].read(), got["Metadata"]) == (b"new", {})


def test_missing_things_are_answered_as_aws_does(server: Server, bucket: str) -> None:
    client = server.client()
    assert error_of(client.get_object, Bucket=bucket, Key="no") == ("NoSuchKey", 404)
    assert error_of(client.head_object, Bucket=bucket, Key="no") == ("404", 404)
    assert error_of(client.get_object, Bucket="no-such-bucket", Key="no") == ("NoSuchBucket", 404)
    assert error_of(client.put_object, Bucket="no-such-bucket", Key="no", Body=b"") == ("NoSuchBucket", 404)
    assert error_of(client.delete_object, Bucket=bucket, Key="no") == ("", 200)
    assert error_of(client.get_object, Bucket=bucket, Key="no", VersionId="other") == ("NoSuchVersion", 404)


def test_errors_name_the_bucket_the_key_or_the_condition_that_they_are_about(server: Server, bucket: str) -> None:
    client, o, no = server.client(), {"Bucket": bucket, "Key": "o"}, {"Bucket": bucket, "Key": "n\u00f6"}
    client.put_object(**o, Body=b"x")
    copy, at = {**o, "CopySource": o}, client.head_object(**o)["LastModified"]
    calls: list[tuple[Any, Any, str, str]] = [
        (client.get_object, no, "Key", "n\u00f6"),
        (client.delete_object, {**no, "IfMatch": "x"}, "Key", "n\u00f6"),
        (client.get_object, {**o, "Bucket": "no-such-bucket"}, "BucketName", "no-such-bucket"),
        (client.create_bucket, {"Bucket": bucket}, "BucketName", bucket),
        (client.delete_bucket, {"Bucket": bucket}, "BucketName", bucket),
        (client.put_object, {**o, "IfNoneMatch": "*"}, "Condition", "If-None-Match"),
        (client.put_object, {**o, "IfMatch": "x"}, "Condition", "If-Match"),
        (client.copy_object, {**copy, "CopySourceIfMatch": "x"}, "Condition", "x-amz-copy-source-If-Match"),
        (
            client.copy_object,
            {**copy, "CopySourceIfModifiedSince": at},
            "Condition",
            "x-amz-copy-source-If-Modified-Since",
        ),
    ]
    for call, what, element, named in calls:
        with pytest.raises(ClientError) as refused:
            call(**what)
        assert cast(Any, refused.value.response["Error"])[element] == named
    with pytest.raises(ClientError) as refused:
        client.copy_object(**o, CopySource=no)
    assert "Key" not in refused.value.response["Error"]  # it is not the request's


def test_copies_are_made_only_where_the_conditions_on_their_source_hold(server: Server, bucket: str) -> None:
    client, before = server.client(), datetime.now(UTC) - timedelta(days=1)
    put = client.put_object(Bucket=bucket, Key="o", Body=b"x" * 10)
    to: Any = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/o"}
    part = {**to, "UploadId": client.create_multipart_upload(Bucket=bucket, Key="copy")["UploadId"], "PartNumber": 1}
    for condition, holds in [
        ({"CopySourceIfMatch": '"other"'}, False),
        ({"CopySourceIfNoneMatch": put["ETag"]}, False),
        ({"CopySourceIfUnmodifiedSince": before}, False),
        ({"CopySourceIfMatch": put["ETag"], "CopySourceIfUnmodifiedSince": before}, True),
        ({"CopySourceIfNoneMatch": '"other"', "CopySourceIfModifiedSince": before}, True),
    ]:
        expected = ("", 200) if holds else ("PreconditionFailed", 412)
        assert error_of(client.upload_part_copy, **part, **condition) == expected
        assert error_of(client.copy_object, **to, **condition) == expected
        assert error_of(client.head_object, Bucket=bucket, Key="copy")[1] == (200 if holds else 404)


TAGS: Any = {"Tagging": {"TagSet": [{"Key": "new", "Value": ""}]}}


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("get_object", {}),
        ("delete_object", {}),
        ("get_object_attributes", {"ObjectAttributes": ["ETag"]}),
        ("get_object_tagging", {}),
        ("put_object_tagging", TAGS),
        ("delete_object_tagging", {}),
        ("get_object_acl", {}),
        ("put_object_acl", {"ACL": "private"}),
    ],
)
def test_a_version_that_is_not_there_is_not_taken_for_the_one_that_is(
    server: Server, bucket: str, operation: str, more: Any
) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**o, Body=b"x", Tagging="kept=1")
    call = getattr(client, operation)
    assert error_of(call, **o, **more, VersionId="other") == ("NoSuchVersion", 404)
    assert client.get_object(**o)["Body"].read() == b"x"
    assert client.get_object_tagging(**o)["TagSet"] == [{"Key": "kept", "Value": "1"}]
    assert error_of(call, **o, **more, VersionId="null") == ("", 200)


def test_of_a_list_only_what_can_be_meant_is_deleted(server: Server, bucket: str) -> None:
    client = server.client()
    for key in ("version", "etag", "gone"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    listed = [
        {"Key": "version", "VersionId": "other"},
        {"Key": "etag", "ETag": '"other"'},
        {"Key": "k" * 1025},
        {"Key": "gone", "VersionId": "null"},
        {"Key": "no", "ETag": '"other"'},
    ]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": listed, "Quiet": True})
    assert [(error["Key"][:7], error["Code"]) for error in answer["Errors"]] == [
        ("version", "NoSuchVersion"),
        ("etag", "PreconditionFailed"),
        ("kkkkkkk", "KeyTooLongError"),
        ("no", "NoSuchKey"),
    ]
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["etag", "version"]
    delete = {"Bucket": "no-such-bucket", "Delete": {"Objects": [{"Key": "o"}]}}
    assert error_of(client.delete_objects, **delete) == ("NoSuchBucket", 404)


def test_what_purges_a_folder_elsewhere_deletes_nothing(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    answer = request(server, "DELETE", f"/{bucket}/o", {"x-minio-force-delete": "true"})
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert server.client().head_object(Bucket=bucket, Key="o")["ContentLength"] == 1


def test_many_objects_are_deleted_at_once(server: Server, bucket: str) -> None:
    client = server.client()
    for number in range(20):
        client.put_object(Bucket=bucket, Key=f"k{number} <&>", Body=b"")
    wanted = [{"Key": f"k{number} <&>"} for number in range(25)]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert [item["Key"] for item in answer["Deleted"]] == [item["Key"] for item in wanted]
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    client.put_object(Bucket=bucket, Key="quiet", Body=b"")
    quiet = client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "quiet"}], "Quiet": True})
    assert "Deleted" not in quiet


@pytest.mark.parametrize(
    "condition", [{"IfMatchSize": 5}, {"IfMatchLastModifiedTime": datetime(2020, 1, 1, tzinfo=UTC)}]
)
def test_a_condition_that_is_not_served_deletes_nothing(server: Server, bucket: str, condition: Any) -> None:
    client, kept = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**kept, Body=b"x")
    assert error_of(client.delete_object, **kept, **condition) == ("NotImplemented", 501)
    listed = {"Key": "o", **{name.removeprefix("IfMatch"): value for name, value in condition.items()}}
    with contextlib.suppress(ClientError):  # the whole list may be refused
        client.delete_objects(Bucket=bucket, Delete={"Objects": [listed]})
    assert client.get_object(**kept)["Body"].read() == b"x"


def test_an_object_shows_the_attributes_that_are_asked_for(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"hello", ChecksumAlgorithm="SHA256")
    wanted = ["ETag", "Checksum", "ObjectSize", "StorageClass"]
    got = client.get_object_attributes(Bucket=bucket, Key="o", ObjectAttributes=wanted)
    assert got["ETag"] == hashlib.md5(b"hello").hexdigest()
    assert (got["ObjectSize"], got["StorageClass"]) == (5, "STANDARD")
    assert got["Checksum"]["ChecksumSHA256"] == "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="


def test_a_presigned_url_gives_and_takes_an_object(server: Server, bucket: str) -> None:
    client = server.client(signature_version="s3v4")
    put = client.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(put, data=b"by URL", method="PUT")) as answer:
        assert answer.status == 200
    get = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60)
    with urllib.request.urlopen(get) as answer:
        assert answer.read() == b"by URL"


def test_a_copy_takes_metadata_and_tags_of_its_own_only_where_it_says_so(server: Server, bucket: str) -> None:
    client, o, copy = server.client(), {"Bucket": bucket, "Key": "o"}, {"Bucket": bucket, "Key": "copy"}

    def described() -> tuple[Any, Any]:
        return client.head_object(**copy)["Metadata"], client.get_object_tagging(**copy)["TagSet"]

    client.put_object(**o, Body=b"x", Metadata={"of": "source"}, Tagging="of=source")
    own: Any = {"Metadata": {"of": "copy"}, "Tagging": "of=copy"}
    of_source, of_copy = ({"of": name} for name in ("source", "copy"))
    tags = {name: [{"Key": "of", "Value": name}] for name in ("source", "copy")}
    client.copy_object(**copy, CopySource=o, **own)
    assert described() == (of_source, tags["source"])
    client.copy_object(**copy, CopySource=o, **own, MetadataDirective="REPLACE")
    assert described() == (of_copy, tags["source"])
    client.copy_object(**copy, CopySource=o, **own, TaggingDirective="REPLACE")
    assert described() == (of_source, tags["copy"])
    client.copy_object(**copy, CopySource=copy, Tagging="of=source", TaggingDirective="REPLACE")
    assert described() == (of_source, tags["source"])
    client.copy_object(**copy, CopySource=o, MetadataDirective="REPLACE", TaggingDirective="REPLACE")
    assert described() == ({}, [])


def test_a_plus_in_the_source_of_a_copy_is_a_space_unless_it_is_escaped(server: Server, bucket: str) -> None:
    client = server.client()
    for key in ("a b", "a+b"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for source, body in (("a+b", b"a b"), ("a%20b", b"a b"), ("a b", b"a b"), ("a%2Bb", b"a+b")):
        answer = request(server, "PUT", f"/{bucket}/copy", {"x-amz-copy-source": f"/{bucket}/{source}"})
        assert answer.status == 200, answer
        assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == body


@pytest.mark.parametrize("key", ["in/host", "minio/admin/v3/info"])
def test_virtual_host_style_requests_name_the_bucket_in_the_host(
    plain_server: Server, plain_bucket: str, key: str
) -> None:
    host = f"{plain_bucket}.s3.test:{plain_server.port}"
    headers = signed_headers(plain_server, "PUT", f"/{key}", {"Host": host}, b"x")
    assert send(plain_server, "PUT", f"/{key}", headers, b"x").status == 200
    assert plain_server.client().get_object(Bucket=plain_bucket, Key=key)["Body"].read() == b"x"
