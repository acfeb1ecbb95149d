"""The modes of the S3 gateway: what the backend gets to keep, and what clients see, in each."""

from __future__ import annotations

import hashlib
import os
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Backend
from tests.customer_keys import SSE_C
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.proxy import Proxy
from tests.http.raw import error_of, send
from tests.http.raw import request as signed_request
from tests.jobs import job
from tests.openbao import OpenBao
from tests.server import Server
from tests.storage import files_with

NEEDLE = b"a sentence that must not be found on the backend "
META = "a-note-of-the-client"
SSE_KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}
NO_KMS: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None}
LARGE = NEEDLE * (9 * 1024**2 // len(NEEDLE))
FIRST = NEEDLE * (6 * 1024**2 // len(NEEDLE))


def fill(server: Server, bucket: str, **encryption: Any) -> None:
    """Put a small object, a large one, one in parts, and a copy, with metadata and tags, and see them come back."""
    client = server.client()
    client.create_bucket(Bucket=bucket)
    described: dict[str, Any] = {"Metadata": {"note": META}, "ContentType": "text/x-needle"}
    client.put_object(Bucket=bucket, Key="small", Body=NEEDLE, **described, **encryption)
    client.put_object(Bucket=bucket, Key="empty", Body=b"", **described, **encryption)
    client.put_object(Bucket=bucket, Key="large", Body=LARGE, **described, **encryption)
    key_only = encryption if "SSECustomerKey" in encryption else {}
    upload = client.create_multipart_upload(Bucket=bucket, Key="parts", **described, **encryption)["UploadId"]
    parts = []
    for number, body in ((2, NEEDLE), (1, FIRST)):
        part = {"Bucket": bucket, "Key": "parts", "UploadId": upload, "PartNumber": number}
        parts.append({"PartNumber": number, "ETag": client.upload_part(**part, Body=body, **key_only)["ETag"]})
    client.complete_multipart_upload(
        Bucket=bucket,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": sorted(parts, key=lambda part: part["PartNumber"])},
    )
    source = {f"CopySource{name}": value for name, value in key_only.items()}
    client.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/small", **source, **encryption)
    tags = [{"Key": "tag", "Value": META}]
    if not key_only:
        client.put_object_tagging(Bucket=bucket, Key="small", Tagging={"TagSet": tags})
        assert client.get_object_tagging(Bucket=bucket, Key="small")["TagSet"] == tags
    for key, body in CONTENTS.items():
        got = client.get_object(Bucket=bucket, Key=key, **key_only)
        assert got["Body"].read() == body, key
        assert (got["Metadata"], got["ContentType"]) == ({"note": META}, "text/x-needle")
        head = client.head_object(Bucket=bucket, Key=key, **key_only)
        assert (head["ContentLength"], head["ETag"]) == (len(body), got["ETag"])
    part = client.get_object(Bucket=bucket, Key="parts", Range=f"bytes={len(FIRST) - 7}-{len(FIRST) + 7}", **key_only)
    assert part["Body"].read() == (FIRST + NEEDLE)[len(FIRST) - 7 : len(FIRST) + 8]


CONTENTS = {"small": NEEDLE, "empty": b"", "large": LARGE, "parts": FIRST + NEEDLE, "copy": NEEDLE}


def check_raw(backend: Backend, bucket: str) -> None:
    """See that nothing of the content or the metadata can be found in what the backend holds and tells."""
    client = backend.client()
    seen = 0
    for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
        try:
            got = client.get_object(Bucket=bucket, Key=item["Key"])
        except client.exceptions.ClientError:
            continue  # SSE-C of the backend
        told = str(got["ResponseMetadata"]["HTTPHeaders"]).encode() + got["Body"].read()
        assert NEEDLE not in told
        assert META.encode() not in told
        assert b"x-needle" not in told
        seen += 1
    assert seen
    assert files_with(backend.data, NEEDLE, META.encode(), b"x-needle") == []


def check_listing(server: Server, bucket: str, key: dict[str, Any]) -> dict[str, str]:
    """See that a listing tells sizes of the plaintext and the ETags that HEAD tells; the ETags."""
    listed = server.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert {item["Key"]: item["Size"] for item in listed} == {name: len(body) for name, body in CONTENTS.items()}
    for item in listed:
        head = server.client().head_object(Bucket=bucket, Key=item["Key"], **key)
        assert (head["ETag"], head["LastModified"]) == (item["ETag"], item["LastModified"].replace(microsecond=0))
    return {item["Key"]: item["ETag"] for item in listed}


@pytest.mark.parametrize("encryption", [{}, SSE_C, SSE_KMS], ids=["sse-s3", "sse-c", "sse-kms"])
@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_backend_sees_no_plaintext_and_no_metadata(
    request: pytest.FixtureRequest, gateway: Gateway, raw_bucket: str, kind: str, encryption: dict[str, Any]
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    server = gateway(backend)
    fill(server, raw_bucket, **encryption)
    check_raw(backend, raw_bucket)
    etags = check_listing(server, raw_bucket, encryption if "SSECustomerKey" in encryption else {})
    if not encryption:
        assert etags["large"] == f'"{hashlib.md5(LARGE).hexdigest()}"'


def test_single_encryption_works_over_tls(minio_tls: Backend, gateway: Gateway, raw_bucket: str) -> None:
    fill(gateway(minio_tls), raw_bucket)
    check_raw(minio_tls, raw_bucket)


@pytest.mark.parametrize("mode", ["s3", "c", "s3;c"])
def test_double_encryption_has_the_backend_encrypt_what_is_encrypted(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, mode: str
) -> None:
    server = gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode})
    raw = minio_tls.client()
    fill(server, f"{raw_bucket}-s3")
    fill(server, f"{raw_bucket}-c", **SSE_C)
    fill(server, f"{raw_bucket}-kms", **SSE_KMS)
    for bucket in ("-s3", "-c", "-kms"):
        check_raw(minio_tls, raw_bucket + bucket)
        check_listing(server, raw_bucket + bucket, SSE_C if bucket == "-c" else {})
    for key in CONTENTS:
        for bucket in ("-s3", "-kms"):
            head = raw.head_object(Bucket=raw_bucket + bucket, Key=key)
            assert head.get("ServerSideEncryption") == ("AES256" if "s3" in mode else None)
        refused = error_of(raw.head_object, Bucket=f"{raw_bucket}-c", Key=key)[1]
        assert refused == (400 if "c" in mode.split(";") else 200)
        if key == "empty":
            continue  # MinIO does not look at the key where there is nothing to decrypt
        # The client's own key is not what the backend was given.
        assert error_of(raw.get_object, Bucket=f"{raw_bucket}-c", Key=key, **SSE_C)[1] in (400, 403)
    assert error_of(server.client().get_object, Bucket=f"{raw_bucket}-c", Key="small") == ("InvalidRequest", 400)
    assert "does not say that it encrypts" not in server.log


@pytest.mark.parametrize("encryption", [{"ServerSideEncryption": "AES256"}, SSE_C], ids=["sse-s3", "sse-c"])
def test_a_backend_that_encrypts_nothing_though_it_is_asked_to_is_warned_of_once(
    versitygw_tls: Backend, gateway: Gateway, raw_bucket: str, encryption: dict[str, Any]
) -> None:
    server = gateway(versitygw_tls, {"MINIO_GATEWAY_SSE": "s3;c"}, alone=True)
    client = server.client()
    client.create_bucket(Bucket=raw_bucket)
    for key in ("a", "b"):
        client.put_object(Bucket=raw_bucket, Key=key, Body=NEEDLE, **encryption)
    (warning,) = [line for line in server.log.splitlines() if "does not say that it encrypts" in line]
    assert " WARNING " in warning and f"bucket={raw_bucket}" in warning


def test_what_was_encrypted_in_one_mode_is_read_in_the_others(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    modes = (None, "s3;c")
    servers = [gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode}) for mode in modes]
    for number, writer in enumerate(servers):
        bucket = f"{raw_bucket}-{number}"
        writer.client().create_bucket(Bucket=bucket)
        writer.client().put_object(Bucket=bucket, Key="s3", Body=NEEDLE)
        writer.client().put_object(Bucket=bucket, Key="c", Body=NEEDLE, **SSE_C)
        for reader in servers:
            assert reader.client().get_object(Bucket=bucket, Key="s3")["Body"].read() == NEEDLE
            assert reader.client().get_object(Bucket=bucket, Key="c", **SSE_C)["Body"].read() == NEEDLE
            assert reader.client().head_object(Bucket=bucket, Key="c", **SSE_C)["ContentLength"] == len(NEEDLE)
    for number in range(2):
        for item in servers[0].client().list_objects_v2(Bucket=f"{raw_bucket}-{number}")["Contents"]:
            servers[0].client().delete_object(Bucket=f"{raw_bucket}-{number}", Key=item["Key"])
        servers[0].client().delete_bucket(Bucket=f"{raw_bucket}-{number}")


