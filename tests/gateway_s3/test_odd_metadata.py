"""Metadata that backends take for more than text, or list in a way of their own."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from dataclasses import replace
from email.header import decode_header, make_header

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from strongroom.store.s3 import Client, S3Store
from strongroom.store.s3.messages import Answer, Request
from tests import server
from tests.backends import ACCESS_KEY, SECRET_KEY, Backend
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.opened import use_store
from tests.http.raw import error_of, send
from tests.store.kinds import SEALED
from tests.store.kinds import put as put_in

PLAIN: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
NO_KMS: dict[str, str | None] = {**PLAIN, "MINIO_SSE_MASTER_KEY": None}


def put(to: Backend | server.Server, path: str, name: str, value: str) -> int:
    """Store an object with a header that boto3 would not send, in UTF-8; the status of the answer."""
    keys = (ACCESS_KEY, SECRET_KEY) if isinstance(to, Backend) else (server.ACCESS_KEY, server.SECRET_KEY)
    request = AWSRequest("PUT", to.endpoint + path, headers={name: value}, data=b"x")
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(b"x").hexdigest()
    S3SigV4Auth(Credentials(*keys), "s3", "us-east-1").add_auth(request)
    headers = {name: str(text).encode().decode("latin-1") for name, text in request.headers.items()}
    return send(to, "PUT", path, headers, b"x").status


@pytest.mark.parametrize("value", ["price: 5 €", "café"])
def test_objects_whose_metadata_are_in_utf_8_are_listed(
    minio: Backend, gateway: Gateway, bucket_name: str, value: str
) -> None:
    client = gateway(minio).client()
    client.create_bucket(Bucket=bucket_name)
    assert put(minio, f"/{bucket_name}/o", "x-amz-meta-a", value) == 200
    client.put_object(Bucket=bucket_name, Key="other", Body=b"")
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket_name)["Contents"]] == ["o", "other"]


@pytest.mark.parametrize("value", ["9.41\u202fAM", "a\u00a0\u00a0b\u2003"])
def test_blanks_that_minio_and_its_clients_sign_as_blanks_are_kept(
    minio: Backend, gateway: Gateway, bucket_name: str, value: str
) -> None:
    gate = gateway(minio, NO_KMS)
    gate.client().create_bucket(Bucket=bucket_name)
    assert put(gate, f"/{bucket_name}/o", "x-amz-meta-a", value) == 200
    kept = minio.client().head_object(Bucket=bucket_name, Key="o")["Metadata"]["a"]
    assert str(make_header(decode_header(kept))) == value  # MinIO tells it as RFC 2047 has it


def test_a_name_of_metadata_that_is_none_in_xml_does_not_end_a_listing(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    gate = gateway(minio, PLAIN)
    client = gate.client()
    client.create_bucket(Bucket=bucket_name)
    assert put(gate, f"/{bucket_name}/o", "x-amz-meta-a&b", "c") == 200
    client.put_object(Bucket=bucket_name, Key="sealed", Body=b"123", ServerSideEncryption="AES256")
    listed = {item["Key"]: item["Size"] for item in client.list_objects_v2(Bucket=bucket_name)["Contents"]}
    assert listed == {"o": 1, "sealed": 3}


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
@pytest.mark.parametrize("time", ["1" + "0" * 18, "-1" + "0" * 18])
def test_a_time_out_of_all_bounds_does_not_end_a_listing(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str, time: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    client, direct = gateway(backend).client(), backend.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="o", Body=b"1")
    metadata = {**direct.head_object(Bucket=bucket_name, Key="o")["Metadata"], "strongroom-modified": time}
    direct.put_object(Bucket=bucket_name, Key="altered", Body=b"1", Metadata=metadata)
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket_name)["Contents"]] == ["altered", "o"]
    assert error_of(client.get_object, Bucket=bucket_name, Key="altered") == ("InternalError", 500)


def archive(name: str) -> bytes:
    """An archive of one file."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 4
        tar.addfile(entry, io.BytesIO(b"mine"))
    return packed.getvalue()


EXTRACT = {"snowball-auto-extract": "true"}


@pytest.mark.parametrize("parts", [False, True])
def test_an_archive_stays_one_though_minio_would_unpack_it(
    minio: Backend, gateway: Gateway, bucket_name: str, parts: bool
) -> None:
    client = gateway(minio, PLAIN).client()
    client.create_bucket(Bucket=bucket_name)
    name = {"Bucket": bucket_name, "Key": "a.tar"}
    body = archive(".strongroom.sys/records/x") + bytes(7_000_000 if parts else 0)
    client.put_object(**name, Body=body, Metadata=EXTRACT)
    client.copy_object(Bucket=bucket_name, Key="copy", CopySource=name)
    for key in ("a.tar", "copy"):
        got = client.get_object(Bucket=bucket_name, Key=key)
        assert (got["Body"].read(), got["Metadata"]) == (body, EXTRACT)
    assert error_of(minio.client().head_object, Bucket=bucket_name, Key=".strongroom.sys/records/x")[1] == 404


def test_without_a_kms_no_archive_is_unpacked_over_what_is_hidden(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    client = gateway(minio, NO_KMS).client()
    client.create_bucket(Bucket=bucket_name)
    put = {"Bucket": bucket_name, "Key": "a.tar", "Body": archive(".strongroom.sys/records/x"), "Metadata": EXTRACT}
    assert error_of(client.put_object, **put) == ("NotImplemented", 501)
    assert "Contents" not in minio.client().list_objects_v2(Bucket=bucket_name)


class MinIOOf2022(Client):
    """Lists metadata as pairs of names and values."""

    async def send(self, request: Request) -> Answer:
        answer = await super().send(request)
        pair = rb"<Items><Key>\1</Key><Value>\2</Value></Items>"
        return replace(answer, body=re.sub(rb"<((?i:x-amz-meta|content)-[^<>]*)>([^<]*)</\1>", pair, answer.body))


def test_an_encrypted_object_is_listed_as_such_where_metadata_are_listed_as_pairs(
    minio: Backend, bucket_name: str
) -> None:
    async def use(store: S3Store) -> None:
        stored = await put_in(store, "o", b"content", SEALED, bucket=bucket_name)
        assert (await store.list(bucket_name, "", "", "", 10)).objects == [stored]

    use_store(minio, bucket_name, MinIOOf2022, use)
