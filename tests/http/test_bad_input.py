"""Bad input: AWS's error and status, and everything as it was before."""

from __future__ import annotations

import base64
import hashlib
import socket
import zlib
from typing import Any

import pytest

from tests.http.raw import all_of, begun, error_of, request, send, signed_headers
from tests.server import Server
from tests.waiting import comes

DELETE = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>o</Key></Object></Delete>'


@pytest.fixture
def kept(server: Server, bucket: str) -> Any:
    """An object that must still be there, and the only one, when the test ends."""
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"kept", Metadata={"a": "b"}, Tagging="t=1")
    yield bucket
    page = client.list_objects_v2(Bucket=bucket)
    assert [item["Key"] for item in page["Contents"]] == ["o"]
    got = client.get_object(Bucket=bucket, Key="o")
    assert (got["Body"].read(), got["Metadata"], got["TagCount"]) == (b"kept", {"a": "b"}, 1)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


# -- bodies --------------------------------------------------------------------------------------------------------


def test_a_body_that_ends_early_is_refused(server: Server, kept: str) -> None:
    with begun(server, "PUT", f"/{kept}/o", 1000) as connection:
        connection.sendall(b"x" * 500)
        connection.shutdown(socket.SHUT_WR)
        answer = all_of(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_wrong_md5_is_refused(server: Server, kept: str, size: int) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    answer = request(server, "PUT", f"/{kept}/o", {"Content-MD5": wrong}, b"x" * size)
    assert (answer.status, answer.code) == (400, "BadDigest")


@pytest.mark.parametrize("value", ["!", "AAAA", "", "AAAAAAAAAAAAAAAAAAAAAAA="])
def test_an_md5_that_is_none_is_refused(server: Server, kept: str, value: str) -> None:
    answer = request(server, "PUT", f"/{kept}/o", {"Content-MD5": value}, b"x")
    assert (answer.status, answer.code) == (400, "InvalidDigest")


def test_a_put_without_length_is_refused(server: Server, kept: str) -> None:
    with begun(server, "PUT", f"/{kept}/o", None, "Transfer-Encoding: chunked") as connection:
        connection.sendall(b"1\r\nx\r\n0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 411") and b"MissingContentLength" in answer


def test_more_than_5_gib_at_once_are_refused_before_they_are_sent(server: Server, kept: str) -> None:
    headers = signed_headers(server, "PUT", f"/{kept}/o", payload="UNSIGNED-PAYLOAD")
    answer = send(server, "PUT", f"/{kept}/o", {**headers, "Content-Length": str(5 * 1024**3 + 1)})
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


# -- XML -----------------------------------------------------------------------------------------------------------

BOMB = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9))
    + "]><Delete><Object><Key>&j;</Key></Object></Delete>"
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&f;</Key></Object></Delete>'


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        EXTERNAL,
        "<Delete><Object><Key>o</Key></Object>",
        "<Other/>",
        "not XML",
        "<Delete><Object></Object></Delete>",
        "<Delete></Delete>",
        "<Delete>" + "<Object><Key>o</Key></Object>" * 1001 + "</Delete>",
        "<Delete><Object><Key><b>o</b></Key></Object></Delete>",
        "<Delete><Quiet>perhaps</Quiet><Object><Key>o</Key></Object></Delete>",
        '<?xml version="1.0" encoding="utf-7"?><Delete/>',
        "<a>" * 100_000,
    ],
    ids=lambda document: document[:24],
)
def test_hostile_or_malformed_xml_is_refused(server: Server, kept: str, document: str) -> None:
    body = document.encode()
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = request(server, "POST", f"/{kept}?delete", {"Content-MD5": md5}, body)
    assert (answer.status, answer.code) == (400, "MalformedXML")


