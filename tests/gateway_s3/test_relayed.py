"""What a gateway without a KMS passes on, and what it does not take part in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import pytest

from strongroom.relay import BackendRelay
from strongroom.relay.headers import without_hidden
from strongroom.s3.auth import UnsignedPayload
from strongroom.s3.call import Call
from strongroom.s3.encryption import EncryptionHeaders
from strongroom.s3.errors import S3Error
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import Exchange, HttpRequest
from strongroom.store.errors import Damaged, Unavailable
from strongroom.store.s3 import pool
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Refusal
from tests.backends import Backend, served_by
from tests.customer_keys import SSE_C, sse_c
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.proxy import Proxy, once
from tests.gateway_s3.test_client import Fake
from tests.gateway_s3.test_client import fake as fake
from tests.http.raw import Answer, error_of, request, send, signed_headers
from tests.http.test_browser_uploads import post, signed
from tests.http.test_presigned_uploads import upload
from tests.server import Server

NO_KMS: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None}


@pytest.fixture
def passing(minio: Backend, gateway: Gateway, bucket_name: str) -> Server:
    server = gateway(minio, NO_KMS)
    server.client().create_bucket(Bucket=bucket_name)
    return server


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32", "CRC32C"])
def test_an_upload_is_completed_with_a_checksum_of_the_whole_object(
    minio: Backend, passing: Server, bucket_name: str, algorithm: str
) -> None:
    client = passing.client()
    bodies = [os.urandom(5 * 1024**2), b"the end"]
    whole = client.put_object(Bucket=bucket_name, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm=algorithm)
    name = f"Checksum{algorithm}"
    target: Any = {"Bucket": bucket_name, "Key": "o"}
    asked = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
    target["UploadId"] = client.create_multipart_upload(**target, **asked)["UploadId"]
    parts = []
    for number, body in enumerate(bodies, 1):
        part = client.upload_part(**target, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    complete = {**target, "MultipartUpload": {"Parts": parts}, "ChecksumType": "FULL_OBJECT"}
    assert error_of(client.complete_multipart_upload, **complete, **{name: parts[0][name]})[1] == 400
    done = client.complete_multipart_upload(**complete, **{name: whole[name]})
    assert done[name] == whole[name]
    for reader in (client, minio.client()):
        assert reader.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"".join(bodies)


@pytest.mark.parametrize("asked", ["SSE-C", "SSE-S3", "SSE-KMS"])
def test_a_form_that_asks_for_encryption_is_refused(passing: Server, bucket_name: str, asked: str) -> None:
    key, prefix = bytes(range(32)), "x-amz-server-side-encryption"
    fields = {
        "SSE-C": {
            f"{prefix}-customer-algorithm": "AES256",
            f"{prefix}-customer-key": base64.b64encode(key).decode(),
            f"{prefix}-customer-key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
        },
        "SSE-S3": {prefix: "AES256"},
        "SSE-KMS": {prefix: "aws:kms"},
    }[asked]
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(passing, bucket_name, signed(passing, bucket_name, "o", fields, conditions), b"x")
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "Contents" not in passing.client().list_objects_v2(Bucket=bucket_name)
    assert post(passing, bucket_name, signed(passing, bucket_name, "o"), b"x").status == 204
    assert passing.client().get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"x"


@pytest.mark.parametrize("size", [10, 7 * 1024**2])
def test_a_form_whose_file_is_another_than_it_says_is_refused(passing: Server, bucket_name: str, size: int) -> None:
    for fields in ({"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, {"x-amz-checksum-crc32": "AAAAAA=="}):
        answer = post(passing, bucket_name, signed(passing, bucket_name, "o", fields, [fields]), b"x" * size)
        assert (answer.status, answer.code) == (400, "BadDigest")
    assert "Contents" not in passing.client().list_objects_v2(Bucket=bucket_name)
    checksum = {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(b"x" * size).to_bytes(4, "big")).decode()}
    answer = post(passing, bucket_name, signed(passing, bucket_name, "o", checksum, [checksum]), b"x" * size)
    assert (answer.status, answer.headers["x-amz-checksum-crc32"]) == (204, checksum["x-amz-checksum-crc32"])


@pytest.mark.parametrize("size", [10, 7 * 1024**2])
def test_what_a_form_says_of_an_object_is_passed_on(
    minio: Backend, passing: Server, bucket_name: str, size: int
) -> None:
    fields = {
        "Content-Type": "text/x-form",
        "x-amz-meta-who": "me",
        "success_action_status": "201",
        "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b c</Value></Tag></TagSet></Tagging>",
    }
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(passing, bucket_name, signed(passing, bucket_name, "o", fields, conditions), b"x" * size)
    assert answer.status == 201
    name = {"Bucket": bucket_name, "Key": "o"}
    for reader in (passing.client(), minio.client()):
        got = reader.get_object(**name)
        assert (got["ContentType"], got["Metadata"], got["Body"].read()) == ("text/x-form", {"who": "me"}, b"x" * size)
        assert reader.get_object_tagging(**name)["TagSet"] == [{"Key": "a", "Value": "b c"}]
        assert got["ETag"].encode() in answer.body.replace(b"&quot;", b'"')
    passing.client().copy_object(Bucket=bucket_name, Key="copy", CopySource=f"{bucket_name}/o")
    listed = minio.client().list_objects_v2(Bucket=bucket_name)["Contents"]
    assert [item["Key"] for item in listed] == ["copy", "o"]


def test_what_a_presigned_url_says_of_an_object_is_passed_on(minio: Backend, passing: Server, bucket_name: str) -> None:
    assert upload(passing, f"/{bucket_name}/o", {"x-amz-meta-who": "me"}).status == 200
    assert minio.client().head_object(Bucket=bucket_name, Key="o")["Metadata"] == {"who": "me"}
    sse = "x-amz-server-side-encryption"
    assert upload(passing, f"/{bucket_name}/sealed", {sse: "AES256"}).code == "NotImplemented"  # this MinIO has no KMS
    assert upload(passing, f"/{bucket_name}/copy", {"x-amz-copy-source": f"/{bucket_name}/o"}).status == 400
    assert len(minio.client().list_objects_v2(Bucket=bucket_name)["Contents"]) == 1


def test_a_form_cannot_name_what_is_hidden(passing: Server, bucket_name: str) -> None:
    for key in (".strongroom.sys/settings", "/.strongroom.sys/settings", "a/../.strongroom.sys/settings"):
        assert post(passing, bucket_name, signed(passing, bucket_name, key), b"x").status in (400, 403)
    assert "Contents" not in passing.client().list_objects_v2(Bucket=bucket_name)


@pytest.mark.parametrize("name", ["a" * 60_000, "No", "a..b"], ids=["long", "case", "dots"])
def test_a_page_that_asks_about_what_can_be_no_bucket_is_refused(passing: Server, name: str) -> None:
    headers = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "PUT"}
    answer = send(passing, "OPTIONS", f"/{name}/o", headers)
    assert (answer.status, answer.code) == (400, "InvalidBucketName")


def test_a_copy_that_the_backend_says_failed_behind_a_200_looks_like_one(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str
) -> None:
    """Clients of minio-go take any document for that of a copy."""
    passing.client().put_object(Bucket=bucket_name, Key="o", Body=b"x")
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, NO_KMS, proxy=proxy)
        proxy.fault = once(lambda line: line.startswith("PUT"), "error")
        copied = request(server, "PUT", f"/{bucket_name}/copy", {"x-amz-copy-source": f"/{bucket_name}/o"})
        assert (copied.status, copied.code) == (500, "InternalError")


def test_what_a_gateway_with_a_kms_stored_in_parts_is_not_copied_without_one(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str
) -> None:
    """The copy would have the metadata of the original, which name a record that is the original's."""
    client, body = gateway(minio, {"MINIO_SSE_AUTO_ENCRYPTION": None}).client(), os.urandom(7_000_000)
    name = {"Bucket": bucket_name, "Key": "large"}
    client.put_object(**name, Body=body)
    copy = {"Bucket": bucket_name, "Key": "copy", "CopySource": name}
    assert error_of(passing.client().copy_object, **copy) == ("NotImplemented", 501)
    assert error_of(passing.client().head_object, Bucket=bucket_name, Key="copy")[1] == 404
    shown = passing.client().get_object(**name)  # it is plain, but for what the gateway keeps of it
    assert (shown["Metadata"], shown["Body"].read()) == ({}, body)
    client.copy_object(**copy)
    assert client.get_object(Bucket=bucket_name, Key="copy")["Body"].read() == body


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_what_a_backend_answers_to_an_operation_that_it_does_not_know_shows_nothing_hidden(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    """It takes no notice of the parameter, and lists the bucket, or sends the object."""
    backend: Backend = request.getfixturevalue(kind)
    client = gateway(backend).client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="o", Body=b"x")
    server = gateway(backend, NO_KMS)

    def get(path: str) -> Answer:
        return send(server, "GET", path, signed_headers(server, "GET", path))

    for asked in ("metadataTable", "session"):
        listed = get(f"/{bucket_name}?{asked}")
        assert b"<Key>o</Key>" in listed.body
        assert b".strongroom.sys" not in listed.body
    assert get(f"/{bucket_name}/o?annotation").code == "NotImplemented"