def test_what_is_encrypted_twice_under_a_name_that_ends_in_a_slash_is_as_any_other(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    """MinIO has another error where such an object is asked for without its key."""
    twice, once = (gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode}) for mode in ("c", None))
    folder = {"Bucket": raw_bucket, "Key": "folder/"}
    twice.client().create_bucket(Bucket=raw_bucket)
    twice.client().put_object(**folder, Body=NEEDLE, **SSE_C)
    assert once.client().get_object(**folder, **SSE_C)["Body"].read() == NEEDLE
    for server in (twice, once):
        assert error_of(server.client().get_object, **folder) == ("InvalidRequest", 400)
    assert job(twice, "audit", "--bucket", raw_bucket)["failed"] == []


@pytest.mark.parametrize("encryption", [{}, SSE_C, SSE_KMS], ids=["sse-s3", "sse-c", "sse-kms"])
def test_a_part_of_what_is_encrypted_twice_under_a_name_that_ends_in_a_slash_is_read_and_copied(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, encryption: dict[str, Any]
) -> None:
    """MinIO tells another ETag of such an object to a GET than to a HEAD, and has conditions for the latter."""
    server = gateway(minio_tls, {"MINIO_GATEWAY_SSE": "s3;c"})
    client, folder = server.client(), {"Bucket": raw_bucket, "Key": "folder/"}
    client.create_bucket(Bucket=raw_bucket)
    etag = client.put_object(**folder, Body=NEEDLE, **encryption)["ETag"]
    key = encryption if "SSECustomerKey" in encryption else {}
    source = {f"CopySource{name}": value for name, value in key.items()}
    assert client.get_object(**folder, Range="bytes=2-9", **key)["Body"].read() == NEEDLE[2:10]
    whole = client.get_object(**folder, IfMatch=etag, **key)
    assert (whole["ETag"], whole["Body"].read()) == (etag, NEEDLE)
    for name, other in (("read", {} if key else SSE_C), ("shared", encryption)):
        client.copy_object(Bucket=raw_bucket, Key=name, CopySource=folder, **source, **other)
        opening = SSE_C if "SSECustomerKey" in other else {}
        assert client.get_object(Bucket=raw_bucket, Key=name, **opening)["Body"].read() == NEEDLE
    copy: Any = {"Bucket": raw_bucket, "Key": "new", "CopySource": folder, **source, **encryption}
    copied = client.copy_object(**copy, IfNoneMatch="*")["CopyObjectResult"]
    assert error_of(client.copy_object, **copy, IfNoneMatch="*") == ("PreconditionFailed", 412)
    if not key:
        client.copy_object(**copy, IfMatch=copied["ETag"])
    assert client.get_object(Bucket=raw_bucket, Key="new", **key)["Body"].read() == NEEDLE
    if not key:
        client.put_object_tagging(**folder, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        assert client.get_object(**folder)["TagCount"] == 1
        client.put_object(**folder, Body=b"new", IfMatch=etag, **encryption)


def test_audit_names_the_key_of_the_tags_of_what_is_encrypted_twice_under_a_client_s_key(
    bao: OpenBao, minio_tls: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    """Without the client's key as well: MinIO tells of it in the listing, and rewrap cannot do it."""
    role = bao.role(raw_bucket, raw_bucket)
    server = gateway(minio_tls, role.settings(MINIO_GATEWAY_SSE="c"), alone=True)
    server.client().create_bucket(Bucket=raw_bucket)
    server.client().put_object(Bucket=raw_bucket, Key="c", Body=NEEDLE, Tagging="colour=green", **SSE_C)
    audit = ("audit", "--bucket", raw_bucket)
    (found,) = job(server, *audit)["found"]
    assert found["master_keys"] == [{"kind": "transit", "key_id": role.key, "version": 1}]
    bao.api("POST", f"transit/keys/{role.key}/rotate", {})
    assert [failure["key"] for failure in job(server, "rewrap", *audit[1:])["failed"]] == ["c"]
    bao.api("POST", f"transit/keys/{role.key}/config", {"min_decryption_version": 2})
    assert "c" in [failure["key"] for failure in job(server, *audit)["failed"]]


@pytest.mark.parametrize("after", [None, "s3;c"])
@pytest.mark.parametrize("before", [None, "s3;c"])
def test_what_was_encrypted_in_one_mode_is_copied_onto_itself_in_the_others(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, before: str | None, after: str | None
) -> None:
    writer, copying = (gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode}).client() for mode in (before, after))
    writer.create_bucket(Bucket=raw_bucket)
    for key, encryption in (("s3", {}), ("c", SSE_C)):
        name = {"Bucket": raw_bucket, "Key": key}
        writer.put_object(**name, Body=NEEDLE, **encryption)
        source = {f"CopySource{option}": value for option, value in encryption.items()}
        changed: Any = {"MetadataDirective": "REPLACE", "Metadata": {"a": "b"}}
        copying.copy_object(**name, CopySource=name, **changed, **source, **encryption)
        got = writer.get_object(**name, **encryption)
        assert (got["Metadata"], got["Body"].read()) == ({"a": "b"}, NEEDLE)