def test_ten_megabytes_of_xml_are_refused(server: Server, kept: str) -> None:
    body = b"<Delete>" + b" " * 10_000_000 + b"</Delete>"
    answer = request(server, "POST", f"/{kept}?delete", body=body)
    assert (answer.status, answer.code) == (400, "MaxMessageLengthExceeded")
    small = b"<Tagging>" + b" " * 300_000 + b"</Tagging>"
    assert request(server, "PUT", f"/{kept}/o?tagging", body=small).code == "MaxMessageLengthExceeded"


def test_a_missing_document_is_refused(server: Server, kept: str) -> None:
    for method, path in (("POST", f"/{kept}?delete"), ("PUT", f"/{kept}?encryption"), ("PUT", f"/{kept}/o?tagging")):
        answer = request(server, method, path)
        assert (answer.status, answer.code) == (400, "MissingRequestBodyError")


def test_a_document_that_is_not_what_its_md5_says_is_refused(server: Server, kept: str) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    answer = request(server, "POST", f"/{kept}?delete", {"Content-MD5": wrong}, DELETE.encode())
    assert (answer.status, answer.code) == (400, "BadDigest")


def test_a_list_of_objects_to_delete_has_to_come_with_a_digest(server: Server, kept: str) -> None:
    answer = request(server, "POST", f"/{kept}?delete", body=DELETE.encode())
    assert (answer.status, answer.code) == (400, "InvalidRequest")
    other = DELETE.replace(">o<", ">other<").encode()
    crc = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(other).to_bytes(4)).decode()}
    assert request(server, "POST", f"/{kept}?delete", crc, other).status == 200


# -- names and headers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ab", "UPPER", "under_score", "a..b", "-ab", "ab-", "192.168.0.1", "x" * 64, "xn--a", "a%2e%2e"]
)
def test_bad_bucket_names_are_refused(server: Server, name: str) -> None:
    answer = request(server, "PUT", f"/{name}")
    assert (answer.status, answer.code) == (400, "InvalidBucketName")


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_keys_over_1024_bytes_are_refused(server: Server, kept: str, method: str) -> None:
    for key in ("x" * 1025, "%C3%A9" * 513):
        answer = request(server, method, f"/{kept}/{key}")
        assert (answer.status, answer.code) == (400, "KeyTooLongError")


def test_a_key_that_is_no_utf8_is_refused(server: Server, kept: str) -> None:
    for key in ("%FF", "a%C3", "%ED%A0%80"):
        answer = request(server, "PUT", f"/{kept}/{key}", body=b"x")
        assert (answer.status, answer.code) == (400, "InvalidURI")


def test_metadata_over_2_kb_are_refused(server: Server, kept: str) -> None:
    client = server.client()
    put: Any = {"Bucket": kept, "Key": "p", "Body": b""}
    assert error_of(client.put_object, **put, Metadata={"a": "x" * 2048}) == ("MetadataTooLarge", 400)
    many = {f"name-{number}": "x" * 20 for number in range(90)}
    assert error_of(client.put_object, **put, Metadata=many) == ("MetadataTooLarge", 400)
    assert error_of(client.create_multipart_upload, Bucket=kept, Key="p", Metadata=many) == ("MetadataTooLarge", 400)
    assert error_of(client.put_object, **put, Metadata={"a": "x" * 2047}) == ("", 200)
    client.delete_object(Bucket=kept, Key="p")


