"""Names that a backend on a file system takes for others: for those of other objects, or for what is hidden."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import quote

import pytest

from tests.backends import Backend
from tests.gateway_s3.conftest import Gateway
from tests.http.raw import Answer, request
from tests.server import Server

LARGE = os.urandom(7_000_000)
NO_KMS: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None}
HIDDEN = ".strongroom.sys/settings"
REFUSED = (400, "XMinioInvalidObjectName")
KEYS = [
    f"/{HIDDEN}",
    "/enc",
    "a//b",
    f"./{HIDDEN}",
    f"x/../{HIDDEN}",
    f"x/./../{HIDDEN}",
    "a/../b",
    "a/../enc",
    "./enc",
    "enc/.",
    "x/..",
    "..",
    ".",
    "//enc",
]


@pytest.fixture(params=["minio", "versitygw"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def filled(backend: Backend, gateway: Gateway, bucket_name: str) -> Server:
    """A gateway that encrypts, with a bucket that holds objects and a default encryption."""
    server = gateway(backend)
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket=bucket_name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    client.put_object(Bucket=bucket_name, Key="enc", Body=LARGE)
    client.put_object(Bucket=bucket_name, Key="a/b", Body=b"small")
    return server


def asked(server: Server, method: str, bucket: str, key: str, body: bytes = b"", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(server, method, f"/{bucket}/{quote(key, safe='/')}", sent, body)


def what_lies_there(backend: Backend, bucket: str) -> dict[str, bytes]:
    raw = backend.client()
    listed = raw.list_objects_v2(Bucket=bucket)["Contents"]
    return {item["Key"]: raw.get_object(Bucket=bucket, Key=item["Key"])["Body"].read() for item in listed}


def check_unharmed(server: Server, bucket: str) -> None:
    client = server.client()
    assert client.get_object(Bucket=bucket, Key="enc")["Body"].read() == LARGE
    assert client.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"small"
    (rule,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]] == ["a/b", "enc"]


def check_not_begun(server: Server, bucket: str, key: str) -> None:
    """See that neither an object nor an upload of this name is taken."""
    for body in (b"junk", LARGE):
        put = asked(server, "PUT", bucket, key, body)
        assert (put.status, put.code) == REFUSED, key
    upload = request(server, "POST", f"/{bucket}/{key}?uploads=")
    assert (upload.status, upload.code) == REFUSED, key


def test_they_are_refused_and_harm_nothing(backend: Backend, filled: Server, bucket_name: str) -> None:
    before = what_lies_there(backend, bucket_name)
    for key in KEYS:
        check_not_begun(filled, bucket_name, key)
        copy = asked(filled, "PUT", bucket_name, key, x_amz_copy_source=f"/{bucket_name}/a/b")
        assert (copy.status, copy.code) == REFUSED, key
        got = asked(filled, "GET", bucket_name, key)
        assert (got.status, got.code) == (404, "NoSuchKey"), key
        assert asked(filled, "GET", bucket_name, key, Range="bytes=0-1").status == 404, key
        assert asked(filled, "HEAD", bucket_name, key).status == 404, key
        assert asked(filled, "DELETE", bucket_name, key).status in (204, 400), key
        source = asked(filled, "PUT", bucket_name, "copied", x_amz_copy_source=f"/{bucket_name}/{quote(key)}")
        assert (source.status, source.code) == (404, "NoSuchKey"), key
    check_unharmed(filled, bucket_name)
    assert what_lies_there(backend, bucket_name) == before


def test_deletions_of_many_harm_nothing(backend: Backend, filled: Server, gateway: Gateway, bucket_name: str) -> None:
    before = what_lies_there(backend, bucket_name)
    for server in (filled, gateway(backend, NO_KMS)):
        for key in KEYS:
            document = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
            answer = request(server, "POST", f"/{bucket_name}?delete=", {}, document)
            assert answer.status in (200, 400)
    check_unharmed(filled, bucket_name)
    assert what_lies_there(backend, bucket_name) == before


def test_they_are_refused_without_a_kms_too(
    backend: Backend, filled: Server, gateway: Gateway, bucket_name: str
) -> None:
    passing = gateway(backend, NO_KMS)
    before = what_lies_there(backend, bucket_name)
    for key in KEYS:
        check_not_begun(passing, bucket_name, key)
        for method in ("GET", "HEAD", "DELETE"):
            assert asked(passing, method, bucket_name, key).status in (400, 404), key
        tagging = request(passing, "GET", f"/{bucket_name}/{key}?tagging=")
        assert tagging.status in (400, 404), key
        source = asked(passing, "PUT", bucket_name, "copied", x_amz_copy_source=f"/{bucket_name}/{quote(key)}")
        assert source.status in (400, 404), key
    check_unharmed(filled, bucket_name)
    assert what_lies_there(backend, bucket_name) == before


def sources(bucket: str) -> list[str]:
    """Copy sources that mean something hidden, or encrypted, to whom reads them otherwise."""
    return [
        f"http://x/{bucket}/{HIDDEN}",
        f"http://x/{bucket}/enc",
        f"https://x/{bucket}/enc",
        f"//{bucket}/{HIDDEN}",
        f"//{bucket}/enc",
        f"{bucket}//{HIDDEN}",
        f"{bucket}//enc",
        f"{bucket}/./{HIDDEN}",
        f"{bucket}/%2e/{HIDDEN}",
        f"{bucket}/x/%2e%2e/{HIDDEN}",
        f"{bucket}/x/../enc",
        f"{bucket}/%2fenc",
        f"x/../{bucket}/enc",
        f"./{bucket}/enc",
        f"/{bucket}/.strongroom.sys%2Fsettings",
        f"/{bucket}/.strongroom.sys%2Fsettings#x",
        f"/{bucket}/.strongroom.sys%252Fsettings",
        f"/{bucket}/{HIDDEN}",
    ]


@pytest.mark.parametrize("settings", [{}, NO_KMS], ids=["encrypting", "relay"])
def test_a_copy_has_one_source_however_it_is_named(
    backend: Backend, filled: Server, gateway: Gateway, bucket_name: str, settings: dict[str, str | None]
) -> None:
    server = gateway(backend, settings) if settings else filled
    before = what_lies_there(backend, bucket_name)
    upload = server.client().create_multipart_upload(Bucket=bucket_name, Key="parts")["UploadId"]
    for source in sources(bucket_name):
        for path in ("copied", f"parts?partNumber=1&uploadId={upload}"):
            answer = request(server, "PUT", f"/{bucket_name}/{path}", {"x-amz-copy-source": source})
            assert answer.status in (400, 403, 404), (source, answer)
    server.client().abort_multipart_upload(Bucket=bucket_name, Key="parts", UploadId=upload)
    check_unharmed(filled, bucket_name)
    assert what_lies_there(backend, bucket_name) == before


def test_names_that_only_look_so_are_taken(backend: Backend, gateway: Gateway, bucket_name: str) -> None:
    for settings in ({"MINIO_SSE_AUTO_ENCRYPTION": None}, NO_KMS):
        client: Any = gateway(backend, settings).client()
        bucket = f"{bucket_name}-{len(settings)}"
        client.create_bucket(Bucket=bucket)
        for key in ("a/.b", "a/b.", "..a/b", "a/...", ".b/c", "d/é ü+&"):
            client.put_object(Bucket=bucket, Key=key, Body=key.encode())
            client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
            for name in (key, "copy"):
                assert client.get_object(Bucket=bucket, Key=name)["Body"].read() == key.encode()


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_names_that_the_backend_cannot_tell_hide_no_others(
    versitygw: Backend, gateway: Gateway, bucket_name: str, limit: int
) -> None:
    raw, client = versitygw.client(), gateway(versitygw).client()
    raw.create_bucket(Bucket=bucket_name)
    told = ["a", "x/y", "xa", "xb", "x\ufffd"]
    for key in [*told, "x\1", "x\2", "x\3", "z\1/a"]:
        raw.put_object(Bucket=bucket_name, Key=key, Body=key.encode())
    for delimiter in ("", "/"):
        pages = client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket_name, Delimiter=delimiter, PaginationConfig={"PageSize": limit}
        )
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        assert found == [key for key in told if not delimiter or delimiter not in key]