@pytest.mark.parametrize("mode", [None, "c"])
def test_an_upload_that_may_not_replace_an_object_under_a_client_s_key_is_refused(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, mode: str | None
) -> None:
    client = gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode}).client()
    client.create_bucket(Bucket=raw_bucket)
    target: Any = {"Bucket": raw_bucket, "Key": "c"}
    client.put_object(**target, Body=NEEDLE, **SSE_C)
    target["UploadId"] = client.create_multipart_upload(**target, **SSE_C)["UploadId"]
    part = {"PartNumber": 1, "ETag": client.upload_part(**target, PartNumber=1, Body=b"x", **SSE_C)["ETag"]}
    complete = {**target, "MultipartUpload": {"Parts": [part]}}
    assert error_of(client.complete_multipart_upload, **complete, IfNoneMatch="*") == ("PreconditionFailed", 412)
    client.complete_multipart_upload(**complete)
    assert client.get_object(Bucket=raw_bucket, Key="c", **SSE_C)["Body"].read() == b"x"


@pytest.mark.parametrize("size", [len(NEEDLE), len(LARGE)])
@pytest.mark.parametrize("there", [{}, SSE_C])
def test_a_put_that_may_not_replace_an_object_under_another_key_is_refused(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, there: dict[str, Any], size: int
) -> None:
    client = gateway(minio_tls, {"MINIO_GATEWAY_SSE": "c"}).client()
    client.create_bucket(Bucket=raw_bucket)
    client.put_object(Bucket=raw_bucket, Key="there", Body=NEEDLE, **there)
    for encryption in ({}, SSE_C, {**SSE_C, "SSECustomerKey": bytes(32)}):
        put = {"Bucket": raw_bucket, "Key": "there", "Body": LARGE[:size], **encryption}
        assert error_of(client.put_object, **put, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert client.get_object(Bucket=raw_bucket, Key="there", **there)["Body"].read() == NEEDLE


def test_a_large_put_that_may_not_replace_an_object_is_refused_by_a_backend_that_does_not_take_its_body(
    versitygw: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    client = gateway(versitygw).client()
    client.create_bucket(Bucket=raw_bucket)
    put = {"Bucket": raw_bucket, "Key": "there", "Body": FIRST[: 5 * 1024**2], "IfNoneMatch": "*"}
    client.put_object(**put)
    for _ in range(10):
        assert error_of(client.put_object, **put) == ("PreconditionFailed", 412)


@pytest.mark.parametrize("encryption", [{}, {"ServerSideEncryption": "AES256"}, SSE_C], ids=["none", "sse-s3", "sse-c"])
def test_without_a_kms_encryption_headers_pass_through(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str, encryption: dict[str, Any]
) -> None:
    server = gateway(minio_tls, NO_KMS)
    fill(server, raw_bucket, **encryption)
    key_only = encryption if "SSECustomerKey" in encryption else {}
    for client in (minio_tls.client(), server.client()):
        for key, body in CONTENTS.items():
            got = client.get_object(Bucket=raw_bucket, Key=key, **key_only)
            assert got["Body"].read() == body
            assert got.get("ServerSideEncryption") == encryption.get("ServerSideEncryption")
    if key_only:
        assert error_of(server.client().get_object, Bucket=raw_bucket, Key="small")[1] == 400
    ours, theirs = (c.list_objects_v2(Bucket=raw_bucket)["Contents"] for c in (server.client(), minio_tls.client()))
    assert ours == theirs


def test_without_a_kms_web_pages_are_let_in_by_the_gateways_setting(
    minio_tls: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    origin = "https://app.example.com"
    server = gateway(minio_tls, {**NO_KMS, "MINIO_API_CORS_ALLOW_ORIGIN": origin})
    server.client().create_bucket(Bucket=raw_bucket)
    asked = {"Access-Control-Request-Method": "PUT"}
    assert send(server, "OPTIONS", f"/{raw_bucket}/o", {"Origin": origin, **asked}).status == 200
    assert send(server, "OPTIONS", f"/{raw_bucket}/o", {"Origin": "https://elsewhere.example", **asked}).status == 403
    for page, shown in ((origin, [origin]), ("https://elsewhere.example", [])):
        put = signed_request(server, "PUT", f"/{raw_bucket}/o", {"Origin": page}, b"x")
        assert put.status == 200
        assert [value for name, value in put.headers.items() if name == "access-control-allow-origin"] == shown


def test_sse_kms_passes_through(minio_tls: Backend, gateway: Gateway, raw_bucket: str) -> None:
    server = gateway(minio_tls, NO_KMS)
    client = server.client()
    client.create_bucket(Bucket=raw_bucket)
    put = client.put_object(
        Bucket=raw_bucket, Key="o", Body=NEEDLE, ServerSideEncryption="aws:kms", SSEKMSKeyId="minio-own-key"
    )
    assert put["ServerSideEncryption"] == "aws:kms"
    got = client.get_object(Bucket=raw_bucket, Key="o")
    assert (got["Body"].read(), got["ServerSideEncryption"]) == (NEEDLE, "aws:kms")
    assert "minio-own-key" in got["SSEKMSKeyId"]


def test_without_a_kms_what_a_gateway_encrypted_is_refused_and_hidden_names_are_not_shown(
    minio: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    sealing, passing = gateway(minio), gateway(minio, NO_KMS)
    sealing.client().create_bucket(Bucket=raw_bucket)
    for key, body in (("small", NEEDLE), ("large", LARGE)):
        sealing.client().put_object(Bucket=raw_bucket, Key=key, Body=body)
    client = passing.client()
    for key in ("small", "large"):
        assert error_of(client.get_object, Bucket=raw_bucket, Key=key) == ("NotImplemented", 501)
        assert error_of(client.head_object, Bucket=raw_bucket, Key=key) == ("501", 501)
        assert error_of(client.copy_object, Bucket=raw_bucket, Key="c", CopySource=f"{raw_bucket}/{key}")[1] == 501
    client.put_object(Bucket=raw_bucket, Key="plain", Body=b"as it is")
    assert [item["Key"] for item in client.list_objects_v2(Bucket=raw_bucket)["Contents"]] == [
        "large",
        "plain",
        "small",
    ]
    hidden = {"Bucket": raw_bucket, "Key": ".strongroom.sys/check"}
    for call in (client.get_object, client.delete_object, client.put_object):
        assert error_of(call, **hidden) == ("AccessDenied", 403)
    listed = {"Objects": [{"Key": "no such"}, {"Key": ".strongroom.sys/check"}]}
    assert error_of(client.delete_objects, Bucket=raw_bucket, Delete=listed) == ("AccessDenied", 403)
    assert minio.client().head_object(**hidden)["ContentLength"]
    assert sealing.client().get_object(Bucket=raw_bucket, Key="plain")["Body"].read() == b"as it is"


def test_an_upload_that_is_not_what_was_promised_does_not_pass_through(
    minio: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    client = gateway(minio, NO_KMS).client(request_checksum_calculation="when_required")
    client.create_bucket(Bucket=raw_bucket)
    for size in (100, 9_000_000):
        put = {"Bucket": raw_bucket, "Key": f"o{size}", "Body": os.urandom(size)}
        assert error_of(client.put_object, **put, ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")[0] == "BadDigest"
        assert error_of(client.put_object, **put, ChecksumCRC32C="AAAAAA==")[1] == 400
    assert "Contents" not in client.list_objects_v2(Bucket=raw_bucket)


@pytest.mark.parametrize("size", [1000, 9_000_000])
def test_checksums_in_trailers_and_content_encodings_pass_through(
    minio: Backend, gateway: Gateway, raw_bucket: str, certificates: Path, size: int
) -> None:
    client = gateway(minio, NO_KMS, certs=certificates).client(signature_version="s3v4")
    raw = minio.client()
    client.create_bucket(Bucket=raw_bucket)
    body = os.urandom(size)  # over TLS, boto3 sends the checksum behind the body
    put = client.put_object(
        Bucket=raw_bucket, Key="o", Body=body, ChecksumAlgorithm="CRC32C", ContentEncoding="gzip", ContentType="a/b"
    )
    got = raw.get_object(Bucket=raw_bucket, Key="o", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ContentEncoding"], got["ContentType"]) == (body, "gzip", "a/b")
    assert got["ChecksumCRC32C"] == put["ChecksumCRC32C"]
    presigned = client.generate_presigned_url("get_object", {"Bucket": raw_bucket, "Key": "o"})
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    with urllib.request.urlopen(presigned, context=context) as answer:
        assert answer.read() == body


def test_a_key_that_comes_from_a_client_s_is_not_sent_over_plain_http(
    minio: Backend, gateway: Gateway, raw_bucket: str
) -> None:
    """Whoever answers there in the backend's place says that the object needs a key."""
    with Proxy(minio.endpoint) as proxy:
        client = gateway(minio, {"MINIO_GATEWAY_SSE": "s3"}, proxy).client()
        client.create_bucket(Bucket=raw_bucket)
        client.put_object(Bucket=raw_bucket, Key="o", Body=NEEDLE, **SSE_C)
        proxy.fault = lambda line: "NeedsKey" if f"/{raw_bucket}/o" in line else None
        for read in (client.get_object, client.head_object):
            assert error_of(read, Bucket=raw_bucket, Key="o", **SSE_C)[1] in (400, 403)
    assert not [head for head in proxy.heads if "customer-key" in head]
