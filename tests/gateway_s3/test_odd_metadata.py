"""Metadata that a backend lists in a way of its own."""

from __future__ import annotations

import hashlib

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import server
from tests.backends import ACCESS_KEY, SECRET_KEY, Backend
from tests.gateway_s3.conftest import Gateway
from tests.http.raw import send

PLAIN: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}


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
