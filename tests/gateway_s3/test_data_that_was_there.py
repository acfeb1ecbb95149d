"""Buckets that have data already: plain objects, and objects whose record the storage spoiled."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from tests.backends import Backend
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.proxy import Proxy
from tests.http.raw import error_of

ID, RECORD = "strongroom-id", "strongroom-record"
LARGE = os.urandom(7_000_000)


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_plain_objects_are_served_as_they_are_beside_encrypted_ones(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    raw, client = backend.client(), gateway(backend).client()
    raw.create_bucket(Bucket=bucket_name)
    described: dict[str, Any] = {"Metadata": {"a": "b"}, "ContentType": "text/plain", "CacheControl": "no-cache"}
    raw.put_object(Bucket=bucket_name, Key="plain", Body=b"was there before", **described)
    upload = raw.create_multipart_upload(Bucket=bucket_name, Key="parts")["UploadId"]
    part = {"Bucket": bucket_name, "Key": "parts", "UploadId": upload, "PartNumber": 1}
    parts = [{"PartNumber": 1, "ETag": raw.upload_part(**part, Body=LARGE)["ETag"]}]
    raw.complete_multipart_upload(Bucket=bucket_name, Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
    client.put_object(Bucket=bucket_name, Key="sealed", Body=b"new")
    client.put_object(Bucket=bucket_name, Key="sealed large", Body=LARGE)
    got = client.get_object(Bucket=bucket_name, Key="plain")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"was there before", {"a": "b"}, "text/plain")
    assert (got["CacheControl"], got.get("ServerSideEncryption")) == ("no-cache", None)
    assert client.get_object(Bucket=bucket_name, Key="parts", Range="bytes=5-9")["Body"].read() == LARGE[5:10]
    listed = {i["Key"]: (i["Size"], i["ETag"]) for i in client.list_objects_v2(Bucket=bucket_name)["Contents"]}
    assert listed == {
        "plain": (16, got["ETag"]),
        "parts": (len(LARGE), raw.head_object(Bucket=bucket_name, Key="parts")["ETag"]),
        "sealed": (3, f'"{hashlib.md5(b"new").hexdigest()}"'),
        "sealed large": (len(LARGE), f'"{hashlib.md5(LARGE).hexdigest()}"'),
    }
    for key in listed:
        head = client.head_object(Bucket=bucket_name, Key=key)
        assert (head["ContentLength"], head["ETag"]) == listed[key]
    client.copy_object(Bucket=bucket_name, Key="plain", CopySource=f"{bucket_name}/plain", MetadataDirective="REPLACE")
    assert client.head_object(Bucket=bucket_name, Key="plain")["ServerSideEncryption"] == "AES256"
    assert raw.get_object(Bucket=bucket_name, Key="plain")["Body"].read() != b"was there before"


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_folder_in_a_bucket_of_the_backend_is_written_and_removed_as_any_object(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    backend.client().create_bucket(Bucket=bucket_name)
    client, folder = gateway(backend).client(), {"Bucket": bucket_name, "Key": "folder/"}
    client.put_object(**folder)
    client.copy_object(**folder, CopySource=folder, MetadataDirective="REPLACE", Metadata={"a": "b"})
    assert client.head_object(**folder)["Metadata"] == {"a": "b"}
    client.delete_object(**folder)
    assert error_of(client.head_object, **folder) == ("404", 404)


def test_what_a_gateway_writes_plain_can_be_read_without_it(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    client, raw = gateway(minio, {"MINIO_SSE_AUTO_ENCRYPTION": None}).client(), minio.client()
    client.create_bucket(Bucket=bucket_name)
    put = {"Bucket": bucket_name, "Key": "o", "Body": b"plain", "ContentType": "text/plain", "Metadata": {"a": "b"}}
    etag = client.put_object(**put)["ETag"]
    got = raw.get_object(Bucket=bucket_name, Key="o")
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]["a"], got["ETag"]) == (
        b"plain",
        "text/plain",
        "b",
        etag,
    )


def spoil(raw: Any, bucket: str, key: str, metadata: dict[str, str]) -> None:
    """Give a backend object other metadata, as the storage could."""
    raw.copy_object(
        Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}", Metadata=metadata, MetadataDirective="REPLACE"
    )


@pytest.mark.parametrize("large", [False, True], ids=["inline", "hidden"])
def test_an_object_whose_record_is_missing_foreign_or_damaged_is_an_error(
    minio: Backend, gateway: Gateway, bucket_name: str, large: bool
) -> None:
    raw, client = minio.client(), gateway(minio).client()
    client.create_bucket(Bucket=bucket_name)
    for key in ("o", "other"):
        client.put_object(Bucket=bucket_name, Key=key, Body=LARGE if large else b"content")
    metadata, other = (raw.head_object(Bucket=bucket_name, Key=key)["Metadata"] for key in ("o", "other"))
    spoiled = (
        [{**metadata, ID: "A" * 22}, {**metadata, ID: "no id"}, other]
        if large
        else [
            {ID: metadata[ID]},
            {name: value for name, value in metadata.items() if name != ID},
            {**metadata, RECORD: metadata[RECORD][:-8] + "AAAAAAAA"},
            {**metadata, RECORD: "not base64"},
            other,
        ]
    )
    for broken in spoiled:
        spoil(raw, bucket_name, "o", broken)
        # A data key does not open for another name, which the KMS says; the rest is found damaged.
        code = ("AccessDenied", 403) if broken == other and not large else ("InternalError", 500)
        assert error_of(client.get_object, Bucket=bucket_name, Key="o") == code
        assert error_of(client.get_object, Bucket=bucket_name, Key="o", Range="bytes=0-1") == code
        assert error_of(client.head_object, Bucket=bucket_name, Key="o")[1] == code[1]
        listed = client.list_objects_v2(Bucket=bucket_name)["Contents"]
        assert [item["Key"] for item in listed] == ["o", "other"]
    spoil(raw, bucket_name, "o", metadata)
    assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == (LARGE if large else b"content")
    client.delete_object(Bucket=bucket_name, Key="o")


def test_altered_or_exchanged_bytes_are_never_passed_on(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    raw, client = minio.client(), gateway(minio).client()
    client.create_bucket(Bucket=bucket_name)
    for key, body in (("o", b"content"), ("other", b"another")):
        client.put_object(Bucket=bucket_name, Key=key, Body=body)
    stored = raw.get_object(Bucket=bucket_name, Key="o")
    content, metadata = stored["Body"].read(), stored["Metadata"]
    exchanged = raw.get_object(Bucket=bucket_name, Key="other")["Body"].read()
    for body in (exchanged, content[:-1], content + b"x", bytes([*content[:-1], content[-1] ^ 1]), b""):
        raw.put_object(Bucket=bucket_name, Key="o", Body=body, Metadata=metadata)
        assert error_of(client.get_object, Bucket=bucket_name, Key="o") == ("InternalError", 500)


def test_a_gateway_with_another_kms_does_not_write_to_the_bucket(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    ours = gateway(minio)
    other = gateway(minio, {"MINIO_SSE_MASTER_KEY": "other-key:" + "00" * 32}, alone=True)
    ours.client().create_bucket(Bucket=bucket_name)
    ours.client().put_object(Bucket=bucket_name, Key="o", Body=b"ours")
    client = other.client()
    put = {"Bucket": bucket_name, "Key": "p"}
    assert error_of(client.put_object, **put, Body=b"theirs") == ("AccessDenied", 403)
    assert error_of(client.create_multipart_upload, **put) == ("AccessDenied", 403)
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    assert error_of(client.put_object_tagging, **put, Tagging=tags) == ("AccessDenied", 403)
    assert "sealed under the master key 'my-minio-key'" in other.log
    assert [item["Key"] for item in ours.client().list_objects_v2(Bucket=bucket_name)["Contents"]] == ["o"]
    client.create_bucket(Bucket=f"{bucket_name}-2")
    client.put_object(Bucket=f"{bucket_name}-2", Key="o", Body=b"theirs")


@pytest.mark.parametrize(("kind", "fresh"), [("minio", 0), ("versitygw", 20)])
def test_a_listing_asks_for_each_object_once(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str, fresh: int
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    with Proxy(backend.endpoint) as proxy:
        server = gateway(backend, proxy=proxy)
        client = server.client()
        client.create_bucket(Bucket=bucket_name)
        for number in range(20):
            client.put_object(Bucket=bucket_name, Key=f"o{number:02}", Body=b"content")

        def heads() -> int:
            before = len(proxy.lines)
            assert len(client.list_objects_v2(Bucket=bucket_name)["Contents"]) == 20
            return sum(line.startswith("HEAD") for line in proxy.lines[before:])

        assert [heads(), heads()] == [fresh, 0]  # MinIO lists metadata
        client.put_object(Bucket=bucket_name, Key="o07", Body=b"something else")
        assert heads() == min(fresh, 1)


def test_a_ranged_get_fetches_the_packages_that_it_needs(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    with Proxy(minio.endpoint) as proxy:
        client = gateway(minio, proxy=proxy).client()
        client.create_bucket(Bucket=bucket_name)
        client.put_object(Bucket=bucket_name, Key="o", Body=LARGE)
        before = proxy.answered
        got = client.get_object(Bucket=bucket_name, Key="o", Range="bytes=3000000-3000009")["Body"].read()
        assert got == LARGE[3_000_000:3_000_010]
        assert proxy.answered - before < 70_000
