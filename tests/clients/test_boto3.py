"""boto3: its managed transfers, resources, paginators, waiters, and what it presigns."""

from __future__ import annotations

import io
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from tests.clients.content import marked, write
from tests.customer_keys import OTHER_KEY, sse_c
from tests.server import ACCESS_KEY, SECRET_KEY, Server

pytestmark = pytest.mark.on_disk

MIB = 1024**2
IN_PARTS = TransferConfig(multipart_threshold=10 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)


@pytest.mark.parametrize("size", [0, 1000, 22 * MIB])
def test_a_file_is_uploaded_and_downloaded(sealed_server: Server, tmp_path: Path, bucket: str, size: int) -> None:
    client, content = sealed_server.client(), write(tmp_path / "file", size)
    metadata = {"Metadata": {"colour": "green"}, "ContentType": "text/plain"}
    client.upload_file(str(tmp_path / "file"), bucket, "file", ExtraArgs=metadata, Config=IN_PARTS)
    head = client.head_object(Bucket=bucket, Key="file", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (size, "text/plain", {"colour": "green"})
    assert head["ServerSideEncryption"] == "AES256"
    assert any(name.startswith("ChecksumCRC") for name in head)  # today's SDKs send one without being told
    client.download_file(bucket, "file", str(tmp_path / "back"), Config=IN_PARTS)
    assert (tmp_path / "back").read_bytes() == content


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "XXHASH3"])
def test_transfers_take_every_checksum(sealed_server: Server, bucket: str, algorithm: str) -> None:
    client = sealed_server.client()
    for size in (1000, 11 * MIB):
        content, arguments = marked(size), {"ChecksumAlgorithm": algorithm}
        client.upload_fileobj(io.BytesIO(content), bucket, "o", ExtraArgs=arguments, Config=IN_PARTS)
        assert f"Checksum{algorithm}" in client.head_object(Bucket=bucket, Key="o", ChecksumMode="ENABLED")
        back = io.BytesIO()
        client.download_fileobj(bucket, "o", back, Config=IN_PARTS)
        assert back.getvalue() == content


@pytest.mark.parametrize("size", [1000, 22 * MIB])
def test_a_transfer_takes_a_key_of_ones_own(sealed_tls_server: Server, tls_bucket: str, size: int) -> None:
    client, content, back = sealed_tls_server.client(), marked(size), io.BytesIO()
    client.upload_fileobj(io.BytesIO(content), tls_bucket, "mine", ExtraArgs=sse_c(), Config=IN_PARTS)
    client.download_fileobj(tls_bucket, "mine", back, ExtraArgs=sse_c(), Config=IN_PARTS)
    assert back.getvalue() == content
    for arguments in ({}, sse_c(OTHER_KEY)):
        with pytest.raises(ClientError):
            client.download_fileobj(tls_bucket, "mine", io.BytesIO(), ExtraArgs=arguments)


@pytest.mark.parametrize("size", [1000, 22 * MIB])
def test_a_managed_copy_changes_the_kind_of_encryption(sealed_tls_server: Server, tls_bucket: str, size: int) -> None:
    client, content, back = sealed_tls_server.client(), marked(size), io.BytesIO()
    client.upload_fileobj(io.BytesIO(content), tls_bucket, "mine", ExtraArgs=sse_c(), Config=IN_PARTS)
    source = {"Bucket": tls_bucket, "Key": "mine"}
    client.copy(source, tls_bucket, "copy", ExtraArgs=sse_c(prefix="CopySource"), Config=IN_PARTS)
    assert client.head_object(Bucket=tls_bucket, Key="copy")["ServerSideEncryption"] == "AES256"
    rekeyed = {**sse_c(prefix="CopySource"), **sse_c(OTHER_KEY)}
    client.copy(source, tls_bucket, "rekeyed", ExtraArgs=rekeyed, Config=IN_PARTS)
    client.download_fileobj(tls_bucket, "rekeyed", back, ExtraArgs=sse_c(OTHER_KEY), Config=IN_PARTS)
    assert back.getvalue() == content
    assert client.get_object(Bucket=tls_bucket, Key="copy")["Body"].read() == content


