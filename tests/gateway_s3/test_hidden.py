"""What gateways keep for themselves in a bucket: out of the clients' sight and reach, and gone with the bucket."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.backends import Backend
from tests.gateway_s3.conftest import Gateway
from tests.http.raw import error_of

LARGE = os.urandom(7_000_000)


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_hidden_names_cannot_be_listed_read_or_written(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    client = gateway(backend).client()
    client.create_bucket(Bucket=bucket_name)
    for key in ("-before", "large", ".strong-room"):
        client.put_object(Bucket=bucket_name, Key=key, Body=LARGE)
    client.create_multipart_upload(Bucket=bucket_name, Key="open")
    raw = backend.client()
    hidden = [i["Key"] for i in raw.list_objects_v2(Bucket=bucket_name, Prefix=".strongroom.sys/")["Contents"]]
    assert len(hidden) == 6  # three records, an upload, the check value, the settings

    def listed(**options: Any) -> list[str]:
        page = client.list_objects_v2(Bucket=bucket_name, **options)
        prefixes = [item["Prefix"] for item in page.get("CommonPrefixes", [])]
        return [item["Key"] for item in page.get("Contents", [])] + prefixes

    assert listed() == ["-before", ".strong-room", "large"]
    assert listed(Delimiter="/") == ["-before", ".strong-room", "large"]
    assert listed(Delimiter="g") == ["-before", ".strong", "larg"]
    assert listed(Delimiter="r", Prefix=".strongr") == []
    assert listed(Prefix=".strongroom.sys/") == []
    assert listed(MaxKeys=1) == ["-before"]
    assert listed(MaxKeys=2, StartAfter="-before") == [".strong-room", "large"]
    for key in (hidden[0], ".strongroom.sys/new", ".strongroom.sys"):
        target = {"Bucket": bucket_name, "Key": key}
        assert error_of(client.get_object, **target) == ("NoSuchKey", 404)
        assert error_of(client.head_object, **target) == ("404", 404)
        for refused in (client.put_object, client.delete_object, client.create_multipart_upload):
            assert error_of(refused, **target) == ("AccessDenied", 403)
        assert error_of(client.copy_object, **target, CopySource=f"{bucket_name}/large") == ("AccessDenied", 403)
        assert error_of(client.copy_object, Bucket=bucket_name, Key="c", CopySource=f"{bucket_name}/{key}")[1] == 404
    assert [i["Key"] for i in raw.list_objects_v2(Bucket=bucket_name, Prefix=".strongroom.sys/")["Contents"]] == hidden


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_bucket_that_holds_only_hidden_remains_can_be_removed(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    client = gateway(backend).client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="o", Body=LARGE)
    assert error_of(client.delete_bucket, Bucket=bucket_name) == ("BucketNotEmpty", 409)
    client.delete_object(Bucket=bucket_name, Key="o")
    upload = client.create_multipart_upload(Bucket=bucket_name, Key="open")["UploadId"]
    part = {"Bucket": bucket_name, "Key": "open", "UploadId": upload, "PartNumber": 1}
    client.upload_part(**part, Body=LARGE)
    client.delete_bucket(Bucket=bucket_name)
    assert error_of(backend.client().head_bucket, Bucket=bucket_name)[1] == 404


def test_user_metadata_cannot_pass_for_the_gateway_s_own(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    client = gateway(minio, {"MINIO_SSE_AUTO_ENCRYPTION": None}).client()
    client.create_bucket(Bucket=bucket_name)
    forged = {"Bucket": bucket_name, "Key": "o", "Body": b"x", "Metadata": {"strongroom-id": "A" * 22}}
    assert error_of(client.put_object, **forged) == ("InvalidArgument", 400)
    put = client.put_object(**forged, ServerSideEncryption="AES256")
    assert client.get_object(Bucket=bucket_name, Key="o")["Metadata"] == {"strongroom-id": "A" * 22}
    assert put["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("encrypted", [True, False])
def test_all_the_user_metadata_that_s3_allows_fits(
    minio: Backend, gateway: Gateway, bucket_name: str, encrypted: bool
) -> None:
    client = gateway(minio, {} if encrypted else {"MINIO_SSE_AUTO_ENCRYPTION": None}).client()
    client.create_bucket(Bucket=bucket_name)
    metadata = {"note": "x" * (2048 - len("note") - len("x-amz-meta-"))}
    client.put_object(Bucket=bucket_name, Key="o", Body=b"content", Metadata=metadata)
    upload = client.create_multipart_upload(Bucket=bucket_name, Key="mp", Metadata=metadata)["UploadId"]
    target = {"Bucket": bucket_name, "Key": "mp", "UploadId": upload}
    etag = client.upload_part(**target, PartNumber=1, Body=b"part")["ETag"]
    client.complete_multipart_upload(**target, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    client.copy_object(Bucket=bucket_name, Key="copy", CopySource=f"{bucket_name}/o")
    for key in ("o", "mp", "copy"):
        assert client.head_object(Bucket=bucket_name, Key=key)["Metadata"] == metadata
    too_much = {"note": "x" * 2049}
    assert (
        error_of(client.put_object, Bucket=bucket_name, Key="p", Body=b"", Metadata=too_much)[0] == "MetadataTooLarge"
    )