def test_metadata_that_a_gateway_would_take_for_its_own_are_refused(passing: Server, bucket_name: str) -> None:
    name = "x-amz-meta-strongroom-id"
    for headers, query in (({name: "A" * 22}, ""), ({}, f"?X-Amz-Meta-Strongroom-Id={'A' * 22}")):
        answer = request(passing, "PUT", f"/{bucket_name}/o{query}", headers, b"x")
        assert (answer.status, answer.code) == (400, "InvalidArgument")
    fields = signed(passing, bucket_name, "o", {name: "A" * 22}, [{name: "A" * 22}])
    assert post(passing, bucket_name, fields, b"x").code == "InvalidArgument"
    assert request(passing, "HEAD", f"/{bucket_name}/o").status == 404


@pytest.mark.parametrize("behind", ["?a=b&versionId=null", "?versionid=a&versionId=null", "?a"])
def test_a_copy_is_of_the_version_that_was_looked_at(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str, behind: str
) -> None:
    gateway(minio).client().put_object(Bucket=bucket_name, Key="o", Body=b"x")
    source = {"x-amz-copy-source": f"/{bucket_name}/o{behind}"}
    answer = request(passing, "PUT", f"/{bucket_name}/copy", source)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    passing.client().put_object(Bucket=bucket_name, Key="plain", Body=b"x")
    source = {"x-amz-copy-source": f"/{bucket_name}/plain?versionId=null"}
    assert request(passing, "PUT", f"/{bucket_name}/copy", source).status == 200


