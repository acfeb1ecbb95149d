"""Requests with names, dates and numbers that are none, from strangers and from clients."""

from __future__ import annotations

import pytest

from tests.customer_keys import SSE_C
from tests.http.raw import error_of, request, send, signed_headers
from tests.server import Server
from tests.uploads import upload_of_one_part

ASKED = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
YEAR = "99999999999999999999"
LONG = "a" * 60_000


def test_an_enormous_name_of_a_bucket_is_refused(server: Server) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = send(server, method, f"/{LONG}/o")
        assert (answer.status, answer.code) == (400, "InvalidBucketName")
    assert send(server, "HEAD", f"/{LONG}/o").status == 400


def test_an_enormous_date_is_refused(server: Server, bucket: str) -> None:
    scope = "Credential=a/20200101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=x"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}", "x-amz-date": LONG}
    answer = send(server, "GET", f"/{bucket}/o", headers)
    assert answer.status in (400, 403)


@pytest.mark.parametrize("name", [LONG, "No", "a..b", "-ab", "a:b"], ids=lambda name: name[:10])
@pytest.mark.parametrize("key", ["", "/o"])
def test_a_page_that_asks_about_what_can_be_no_bucket_is_refused(server: Server, name: str, key: str) -> None:
    answer = send(server, "OPTIONS", f"/{name}{key}", ASKED)
    assert (answer.status, answer.code) == (400, "InvalidBucketName")


def test_a_path_without_a_bucket_is_refused(server: Server, bucket: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = request(server, method, f"//{bucket}/o")
        assert (answer.status, answer.code) == (400, "InvalidBucketName")


def test_a_part_without_a_number_is_refused(server: Server, bucket: str) -> None:
    upload = server.client().create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    answer = request(server, "PUT", f"/{bucket}/o?partNumber=&uploadId={upload}", body=b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_blanks_behind_a_header_are_not_of_its_value(server: Server, bucket: str) -> None:
    headers = {"x-amz-meta-a": "b \t", "x-amz-server-side-encryption": "AES256 "}
    assert request(server, "PUT", f"/{bucket}/o", headers).status == 200
    assert request(server, "PUT", f"/{bucket}/copy", {"x-amz-copy-source": f"{bucket}/o "}).status == 200
    assert request(server, "HEAD", f"/{bucket}/copy").headers["x-amz-meta-a"] == "b"


def test_names_in_headers_need_not_be_escaped(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="Z\u00fcrich", Body=b"x")
    headers = {
        "x-amz-copy-source": f"{bucket}/Z\u00fcrich",
        "x-amz-tagging": "city=Z\u00fcrich",
        "x-amz-tagging-directive": "REPLACE",
    }
    signed = signed_headers(server, "PUT", f"/{bucket}/copy", headers)
    on_the_wire = {name: value.encode().decode("latin-1") for name, value in signed.items()}
    assert send(server, "PUT", f"/{bucket}/copy", on_the_wire).status == 200
    assert client.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "city", "Value": "Z\u00fcrich"}]


@pytest.mark.parametrize("header", ["If-Modified-Since", "If-Unmodified-Since"])
@pytest.mark.parametrize(
    "date", [f"Mon, 01 Jan {YEAR} 00:00:00 GMT", f"Mon, {YEAR} Jan 2020 00:00:00 GMT", f"{YEAR}-01-01T00:00:00Z"]
)
def test_a_date_that_is_no_moment_counts_as_not_sent(server: Server, bucket: str, header: str, date: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    for method in ("GET", "HEAD"):
        assert request(server, method, f"/{bucket}/o", {header: date}).status == 200
    copied = {"x-amz-copy-source": f"{bucket}/o", f"x-amz-copy-source-{header.lower()}": date}
    assert request(server, "PUT", f"/{bucket}/copy", copied).status == 200


@pytest.mark.parametrize("header", ["Date", "x-amz-date"])
def test_a_signature_of_no_moment_is_refused(server: Server, bucket: str, header: str) -> None:
    scope = "Credential=a/20200101/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=x"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 {scope}", header: f"Mon, 01 Jan {YEAR} 00:00:00 GMT"}
    assert send(server, "GET", f"/{bucket}/o", headers).status in (400, 403)


@pytest.mark.on_disk  # another S3 has its own limit
def test_a_name_of_metadata_that_is_too_long_is_refused(plain_server: Server, plain_bucket: str) -> None:
    long = {f"x-amz-meta-{'n' * 300}": "v"}
    for path in ("o", "o?uploads="):
        method = "POST" if "uploads" in path else "PUT"
        answer = request(plain_server, method, f"/{plain_bucket}/{path}", long)
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    client = plain_server.client()
    assert client.list_objects_v2(Bucket=plain_bucket)["KeyCount"] == 0
    assert "Uploads" not in client.list_multipart_uploads(Bucket=plain_bucket)
    client.put_object(Bucket=plain_bucket, Key="o", Body=b"x", Metadata={"n" * 200: "v"})
    assert client.head_object(Bucket=plain_bucket, Key="o")["Metadata"] == {"n" * 200: "v"}


def test_an_upload_with_a_client_s_key_is_completed_once(server: Server, bucket: str) -> None:
    client = server.client()
    target, parts = upload_of_one_part(client, bucket, **SSE_C)
    client.complete_multipart_upload(**target, MultipartUpload=parts)
    again = error_of(client.complete_multipart_upload, **target, MultipartUpload=parts)
    assert again == ("NoSuchUpload", 404)
    other = error_of(client.complete_multipart_upload, **{**target, "UploadId": "0" * 32}, MultipartUpload=parts)
    assert other == ("NoSuchUpload", 404)
    assert client.get_object(Bucket=bucket, Key="o", **SSE_C)["Body"].read() == b"x"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-amz-max-parts", "-1"),
        ("x-amz-max-parts", YEAR),
        ("x-amz-part-number-marker", "-1"),
        ("x-amz-part-number-marker", "one"),
        ("x-amz-part-number-marker", YEAR * 300),
    ],
    ids=lambda text: text[:30],
)
def test_attributes_are_told_in_pages_of_sizes_that_there_are(
    server: Server, bucket: str, header: str, value: str
) -> None:
    client = server.client()
    target, parts = upload_of_one_part(client, bucket)
    client.complete_multipart_upload(**target, MultipartUpload=parts)
    headers = {"x-amz-object-attributes": "ObjectParts", header: value}
    answer = request(server, "GET", f"/{bucket}/o?attributes=", headers)
    assert (answer.status, answer.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_the_admin_api_of_minio_is_not_taken_for_a_bucket(server: Server, method: str) -> None:
    path = "/minio/admin/v3/info"
    for answer in (send(server, method, path), request(server, method, path), request(server, method, path, body=b"x")):
        assert (answer.status, answer.code) == (501, "NotImplemented")
        assert "admin API" in answer.find("Message")
    head = send(server, "HEAD", path)
    assert (head.status, head.body, head.headers["x-minio-error-code"]) == (501, b"", "NotImplemented")