def test_header_values_that_could_split_an_answer_never_reach_one(server: Server, kept: str) -> None:
    answer = request(server, "GET", f"/{kept}/o?response-content-type=a%0D%0Aset-cookie%3A%20x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
        ({"x-amz-acl": "public-read"}, "AccessControlListNotSupported"),
        ({"x-amz-acl": "mine"}, "InvalidArgument"),
        ({"x-amz-website-redirect-location": "ftp://example.com"}, "InvalidRedirectLocation"),
        ({"x-amz-security-token": "of-nobody"}, "InvalidToken"),
        ({"x-amz-grant-read": 'id="1"'}, "AccessControlListNotSupported"),
        ({"x-amz-object-lock-mode": "COMPLIANCE"}, "InvalidRequest"),
        ({"x-amz-object-lock-event-hold": "ON"}, "InvalidRequest"),
        ({"x-amz-tagging": "a=1&a=2"}, "InvalidArgument"),
        ({"x-amz-tagging": "=1"}, "InvalidArgument"),
        ({"x-amz-tagging": "a=%2"}, "InvalidArgument"),
        ({"x-amz-tagging": "&".join(f"k{n}=v" for n in range(11))}, "BadRequest"),
        ({"x-amz-tagging": "aws:x=1"}, "InvalidTag"),
        ({"x-amz-tagging": f"a={'x' * 257}"}, "InvalidTag"),
        ({"x-amz-tagging": "a=%FF"}, "InvalidArgument"),
        ({"If-None-Match": '"etag"'}, "NotImplemented"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-crc32": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-md4": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}, "InvalidRequest"),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "InvalidRequest"),
        ({"x-amz-write-offset-bytes": "1"}, "NotImplemented"),
    ],
    ids=lambda value: str(value)[:44],
)
def test_headers_that_cannot_be_kept_are_refused(server: Server, kept: str, headers: Any, code: str) -> None:
    assert request(server, "PUT", f"/{kept}/o", headers, b"x").code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
        ({"x-amz-acl": "public-read"}, "AccessControlListNotSupported"),
        ({"x-amz-object-lock-mode": "COMPLIANCE"}, "InvalidRequest"),
        ({"x-amz-website-redirect-location": "ftp://example.com"}, "InvalidRedirectLocation"),
        ({"x-amz-tagging": "a=1&a=2"}, "InvalidArgument"),
    ],
)
def test_no_upload_is_opened_nor_a_copy_made_with_headers_that_cannot_be_kept(
    server: Server, kept: str, headers: dict[str, str], code: str
) -> None:
    assert request(server, "POST", f"/{kept}/p?uploads", headers).code == code
    assert "Uploads" not in server.client().list_multipart_uploads(Bucket=kept, Prefix="p")
    assert request(server, "PUT", f"/{kept}/p", {"x-amz-copy-source": f"/{kept}/o", **headers}).code == code
    assert request(server, "HEAD", f"/{kept}/p").status == 404


def test_an_upload_is_not_ended_on_a_condition_that_is_not_served(server: Server, kept: str) -> None:
    upload = server.client().create_multipart_upload(Bucket=kept, Key="p")["UploadId"]
    since = {"x-amz-if-match-initiated-time": "Sat, 01 Jan 2000 00:00:00 GMT"}
    assert request(server, "DELETE", f"/{kept}/p?uploadId={upload}", since).code == "NotImplemented"
    assert request(server, "DELETE", f"/{kept}/p?uploadId={upload}").status == 204