def test_resources_waiters_and_paginators_work(sealed_server: Server, bucket_name: str) -> None:
    resource = boto3.resource(
        "s3",
        endpoint_url=sealed_server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )
    bucket = resource.Bucket(bucket_name)
    bucket.create()
    bucket.wait_until_exists()
    for number in range(12):
        bucket.put_object(Key=f"{number % 3}/{number:02}", Body=marked(100 + number))
    assert sum(item.size for item in bucket.objects.all()) == 12 * 100 + 66
    assert [item.key for item in bucket.objects.filter(Prefix="1/")] == ["1/01", "1/04", "1/07", "1/10"]
    thing = bucket.Object("1/01")
    thing.wait_until_exists()
    assert thing.server_side_encryption == "AES256"
    assert thing.get()["Body"].read() == marked(101)
    client = sealed_server.client()
    pages = list(client.get_paginator("list_objects_v2").paginate(Bucket=bucket_name, PaginationConfig={"PageSize": 5}))
    assert [len(page["Contents"]) for page in pages] == [5, 5, 2]
    folders = client.get_paginator("list_objects").paginate(Bucket=bucket_name, Delimiter="/")
    assert [item["Prefix"] for item in folders.search("CommonPrefixes")] == ["0/", "1/", "2/"]
    bucket.objects.all().delete()
    client.get_waiter("object_not_exists").wait(Bucket=bucket_name, Key="1/01")
    bucket.delete()
    bucket.wait_until_not_exists()


def test_a_presigned_url_gets_and_puts(sealed_server: Server, bucket: str) -> None:
    client, content = sealed_server.client(signature_version="s3v4"), marked(100_000)
    where = {"Bucket": bucket, "Key": "by url ü"}
    request = urllib.request.Request(client.generate_presigned_url("put_object", where), content, method="PUT")
    assert urllib.request.urlopen(request).status == 200
    asked = {**where, "ResponseContentDisposition": "attachment"}
    with urllib.request.urlopen(client.generate_presigned_url("get_object", asked)) as answer:
        assert answer.read() == content
        assert answer.headers["Content-Disposition"] == "attachment"


def test_urls_presigned_without_asking_for_version_4_are_refused_and_told_so(
    sealed_server: Server, bucket: str
) -> None:
    url = sealed_server.client().generate_presigned_url("get_object", {"Bucket": bucket, "Key": "o"})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url)
    with error.value as answer:
        assert answer.code == 400
        assert b"Please use AWS4-HMAC-SHA256." in answer.read()


def test_a_presigned_form_uploads_what_its_policy_allows(sealed_server: Server, bucket: str) -> None:
    client, content = sealed_server.client(signature_version="s3v4"), marked(100_000)
    fields = {"x-amz-server-side-encryption": "AES256", "x-amz-meta-colour": "green"}
    conditions: list[Any] = [{name: value} for name, value in fields.items()]
    conditions.append(["content-length-range", 1, 200_000])
    form = client.generate_presigned_post(bucket, "forms/${filename}", Fields=fields, Conditions=conditions)
    assert post(form["url"], form["fields"], content) == 204
    got = client.get_object(Bucket=bucket, Key="forms/page.html")
    assert got["Body"].read() == content
    assert (got["ServerSideEncryption"], got["Metadata"]) == ("AES256", {"colour": "green"})
    assert post(form["url"], form["fields"], marked(200_001)) == 400
    assert post(form["url"], {**form["fields"], "x-amz-meta-colour": "red"}, content) == 403


def post(url: str, fields: Mapping[str, str], content: bytes) -> int:
    """Send a form as a browser does; the status of the answer."""
    boundary = secrets.token_hex(16)
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}' for name in fields]
    file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="page.html"\r\n\r\n'
    body = "\r\n".join([*parts, file]).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    request = urllib.request.Request(url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