def test_an_older_version_that_was_encrypted_is_not_taken_for_the_newest(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str
) -> None:
    name, client = {"Bucket": bucket_name, "Key": "o"}, passing.client()
    minio.client().put_bucket_versioning(Bucket=bucket_name, VersioningConfiguration={"Status": "Enabled"})
    gateway(minio).client().put_object(**name, Body=b"x" * 100)
    sealed = client.list_object_versions(Bucket=bucket_name, Prefix="o")["Versions"][0]["VersionId"]
    plain = client.put_object(**name, Body=b"y" * 100)["VersionId"]
    refused, asked = ("NotImplemented", 501), {"ObjectAttributes": ["ObjectSize"]}
    for version, expected in ((sealed, refused), (plain, ("", 200))):
        assert error_of(client.get_object, **name, VersionId=version) == expected
        assert error_of(client.get_object_tagging, **name, VersionId=version) == expected
        assert error_of(client.get_object_attributes, **name, VersionId=version, **asked) == expected
        source = {**name, "VersionId": version}
        assert error_of(client.copy_object, Bucket=bucket_name, Key="copy", CopySource=source) == expected


def test_the_tags_of_what_was_encrypted_are_not_those_that_the_backend_has(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str
) -> None:
    name, client = {"Bucket": bucket_name, "Key": "o"}, passing.client()
    sealing = gateway(minio).client()
    sealing.put_object(**name, Body=b"x", Tagging="a=b")
    assert error_of(client.get_object_tagging, **name) == ("NotImplemented", 501)
    assert error_of(client.put_object_tagging, **name, Tagging={"TagSet": []}) == ("NotImplemented", 501)
    assert error_of(client.delete_object_tagging, **name) == ("NotImplemented", 501)
    assert sealing.get_object_tagging(**name)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_a_large_object_is_not_said_to_be_encoded_as_it_came(
    versitygw: Backend, gateway: Gateway, bucket_name: str
) -> None:
    """versitygw keeps all codings that it is told of."""
    client, body = gateway(versitygw, NO_KMS).client(), os.urandom(7 * 1024**2)
    client.create_bucket(Bucket=bucket_name)
    for key, encoding in (("plain", {}), ("packed", {"ContentEncoding": "gzip"})):
        client.put_object(Bucket=bucket_name, Key=key, Body=body, **encoding)
        got = versitygw.client().get_object(Bucket=bucket_name, Key=key)
        assert got.get("ContentEncoding") == encoding.get("ContentEncoding")
        assert got["Body"].read() == body