def test_storage_class_standard_is_taken(server: Server, kept: str) -> None:
    client = server.client()
    client.put_object(Bucket=kept, Key="p", Body=b"x", StorageClass="STANDARD")
    (listed,) = client.list_objects_v2(Bucket=kept, Prefix="p")["Contents"]
    assert (listed["StorageClass"], listed["Size"]) == ("STANDARD", 1)
    client.delete_object(Bucket=kept, Key="p")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "?versioning", 501, "NotImplemented"),
        ("PUT", "?policy", 501, "NotImplemented"),
        ("PUT", "?lifecycle", 501, "NotImplemented"),
        ("PUT", "?object-lock", 501, "NotImplemented"),
        ("GET", "/o?torrent", 501, "NotImplemented"),
        ("POST", "/o?restore", 501, "NotImplemented"),
        ("POST", "/o?select&select-type=2", 501, "NotImplemented"),
        ("PATCH", "/o", 405, "MethodNotAllowed"),
        ("POST", "/o", 405, "MethodNotAllowed"),
        ("GET", "?max-keys=x", 400, "InvalidArgument"),
        ("GET", "?max-keys=-1", 400, "InvalidArgument"),
        ("GET", "?list-type=2&continuation-token=%21", 400, "InvalidArgument"),
        ("GET", "?list-type=2&continuation-token=", 400, "InvalidArgument"),
        ("GET", "?list-type=2&continuation-token=YQ%21%3D%3D", 400, "InvalidArgument"),
        ("GET", "?list-type=2&continuation-token=_w%3D%3D", 400, "InvalidArgument"),
        ("GET", "?list-type=2&continuation-token=%C3%BC", 400, "InvalidArgument"),
        ("GET", "?encoding-type=base64", 400, "InvalidArgument"),
        ("GET", "/o?partNumber=0", 400, "InvalidArgument"),
        ("GET", "/o?partNumber=2", 416, "InvalidPartNumber"),
        ("GET", "/o?uploadId=nothing", 404, "NoSuchUpload"),
        ("DELETE", "/o?uploadId=nothing", 404, "NoSuchUpload"),
        ("DELETE", "/o?uploadId=..%2F..%2Fx", 404, "NoSuchUpload"),
        ("GET", "?uploads&max-uploads=-1", 400, "InvalidArgument"),
    ],
)
def test_what_is_not_served_or_makes_no_sense_is_said(
    server: Server, kept: str, method: str, path: str, status: int, code: str
) -> None:
    answer = request(server, method, f"/{kept}{path}")
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_part_and_a_range_are_not_asked_for_at_once(server: Server, kept: str, method: str) -> None:
    answer = request(server, method, f"/{kept}/o?partNumber=1", {"Range": "bytes=1-2"})
    assert (answer.status, answer.code) == (400, "InvalidRequest" if method == "GET" else "")


def test_a_copy_of_nothing_is_refused(server: Server, kept: str) -> None:
    for source, code in [
        (f"/{kept}/no", "NoSuchKey"),
        ("/no-such-bucket/o", "NoSuchBucket"),
        ("o", "InvalidArgument"),
        (f"/{kept}/%FF", "InvalidArgument"),
        (f"/{kept}/%4", "InvalidArgument"),
        (f"/{kept}/", "InvalidArgument"),
        ("/../o", "InvalidArgument"),
        ("/.strongroom/o", "InvalidArgument"),
        (f"/{kept.upper()}/o", "InvalidArgument"),
        (f"/{kept}/{'k' * 1025}", "KeyTooLongError"),
        (f"/{kept}/o?versionId=other", "NoSuchVersion"),
        (f"/{kept}/o", "InvalidRequest"),  # onto itself, and nothing changes
    ]:
        assert request(server, "PUT", f"/{kept}/o", {"x-amz-copy-source": source}).code == code


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-metadata-directive": "KEEP"}, "InvalidArgument"),
        ({"x-amz-tagging-directive": "KEEP"}, "InvalidArgument"),
        ({"x-amz-checksum-algorithm": "MD4"}, "InvalidRequest"),
        ({"x-amz-meta-a": "x" * 2048}, "MetadataTooLarge"),
        ({"x-amz-website-redirect-location": "elsewhere"}, "InvalidRedirectLocation"),
    ],
)
def test_a_copy_with_bad_headers_is_refused_before_its_source_is_looked_for(
    server: Server, kept: str, headers: Any, code: str
) -> None:
    assert request(server, "PUT", f"/{kept}/p", {"x-amz-copy-source": f"/{kept}/no", **headers}).code == code


