"""What MinIO's S3 gateway left in another S3, served by ours: over HTTP, with the settings that it had."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.backends import Backend, served_by
from tests.http.raw import error_of
from tests.jobs import job
from tests.legacy import left
from tests.legacy.test_serving import assert_as_minio_showed
from tests.server import Server

BUCKET, NAME = left.BUCKET, "gateway-s3"


@dataclass(frozen=True)
class Gateway:
    """Our gateway, before a backend with what was left."""

    server: Server
    backend: Backend

    def below(self) -> list[str]:
        """The names in the backend, but for those that the gateway keeps for itself."""
        rows = self.backend.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [row["Key"] for row in rows if not row["Key"].startswith(".strongroom.sys/")]


@pytest.fixture
def gateway(tmp_path: Path, certificates: Path) -> Iterator[Gateway]:
    """Our gateway over TLS, so that it takes clients' keys, before a MinIO of today."""
    folder = left.unpack(NAME, tmp_path / "left")
    with Backend("minio", tmp_path / "backend") as backend:
        client = backend.client()
        client.create_bucket(Bucket=BUCKET)
        for key, file in left.backend_objects(folder).items():
            client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
        settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
        server = served_by(backend, tmp_path / "gateway", settings, certificates)
        server.workers = 1
        with server:
            yield Gateway(server, backend)


def test_every_object_is_as_minio_showed_it(gateway: Gateway) -> None:
    client = gateway.server.client()
    assert_as_minio_showed(client, NAME)
    page = client.list_objects_v2(Bucket=BUCKET, Delimiter="/")
    assert [row["Prefix"] for row in page["CommonPrefixes"]] == ["auto/", "c/", "s3/"]
    page = client.list_objects_v2(Bucket=BUCKET, Delimiter="/", Prefix="s3/", MaxKeys=3)
    assert [row["Key"] for row in page["Contents"]] == ["s3/multipart.bin", "s3/size-0.bin", "s3/size-1.bin"]
    assert error_of(client.head_object, Bucket=BUCKET, Key="s3/size-1.bin/.minio/data")[1] == 404


def test_what_is_written_over_and_deleted_is_gone_from_the_backend(gateway: Gateway) -> None:
    client = gateway.server.client()
    client.put_object(Bucket=BUCKET, Key="s3/size-1.bin", Body=b"new", ServerSideEncryption="AES256")
    assert client.get_object(Bucket=BUCKET, Key="s3/size-1.bin")["Body"].read() == b"new"
    client.copy_object(
        Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "s3/multipart.bin"},
        ServerSideEncryption="AES256",
    )  # fmt: skip
    assert client.get_object(Bucket=BUCKET, Key="copy")["ContentLength"] == 5_313_004
    here = {"Bucket": BUCKET, "Key": "s3/size-0.bin"}
    client.put_object_tagging(**here, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert client.get_object_tagging(**here)["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert client.get_object(**here)["Metadata"] == {"n": "0", "owner": "audit"}
    for entry in left.manifest(NAME):
        client.delete_object(Bucket=BUCKET, Key=entry.key)
    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET, Prefix="s3/")
    assert [key for key in gateway.below() if "incomplete" not in key] == ["copy"]


def test_what_was_encrypted_twice_opens_with_the_clients_key(tmp_path: Path, certificates: Path) -> None:
    """The backend's key is derived from the client's; this end of it was made by hand."""
    folder = left.unpack(NAME, tmp_path / "left")
    entries = [entry for entry in left.manifest(NAME) if entry.is_sse_c]
    with Backend("minio", tmp_path / "backend", certificates) as backend:
        backend.client().create_bucket(Bucket=BUCKET)
        objects = left.backend_objects(folder)
        for entry in entries:
            put: dict[str, Any] = {"Bucket": BUCKET, "SSECustomerAlgorithm": "AES256"}
            derived = hmac.digest(left.CUSTOMER_KEY, f"SSE-C{BUCKET}/{entry.key}".encode(), "sha256")
            data, document = (objects[f"{entry.key}/.minio/{name}"].read_bytes() for name in ("data", "dare.meta"))
            client = backend.client()
            client.put_object(**put, Key=f"{entry.key}/.minio/data", Body=data, SSECustomerKey=derived)
            client.put_object(Bucket=BUCKET, Key=f"{entry.key}/.minio/dare.meta", Body=document)
        server = served_by(backend, tmp_path / "gateway", {"MINIO_GATEWAY_SSE": "c"}, certificates)
        server.workers = 1
        with server:
            key = tmp_path / "key"
            key.write_bytes(left.CUSTOMER_KEY)
            for adopted in (0, len(entries)):
                for entry in entries:
                    got = server.client().get_object(Bucket=BUCKET, Key=entry.key, **left.sse_c())
                    assert (got["Body"].read(), got["ETag"]) == (entry.plaintext, f'"{entry.etag}"')
                if not adopted:
                    report = adopt(Gateway(server, backend), "--sse-c-key-file", str(key))
                    assert (report["done"], report["failed"]) == (len(entries), [])


def test_they_are_adopted(gateway: Gateway, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(left.CUSTOMER_KEY)
    count = len(left.manifest(NAME))
    assert adopt(gateway, "--dry-run", "--sse-c-key-file", str(key))["done"] == count
    for without in (adopt(gateway, "--dry-run"), adopt(gateway)):
        assert (without["done"], len(without["failed"])) == (count - 3, 3)
    assert adopt(gateway, "--sse-c-key-file", str(key))["done"] == 3
    assert_as_minio_showed(gateway.server.client(), NAME)
    below = [name for name in gateway.below() if "incomplete" not in name]
    assert below == sorted(entry.key for entry in left.manifest(NAME))


def test_what_lies_below_an_object_stays_in_sight(gateway: Gateway) -> None:
    """MinIO's gateway kept ``a`` below ``a/``; a MinIO of today lists nothing below an ``a`` of its own."""
    key, below = "s3/size-1.bin", {"Bucket": BUCKET, "Key": "s3/size-1.bin/below"}
    gateway.backend.client().put_object(**below, Body=b"below")
    client = gateway.server.client()
    assert error_of(client.put_object, Bucket=BUCKET, Key=key, Body=b"new") == ("XMinioObjectExistsAsDirectory", 409)
    assert error_of(client.create_multipart_upload, Bucket=BUCKET, Key=key)[1] == 409
    (failed,) = [row for row in adopt(gateway)["failed"] if row["key"] == key]
    assert failed["reason"] == "it has objects below it, which the backend would not list any more"
    listed = [row["Key"] for row in client.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]]
    assert listed == [key, below["Key"]]
    gateway.backend.client().delete_object(**below)
    assert key not in [row["key"] for row in adopt(gateway)["failed"]]


def adopt(gateway: Gateway, *arguments: str) -> Any:
    """Run ``strongroom adopt`` beside the gateway; its report."""
    return job(gateway.server, "adopt", *arguments)