def test_where_a_completed_object_is_does_not_name_the_backend(passing: Server, bucket_name: str) -> None:
    client, target = passing.client(), {"Bucket": bucket_name, "Key": "a b&c"}
    target["UploadId"] = client.create_multipart_upload(**target)["UploadId"]
    etag = client.upload_part(**target, PartNumber=1, Body=b"x")["ETag"]
    done = client.complete_multipart_upload(**target, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert done["Location"] == f"{passing.endpoint}/{bucket_name}/a%20b%26c"


def test_what_the_backend_says_of_its_own_host_is_not_said_of_the_gateway(
    minio: Backend, passing: Server, bucket_name: str
) -> None:
    """A browser would ask for all of the gateway's domain over TLS, for a year."""
    name = "strict-transport-security"
    path = f"/{bucket_name}"
    assert name in send(minio, "HEAD", path).headers
    assert name not in request(passing, "HEAD", path).headers


def test_of_a_parameter_that_comes_twice_the_first_goes_on(passing: Server, bucket_name: str) -> None:
    for key in ("a", "b"):
        passing.client().put_object(Bucket=bucket_name, Key=key, Body=b"x")
    listed = request(passing, "GET", f"/{bucket_name}?prefix=b&prefix=a")
    assert (listed.status, listed.find("Key")) == (200, "b")


def test_objects_are_not_renamed_from_what_is_hidden(passing: Server, bucket_name: str) -> None:
    source = {"x-amz-rename-source": f"/{bucket_name}/.strongroom.sys/check"}
    assert request(passing, "PUT", f"/{bucket_name}/o?renameObject", source).code == "NotImplemented"


def test_a_list_of_nothing_but_elements_is_not_taken_in(passing: Server, bucket_name: str) -> None:
    for elements in (b"<a/>" * 1_000_000, b'<a b="" c="" d=""/>' * 50_000):
        document = b"<Delete>" + elements + b"</Delete>"
        assert request(passing, "POST", f"/{bucket_name}?delete", body=document).code == "MalformedXML"


def test_a_listing_that_is_cut_short_is_none_and_soon_found_to_be() -> None:
    entry = b"<Contents><Key>%s</Key></Contents>"
    hidden, shown = entry % b".strongroom.sys/check", entry % b"o"
    count = b"<KeyCount>%d</KeyCount>"
    assert without_hidden(hidden + shown + hidden + count % 3) == shown + count % 1
    page = b"<IsTruncated>true</IsTruncated>"
    marked = page + b"<NextMarker>.strongroom.sys/check</NextMarker>"
    assert without_hidden(page + shown + hidden) == marked + shown  # AWS says so only where there is a delimiter
    assert without_hidden(page + hidden + shown) == page + shown
    assert without_hidden(marked + hidden) == marked
    for listing in (shown + hidden[:-1], b"<Contents>" * 1_000_000):
        with pytest.raises(Unavailable):
            without_hidden(listing)


@pytest.mark.parametrize("path", ["/%6Dinio/admin/v3/info", "/minio%2Fadmin/v3/info", "/minio/kms/v1/status"])
def test_the_administration_of_the_backend_is_not_reached(passing: Server, path: str) -> None:
    answer = send(passing, "GET", path, signed_headers(passing, "GET", unquote(path)))
    assert (answer.status, answer.headers["content-type"]) == (501, "application/xml")


def test_a_write_that_was_done_is_not_told_to_be_refused(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, NO_KMS, proxy)
        server.client().create_bucket(Bucket=bucket_name)
        path, new = f"/{bucket_name}/o", {"If-None-Match": "*"}
        proxy.fault = once(lambda line: line.startswith("PUT"), "lose")
        answer = request(server, "PUT", path, new, b"x")
        assert (answer.status, answer.code) == (503, "ServiceUnavailable")
        assert request(server, "PUT", path, new, b"y").status == 412
        proxy.fault = once(lambda line: line.startswith("GET"), "lose")
        assert request(server, "GET", f"{path}p").status == 404
        server.client().create_bucket(Bucket=f"{bucket_name}-b")
        proxy.fault = once(lambda line: line.startswith("DELETE"), "lose")
        assert request(server, "DELETE", f"/{bucket_name}-b").code == "ServiceUnavailable"
        assert request(server, "DELETE", f"/{bucket_name}-b").code == "NoSuchBucket"
    assert minio.client().get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"x"


def test_a_url_that_lets_delete_one_object_does_not_let_delete_all_below_it(passing: Server, bucket_name: str) -> None:
    client = passing.client(signature_version="s3v4")
    client.put_object(Bucket=bucket_name, Key="a/b", Body=b"x")
    url = urlsplit(client.generate_presigned_url("delete_object", {"Bucket": bucket_name, "Key": "a"}))
    answer = send(passing, "DELETE", f"{url.path}?{url.query}", {"x-minio-force-delete": "true"})
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert client.head_object(Bucket=bucket_name, Key="a/b")["ContentLength"] == 1


def test_what_is_not_of_s3_reaches_the_backend_only_if_the_client_has_signed_it(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    added = {"x-http-method-override": "DELETE", "x_amz_copy_source": "a/b", "cookie": "a=b", "forwarded": "for=a"}
    of_s3 = {"content-type": "text/plain", "cache-control": "no-store", "if-none-match": "*"}
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, NO_KMS, proxy)
        client = server.client(signature_version="s3v4")
        client.create_bucket(Bucket=bucket_name)
        url = urlsplit(client.generate_presigned_url("put_object", {"Bucket": bucket_name, "Key": "o"}))
        assert send(server, "PUT", f"{url.path}?{url.query}", {**added, **of_s3}, b"body").status == 200
        sent = proxy.heads[-1]
        assert not [name for name in added if f"\n{name}:" in sent]
        assert [name for name in of_s3 if f"\n{name}: {of_s3[name]}" in sent] == list(of_s3)
        path = f"/{bucket_name}/o"
        signed_too = signed_headers(server, "GET", path, {"x-emc-namespace": "a"})
        assert send(server, "GET", path, signed_too).status == 200
        assert "\nx-emc-namespace: a" in proxy.heads[-1]


def test_a_redirect_of_the_backend_does_not_lead_clients_past_the_gateway(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, NO_KMS, proxy)
        server.client().create_bucket(Bucket=bucket_name)
        proxy.fault = lambda line: "elsewhere"
        answer = request(server, "GET", f"/{bucket_name}/o")
    assert answer.status == 307
    assert "location" not in answer.headers


def test_events_are_not_listened_to(passing: Server, bucket_name: str) -> None:
    answer = request(passing, "GET", f"/{bucket_name}?events=s3%3AObjectCreated%3A%2A")
    assert (answer.status, answer.code) == (501, "NotImplemented")


def test_attributes_of_ciphertext_are_not_those_of_an_object(
    minio: Backend, gateway: Gateway, passing: Server, bucket_name: str
) -> None:
    gateway(minio).client().put_object(Bucket=bucket_name, Key="encrypted", Body=b"x" * 100)
    passing.client().put_object(Bucket=bucket_name, Key="plain", Body=b"x" * 100)
    asked = {"Bucket": bucket_name, "ObjectAttributes": ["ObjectSize"]}
    assert passing.client().get_object_attributes(**asked, Key="plain")["ObjectSize"] == 100
    refused = ("NotImplemented", 501)
    assert error_of(passing.client().get_object_attributes, **asked, Key="encrypted") == refused
    of_rows = {"Expression": "select * from s3object", "ExpressionType": "SQL"}
    as_rows: Any = {"InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    select = {"Bucket": bucket_name, "Key": "encrypted", **of_rows, **as_rows}
    assert error_of(passing.client().select_object_content, **select) == refused


def test_what_is_selected_from_an_object_comes_however_much_it_is(passing: Server, bucket_name: str) -> None:
    rows = b"a,b\n" * 5_000_000
    passing.client().put_object(Bucket=bucket_name, Key="o", Body=rows)
    of_rows = {"Expression": "select * from s3object", "ExpressionType": "SQL"}
    as_rows: Any = {"InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}
    selected = passing.client().select_object_content(Bucket=bucket_name, Key="o", **of_rows, **as_rows)
    events = list(selected["Payload"])
    assert sum(len(event["Records"]["Payload"]) for event in events if "Records" in event) == len(rows)
    assert "End" in events[-1]


def test_a_client_s_key_is_not_passed_on_in_the_clear(versitygw: Backend, tmp_path: Path, certificates: Path) -> None:
    server = served_by(versitygw, tmp_path / "gateway", NO_KMS, certificates)
    server.backend = f"http://0.0.0.0:{versitygw.port}"  # no address of this machine only, as far as anybody can tell
    key, source = SSE_C, sse_c(prefix="CopySource")
    target = {"Bucket": "a-bucket", "Key": "o"}
    with server:
        client = server.client()
        assert error_of(client.put_object, **target, Body=b"x", **key) == ("InvalidRequest", 400)
        assert error_of(client.get_object, **target, **key) == ("InvalidRequest", 400)
        assert error_of(client.copy_object, **target, CopySource=target, **source) == ("InvalidRequest", 400)
        assert error_of(client.get_object, **target) == ("NoSuchBucket", 404)


def test_a_client_s_key_is_passed_on_in_the_clear_where_the_operator_allows_that(
    versitygw: Backend, gateway: Gateway, bucket_name: str
) -> None:
    """The backend encrypts with it, or says that it does not. Either way the object is not put there without it."""
    key, source = SSE_C, sse_c(prefix="CopySource")
    name = "x-amz-server-side-encryption-customer-key"
    encoded = base64.b64encode(bytes(range(32))).decode().lower()
    with Proxy(versitygw.endpoint) as proxy:
        local, proxy.endpoint = proxy.endpoint, proxy.endpoint.replace("127.0.0.1", "0.0.0.0")
        assert local != proxy.endpoint  # no address of this machine only, as far as anybody can tell
        client = gateway(versitygw, NO_KMS, proxy).client()
        client.create_bucket(Bucket=bucket_name)
        target = {"Bucket": bucket_name, "Key": "o"}
        for ask, given in (
            (client.put_object, {"Body": b"x", **key}),
            (client.get_object, key),
            (client.create_multipart_upload, key),
        ):
            error_of(ask, **target, **given)
            assert f"\n{name}: {encoded}" in proxy.heads[-1]
        client.put_object(Bucket=bucket_name, Key="plain", Body=b"x")
        copy = {**target, "CopySource": {"Bucket": bucket_name, "Key": "plain"}, **source}
        error_of(client.copy_object, **copy)
        looked_at = [head for head in proxy.heads if head.startswith("head ")]
        assert f"\n{name}: {encoded}" in looked_at[-1]


def test_what_must_not_be_done_twice_is_not_sent_again_though_its_answer_is_lost(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    """A second upload would be left open, and nobody would know of it."""
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, NO_KMS, proxy)
        for method, path in (("PUT", f"/{bucket_name}"), ("POST", f"/{bucket_name}/o?uploads")):
            proxy.lines.clear()
            proxy.fault = once(lambda line, method=method: line.startswith(method), "lose")  # type: ignore[misc]
            answer = request(server, method, path)
            assert (answer.status, answer.code) == (503, "ServiceUnavailable")
            assert len([line for line in proxy.lines if line.startswith(method)]) == 1
        opened = minio.client().list_multipart_uploads(Bucket=bucket_name, Prefix="o")["Uploads"]
        assert len(opened) == 1


class Refusing:
    """Of a client of a backend: refuses each request, as one that an earlier attempt may have carried out."""

    endpoint = SimpleNamespace(in_the_clear=False, exact=True, administers=lambda bucket, key: False)

    def __init__(self, status: int) -> None:
        self.status = status

    async def open(self, request: Any, raw: bool) -> Any:
        raise Refusal(self.status, {}, b"") from Unavailable("the answer was lost")


def relayed(backend: Any, method: str, operation: str, headers: dict[str, str] | None = None) -> Any:
    """What a relay before this client of a backend answers to a request without a body."""

    async def receive() -> bytes:
        return b""

    given = {"host": "a", "content-length": "0", **(headers or {})}
    arriving = BodyReceiver(cast(Exchange, SimpleNamespace(ready=True, receive=receive)), 60)
    asked = HttpRequest(method, "/bucket/o", "", given, True, "")
    encryption = EncryptionHeaders(given, secure=True)
    call = Call(asked, "bucket", "o", UnsignedPayload(), frozenset(), arriving, encryption, "")
    return BackendRelay(cast(Client, backend)).relay(call, operation)


@pytest.mark.parametrize(
    ("method", "status", "told"),
    [
        ("PUT", 404, False),
        ("PUT", 409, False),
        ("PUT", 412, False),
        ("PUT", 403, True),
        ("GET", 404, True),
        ("HEAD", 412, True),
    ],
)
def test_only_a_refusal_that_an_earlier_attempt_cannot_have_caused_is_told(
    method: str, status: int, told: bool
) -> None:
    """AWS refuses a conditional write with 409 as well, where another one is under way."""
    operation = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject"}[method]
    if told:
        _, response = asyncio.run(relayed(Refusing(status), method, operation))
        assert response.status == status
    else:
        with pytest.raises(Unavailable, match="the answer was lost"):
            asyncio.run(relayed(Refusing(status), method, operation))


def test_what_is_refused_or_not_read_to_its_end_holds_no_connection_to_the_backend(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the gateway would come to have none left, and wait for ever."""
    monkeypatch.setattr(pool, "CONNECTIONS", 2)
    etag = {"etag": '"e"', "last-modified": "Sat, 01 Jan 2000 00:00:00 GMT"}
    sealed = {**etag, "x-amz-meta-strongroom-id": "not an id"}
    body = bytes(8 * 1024**2)  # more than lies ready before it is asked for

    async def read(client: Client) -> None:
        for _ in range(3):
            fake.reply = lambda region: (200, sealed, body)
            with pytest.raises(Damaged):
                await relayed(client, "GET", "GetObject")
        for _ in range(3):
            fake.reply = lambda region: (200, etag, body)
            answer, _ = await relayed(client, "GET", "GetObject")
            assert await anext(answer.body)
            await answer.body.aclose()  # the client is gone

    async def in_time(client: Client) -> None:
        async with asyncio.timeout(30):
            await read(client)

    fake.run(in_time)


class Taking:
    """Of a client of a backend: takes a body, and keeps whether it came to its end. It verifies nothing."""

    endpoint = SimpleNamespace(in_the_clear=False, exact=True, administers=lambda bucket, key: False)

    def __init__(self) -> None:
        self.taken = 0
        self.ended = False

    async def open(self, request: Any, raw: bool) -> Any:
        async for piece in request.body.pieces():
            self.taken += len(piece)
        self.ended = True
        raise Unavailable("this is no backend")


@pytest.mark.parametrize(
    "header", [{"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, {"x-amz-checksum-crc32": "AAAAAA=="}], ids=["MD5", "CRC32"]
)
def test_a_backend_that_verifies_nothing_gets_no_end_of_a_body_that_is_another(header: dict[str, str]) -> None:
    async def main() -> None:
        body = os.urandom(7 * 1024**2)
        pieces = iter([body[at : at + 2**20] for at in range(0, len(body), 2**20)])

        async def receive() -> bytes:
            return next(pieces, b"")

        headers = {"host": "a", "content-length": str(len(body)), **header}
        asked = HttpRequest("PUT", "/bucket/o", "", headers, True, "")
        arriving = BodyReceiver(cast(Exchange, SimpleNamespace(ready=True, receive=receive)), 60)
        encryption = EncryptionHeaders(headers, secure=True)
        call = Call(asked, "bucket", "o", UnsignedPayload(), frozenset(), arriving, encryption, "")
        backend = Taking()
        with pytest.raises(S3Error, match="BadDigest"):
            await BackendRelay(cast(Client, backend)).relay(call, "PutObject")
        assert (next(pieces, None), backend.ended) == (None, False)
        assert 0 < backend.taken <= len(body)

    asyncio.run(main())
