"""What a presigned URL says of an object in its query: SDKs move headers there when they presign."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.http.raw import Answer, request, send
from tests.server import ACCESS_KEY, SECRET_KEY, Server

SSE = "x-amz-server-side-encryption"
KEY = b"0123456789abcdef0123456789abcdef"
ENCODED = base64.b64encode(KEY).decode()
CUSTOMER = {
    f"{SSE}-customer-algorithm": "AES256",
    f"{SSE}-customer-key": ENCODED,
    f"{SSE}-customer-key-MD5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
}
MOVED = {"x-amz-meta-who": "me", "X-Amz-Meta-Where": "Z\u00fcrich", "X-Amz-Tagging": "a=1&b=2"}


def written(path: str, parameters: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return f"{path}{'&' if '?' in path else '?'}{query}"


def upload(
    server: Server,
    path: str,
    parameters: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    method: str = "PUT",
    body: bytes = b"x",
) -> Answer:
    """Send to a URL that has these parameters in its query; only what is in ``headers`` is a header."""
    asked = AWSRequest(method, server.endpoint + written(path, parameters), headers={**(headers or {})})
    S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1", expires=60).add_auth(asked)
    url = urlsplit(str(asked.url))
    return send(server, method, f"{url.path}?{url.query}", headers, body)


def test_metadata_and_tags_in_a_url_are_kept(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    parameters = {**MOVED, "x-amz-website-redirect-location": "/p", "x-amz-storage-class": "STANDARD"}
    assert upload(server, f"/{bucket}/o", {**parameters, "x-amz-acl": "private"}).status == 200
    head = client.head_object(**here)
    assert head["Metadata"]["who"] == "me"
    assert head["Metadata"]["where"].encode("latin-1").decode() == "Z\u00fcrich"
    assert head["WebsiteRedirectLocation"] == "/p"
    tags = client.get_object_tagging(**here)["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]


def test_what_a_url_asks_for_and_is_not_served_is_refused(server: Server, bucket: str) -> None:
    for name, value, code in (
        ("x-amz-acl", "public-read", "AccessControlListNotSupported"),
        ("x-amz-storage-class", "GLACIER", "InvalidStorageClass"),
        ("x-amz-website-redirect-location", "p", "InvalidRedirectLocation"),
        ("x-amz-tagging", "a=1&a=2", "InvalidArgument"),
        ("x-amz-grant-read", 'id="1"', "AccessControlListNotSupported"),
        ("X-Amz-Object-Lock-Mode", "COMPLIANCE", "InvalidRequest"),
        ("x-amz-copy-source", f"/{bucket}/other", "InvalidArgument"),
        (SSE, "aws:kms:dsse", "NotImplemented"),
        (f"{SSE}-else", "x", "InvalidArgument"),
    ):
        assert upload(server, f"/{bucket}/o", {name: value}).code == code
    assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_encryption_that_a_url_asks_for_is_done(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    put = upload(plain_server, f"/{plain_bucket}/s3", {SSE: "AES256"})
    assert (put.status, put.headers[SSE]) == (200, "AES256")
    context = base64.b64encode(b'{"a": "b"}').decode()
    kms = {"X-Amz-Server-Side-Encryption": "aws:kms", f"{SSE}-aws-kms-key-id": "my-minio-key"}
    put = upload(plain_server, f"/{plain_bucket}/kms", {**kms, f"{SSE}-context": context})
    assert base64.b64decode(put.headers[f"{SSE}-context"]) == b'{"a":"b"}'
    assert client.head_object(Bucket=plain_bucket, Key="s3")["ServerSideEncryption"] == "AES256"
    assert client.head_object(Bucket=plain_bucket, Key="kms")["SSEKMSKeyId"] == "my-minio-key"
    assert upload(plain_server, f"/{plain_bucket}/o", {f"{SSE}-context": context}).code == "InvalidArgument"
    assert upload(plain_server, f"/{plain_bucket}/o", {**kms, f"{SSE}-aws-kms-key-id": "no"}).status == 400


def test_a_multipart_upload_takes_what_its_url_says(plain_server: Server, plain_bucket: str) -> None:
    client, here = plain_server.client(), {"Bucket": plain_bucket, "Key": "o"}
    opened = upload(plain_server, f"/{plain_bucket}/o?uploads=", {**MOVED, SSE: "AES256"}, method="POST", body=b"")
    assert (opened.status, opened.headers[SSE]) == (200, "AES256")
    part = client.upload_part(**here, UploadId=opened.find("UploadId"), PartNumber=1, Body=b"x")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    client.complete_multipart_upload(**here, UploadId=opened.find("UploadId"), MultipartUpload={"Parts": parts})
    head = client.head_object(**here)
    assert (head["Metadata"]["who"], head["ServerSideEncryption"]) == ("me", "AES256")
    assert len(client.get_object_tagging(**here)["TagSet"]) == 2


def test_a_copy_takes_what_its_url_says(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    client.put_object(Bucket=plain_bucket, Key="o", Body=b"x", Metadata={"old": "1"})
    directives = {"x-amz-metadata-directive": "REPLACE", "x-amz-tagging-directive": "REPLACE"}
    source = {"x-amz-copy-source": f"/{plain_bucket}/o"}
    copied = upload(plain_server, f"/{plain_bucket}/p", {**MOVED, **directives, SSE: "AES256"}, source, body=b"")
    assert (copied.status, copied.headers[SSE]) == (200, "AES256")
    head = client.head_object(Bucket=plain_bucket, Key="p")
    assert head["Metadata"].keys() == {"who", "where"}
    assert len(client.get_object_tagging(Bucket=plain_bucket, Key="p")["TagSet"]) == 2


def test_a_header_wins_over_the_url(server: Server, bucket: str) -> None:
    headers = {"x-amz-meta-who": "header", SSE: "AES256"}
    put = upload(server, f"/{bucket}/o", {**MOVED, "X-Amz-Meta-Who": "url", SSE: "aws:kms"}, headers)
    assert (put.status, put.headers[SSE]) == (200, "AES256")
    assert server.client().head_object(Bucket=bucket, Key="o")["Metadata"]["who"] == "header"


@pytest.mark.parametrize(
    ("name", "value"),
    [("x-amz-meta-a", "1\r\nx-evil: 1"), ("x-amz-meta-a", "\x00"), ("x-amz-meta-a\n", "1"), ("x-amz-meta-\u00fc", "1")],
)
def test_what_no_header_can_be_is_refused(server: Server, bucket: str, name: str, value: str) -> None:
    answer = upload(server, f"/{bucket}/o", {quote(name): value})
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_metadata_in_a_url_has_the_limit_of_headers(server: Server, bucket: str) -> None:
    assert upload(server, f"/{bucket}/o", {"x-amz-meta-a": "\u00fc" * 1023}).status == 200
    assert upload(server, f"/{bucket}/o", {"x-amz-meta-a": "\u00fc" * 1024}).code == "MetadataTooLarge"


@pytest.mark.parametrize("prefix", [SSE, "x-amz-copy-source-server-side-encryption"])
def test_a_clients_key_in_a_url_is_refused_and_not_repeated(server: Server, bucket: str, prefix: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    parameters = {name.replace(SSE, prefix): value for name, value in CUSTOMER.items()}
    upload_id = client.create_multipart_upload(**here)["UploadId"]
    part = f"/{bucket}/o?partNumber=1&uploadId={upload_id}"
    source = {"x-amz-copy-source": f"/{bucket}/s"}
    answers = [
        upload(server, f"/{bucket}/o", parameters),
        upload(server, f"/{bucket}/o", parameters, source, body=b""),
        upload(server, f"/{bucket}/o?uploads=", parameters, method="POST", body=b""),
        upload(server, part, parameters),
        upload(server, part, parameters, source, body=b""),
    ]
    for answer in answers:
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert ENCODED.encode() not in answer.body
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert "Parts" not in client.list_parts(**here, UploadId=upload_id)
    assert ENCODED not in server.log
    assert quote(ENCODED, safe="") not in server.log


def test_a_checksum_that_an_sdk_took_of_no_body_is_passed_over(server: Server, bucket: str) -> None:
    # The SDK for JavaScript presigns so, unless it is told otherwise; AWS stores what comes.
    nothing = {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-sdk-checksum-algorithm": "CRC32"}
    assert upload(server, f"/{bucket}/o", nothing).status == 200
    assert server.client().get_object(Bucket=bucket, Key="o")["Body"].read() == b"x"


def test_a_signature_in_a_header_leaves_the_query_alone(plain_server: Server, plain_bucket: str) -> None:
    path = written(f"/{plain_bucket}/o", {**MOVED, SSE: "AES256", "x-amz-acl": "public-read"})
    answer = request(plain_server, "PUT", path, body=b"x")
    assert (answer.status, answer.headers.get(SSE)) == (200, None)
    head = plain_server.client().head_object(Bucket=plain_bucket, Key="o")
    assert (head["Metadata"], head.get("ServerSideEncryption")) == ({}, None)


def test_a_url_that_reads_takes_nothing_of_this(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    got = upload(server, f"/{bucket}/o", {**MOVED, SSE: "AES256"}, method="GET", body=b"")
    assert (got.status, got.body) == (200, b"x")