@pytest.mark.parametrize(
    ("part", "code"),
    [
        ("<PartNumber>1</PartNumber>", "MalformedXML"),
        ('<ETag>"e"</ETag>', "MalformedXML"),
        ('<PartNumber>0</PartNumber><ETag>"e"</ETag>', "InvalidArgument"),
        ('<PartNumber>1</PartNumber><ETag>"e"</ETag>', "InvalidPart"),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32>AAAA</ChecksumCRC32>", "InvalidArgument"),
        (
            "<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
            "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>",
            "InvalidArgument",
        ),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32>", "InvalidPart"),
        ("<PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>", "BadDigest"),
    ],
    ids=range(8),
)
def test_a_completion_with_parts_that_are_none_is_refused(server: Server, kept: str, part: str, code: str) -> None:
    client = server.client()
    upload = client.create_multipart_upload(
        Bucket=kept, Key="p", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )["UploadId"]
    etag = client.upload_part(Bucket=kept, Key="p", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    document = f"<CompleteMultipartUpload><Part>{part.format(etag=etag)}</Part></CompleteMultipartUpload>".encode()
    assert request(server, "POST", f"/{kept}/p?uploadId={upload}", body=document).code == code
    assert len(client.list_parts(Bucket=kept, Key="p", UploadId=upload)["Parts"]) == 1
    client.abort_multipart_upload(Bucket=kept, Key="p", UploadId=upload)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-checksum-crc32": "no-digest"}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==-x"}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
        ({"x-amz-checksum-sha1": f"{'A' * 27}="}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}, "InvalidRequest"),
        ({"x-amz-checksum-type": "HALF"}, "InvalidRequest"),
        ({"x-amz-checksum-type": "COMPOSITE"}, "InvalidRequest"),
        ({"x-amz-mp-object-size": "-1"}, "InvalidRequest"),
        ({"x-amz-mp-object-size": "2"}, "InvalidRequest"),
    ],
)
def test_a_completion_that_is_not_what_it_says_is_refused(
    server: Server, kept: str, headers: dict[str, str], code: str
) -> None:
    client = server.client()
    upload = client.create_multipart_upload(
        Bucket=kept, Key="p", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT"
    )["UploadId"]
    etag = client.upload_part(Bucket=kept, Key="p", UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    part = f"<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    document = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
    assert request(server, "POST", f"/{kept}/p?uploadId={upload}", headers, document).code == code
    assert len(client.list_parts(Bucket=kept, Key="p", UploadId=upload)["Parts"]) == 1
    client.abort_multipart_upload(Bucket=kept, Key="p", UploadId=upload)


def test_a_part_must_bring_the_checksum_that_a_composite_needs(server: Server, kept: str) -> None:
    client = server.client(request_checksum_calculation="when_required")
    upload = client.create_multipart_upload(Bucket=kept, Key="p", ChecksumAlgorithm="SHA512", ChecksumType="COMPOSITE")[
        "UploadId"
    ]
    answer = request(server, "PUT", f"/{kept}/p?partNumber=1&uploadId={upload}", body=b"x")
    assert (answer.code, answer.find("Message")) == (
        "InvalidRequest",
        "Checksum Type mismatch occurred, expected checksum Type: sha512, actual checksum Type: null",
    )
    client.abort_multipart_upload(Bucket=kept, Key="p", UploadId=upload)


def test_an_upload_that_was_never_begun_takes_no_parts(server: Server, kept: str) -> None:
    answer = request(server, "PUT", f"/{kept}/o?partNumber=1&uploadId=nothing", body=b"x")
    assert (answer.status, answer.code) == (404, "NoSuchUpload")


def test_answers_come_at_once_although_the_body_was_not_read(server: Server, kept: str) -> None:
    with begun(server, "PUT", "/no-such-bucket/o", 1_000_000_000, "Expect: 100-continue") as connection:
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 404") and b"NoSuchBucket" in answer


def test_an_upload_that_is_given_up_leaves_nothing(server: Server, kept: str) -> None:
    with begun(server, "PUT", f"/{kept}/big", 10_000_000) as connection:
        connection.sendall(b"x" * 5_000_000)
    assert comes(lambda: not server.unfinished_files())
