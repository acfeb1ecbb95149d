"""Server-side encryption as clients see it: SSE-S3, SSE-C, defaults, and everything that is refused."""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.customer_keys import KEY, OTHER_KEY, SSE_C, customer_key_headers, sse_c
from tests.http.raw import error_of, request
from tests.http.test_browser_uploads import post, signed
from tests.server import Server
from tests.uploads import upload_of_one_part

PREFIX = "x-amz-server-side-encryption-customer-"


def test_without_auto_encryption_an_object_is_encrypted_if_it_asks(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    assert "ServerSideEncryption" not in client.put_object(Bucket=plain_bucket, Key="plain", Body=b"x")
    put = client.put_object(Bucket=plain_bucket, Key="sealed", Body=b"x", ServerSideEncryption="AES256")
    assert put["ServerSideEncryption"] == "AES256"
    assert "ServerSideEncryption" not in client.head_object(Bucket=plain_bucket, Key="plain")
    assert client.head_object(Bucket=plain_bucket, Key="sealed")["ServerSideEncryption"] == "AES256"


def test_a_bucket_can_encrypt_by_default(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    assert error_of(client.get_bucket_encryption, Bucket=plain_bucket)[1] == 404
    rule: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    client.put_bucket_encryption(Bucket=plain_bucket, ServerSideEncryptionConfiguration=rule)
    shown = client.get_bucket_encryption(Bucket=plain_bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert shown["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert client.put_object(Bucket=plain_bucket, Key="o", Body=b"x")["ServerSideEncryption"] == "AES256"
    assert "SSECustomerAlgorithm" in client.put_object(Bucket=plain_bucket, Key="c", Body=b"x", **SSE_C)
    client.delete_bucket_encryption(Bucket=plain_bucket)
    assert "ServerSideEncryption" not in client.put_object(Bucket=plain_bucket, Key="o", Body=b"x")


def test_what_a_copy_or_an_upload_does_not_say_the_bucket_says_that_takes_it(
    plain_server: Server, plain_bucket: str
) -> None:
    client, sealing, sse = plain_server.client(), f"{plain_bucket}-sealing", "ServerSideEncryption"
    client.create_bucket(Bucket=sealing)
    rule: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    client.put_bucket_encryption(Bucket=sealing, ServerSideEncryptionConfiguration=rule)
    for source, target, expected in ((plain_bucket, sealing, "AES256"), (sealing, plain_bucket, None)):
        client.put_object(Bucket=source, Key="o", Body=b"x" * 100_000)
        copied = client.copy_object(Bucket=target, Key="copy", CopySource=f"{source}/o")
        assert copied.get(sse) == client.head_object(Bucket=target, Key="copy").get(sse) == expected
        upload, parts = upload_of_one_part(client, target, "m")
        assert client.complete_multipart_upload(**upload, MultipartUpload=parts).get(sse) == expected
        assert client.head_object(Bucket=target, Key="m").get(sse) == expected


def test_an_upload_that_has_ended_is_not_there_whatever_object_lies_in_its_place(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**here, Body=b"x", **SSE_C)
    upload = client.create_multipart_upload(**here, **sse_c(OTHER_KEY))["UploadId"]
    client.abort_multipart_upload(**here, UploadId=upload)
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": "e"}]}
    for key in ({}, SSE_C, sse_c(OTHER_KEY)):
        ended = error_of(client.complete_multipart_upload, **here, UploadId=upload, MultipartUpload=parts, **key)
        assert ended == ("NoSuchUpload", 404)


def test_an_sse_c_object_needs_its_key_each_time(server: Server, bucket: str) -> None:
    client, body = server.client(), os.urandom(300_000)
    put = client.put_object(Bucket=bucket, Key="o", Body=body, **SSE_C)
    assert put["ETag"] != f'"{hashlib.md5(body).hexdigest()}"'
    get = {"Bucket": bucket, "Key": "o"}
    got = client.get_object(**get, **SSE_C)
    assert got["Body"].read() == body
    assert got["ETag"] == put["ETag"]
    assert got["SSECustomerKeyMD5"] == customer_key_headers(KEY)[PREFIX + "key-md5"]
    assert error_of(client.get_object, **get) == ("InvalidRequest", 400)
    assert error_of(client.head_object, **get) == ("400", 400)
    assert error_of(client.get_object, **get, **sse_c(OTHER_KEY)) == ("AccessDenied", 403)
    with pytest.raises(ClientError, match="must provide the correct secret key"):  # which clients look for
        client.get_object(**get, **sse_c(OTHER_KEY))
    assert error_of(client.head_object, **get, **sse_c(OTHER_KEY)) == ("403", 403)
    listed = client.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["ETag"], listed["Size"]) == (put["ETag"], 300_000)
    client.delete_object(**get)


def test_a_key_for_an_object_that_has_none_is_refused(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"x")
    assert error_of(client.get_object, Bucket=bucket, Key="o", **SSE_C) == ("InvalidRequest", 400)


KINDS: list[dict[str, Any]] = [
    {}, {"ServerSideEncryption": "AES256"}, SSE_C, sse_c(OTHER_KEY), {"ServerSideEncryption": "aws:kms"},
]  # fmt: skip


@pytest.mark.parametrize("size", [100, 300_000])
@pytest.mark.parametrize(("source", "target"), list(itertools.product(range(5), range(5))))
def test_objects_are_copied_between_any_two_kinds(
    plain_server: Server, plain_bucket: str, source: int, target: int, size: int
) -> None:
    client, body = plain_server.client(), os.urandom(size)
    tags = [{"Key": "colour", "Value": "dark blue"}]
    described: dict[str, Any] = {"Metadata": {"a": "b"}, "Tagging": "colour=dark%20blue", "ContentType": "text/x-a"}
    client.put_object(Bucket=plain_bucket, Key="source", Body=body, **described, **KINDS[source])
    opens = {f"CopySource{name}": value for name, value in KINDS[source].items() if name.startswith("SSEC")}
    copied = client.copy_object(
        Bucket=plain_bucket, Key="copy", CopySource={"Bucket": plain_bucket, "Key": "source"},
        **opens, **KINDS[target],
    )  # fmt: skip
    reads = {name: value for name, value in KINDS[target].items() if name.startswith("SSEC")}
    got = client.get_object(Bucket=plain_bucket, Key="copy", **reads)
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (body, {"a": "b"}, "text/x-a")
    assert client.get_object_tagging(Bucket=plain_bucket, Key="copy")["TagSet"] == tags
    assert got["ETag"] == copied["CopyObjectResult"]["ETag"]
    if target < 2:
        assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_a_copy_onto_itself_changes_the_kind(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    here = {"Bucket": plain_bucket, "Key": "o"}
    client.put_object(**here, Body=b"body", ContentType="text/plain")
    assert error_of(client.copy_object, **here, CopySource=here) == ("InvalidRequest", 400)
    client.copy_object(**here, CopySource=here, ServerSideEncryption="AES256")
    head = client.head_object(**here)
    assert (head["ServerSideEncryption"], head["ContentType"]) == ("AES256", "text/plain")
    client.copy_object(**here, CopySource=here, **SSE_C)
    assert client.get_object(**here, **SSE_C)["Body"].read() == b"body"
    client.copy_object(
        **here, CopySource=here, MetadataDirective="REPLACE", ContentType="x/y", **sse_c(prefix="CopySource")
    )
    assert client.head_object(**here)["ContentType"] == "x/y"


def test_a_copy_onto_itself_gives_an_object_the_default_of_its_bucket(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    here = {"Bucket": plain_bucket, "Key": "o"}
    client.put_object(**here, Body=b"body")
    rule: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    client.put_bucket_encryption(Bucket=plain_bucket, ServerSideEncryptionConfiguration=rule)
    client.copy_object(**here, CopySource=here)
    assert client.head_object(**here)["ServerSideEncryption"] == "AES256"
    client.copy_object(**here, CopySource=here)  # as in S3: what it has already does not matter


BAD_HEADERS = [
    ({"x-amz-server-side-encryption": "AES128"}, "InvalidArgument"),
    ({"x-amz-server-side-encryption": "aws:kms:dsse"}, "NotImplemented"),
    ({"x-amz-server-side-encryption-aws-kms-key-id": "k"}, "InvalidArgument"),
    ({**customer_key_headers(KEY), "x-amz-server-side-encryption": "AES256"}, "InvalidArgument"),
    ({**customer_key_headers(KEY), PREFIX + "algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
    ({**customer_key_headers(KEY), PREFIX + "key-md5": base64.b64encode(bytes(16)).decode()}, "InvalidArgument"),
    ({**customer_key_headers(b"short")}, "InvalidArgument"),
    ({**customer_key_headers(KEY), PREFIX + "key": "not base64!"}, "InvalidArgument"),
    ({k: v for k, v in customer_key_headers(KEY).items() if not k.endswith("key")}, "InvalidArgument"),
    ({k: v for k, v in customer_key_headers(KEY).items() if not k.endswith("md5")}, "InvalidArgument"),
    ({k: v for k, v in customer_key_headers(KEY).items() if not k.endswith("algorithm")}, "InvalidArgument"),
]


@pytest.mark.parametrize(("headers", "code"), BAD_HEADERS)
def test_wrong_encryption_headers_are_refused_and_nothing_is_stored(
    server: Server, bucket: str, headers: dict[str, str], code: str
) -> None:
    answer = request(server, "PUT", f"/{bucket}/o", headers, b"x")
    assert answer.code == code
    assert answer.status in (400, 501)
    assert error_of(server.client().head_object, Bucket=bucket, Key="o") == ("404", 404)


def test_sse_s3_headers_on_a_read_are_refused(server: Server, bucket: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    answer = request(server, "GET", f"/{bucket}/o", {"x-amz-server-side-encryption": "AES256"})
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_clients_keys_are_taken_over_tls_only(tls_server: Server, tls_bucket: str, tmp_path: Path) -> None:
    client = tls_server.client()
    client.put_object(Bucket=tls_bucket, Key="o", Body=b"x" * 100_000, **SSE_C)
    assert client.get_object(Bucket=tls_bucket, Key="o", **SSE_C)["Body"].read() == b"x" * 100_000
    with Server(tmp_path / "insecure", workers=1) as insecure:
        insecure.client().create_bucket(Bucket="bucket")
        answer = request(insecure, "PUT", "/bucket/o", customer_key_headers(KEY), b"x")
        assert (answer.status, answer.code) == (400, "InvalidRequest")
        fields = customer_key_headers(KEY)
        form = signed(insecure, "bucket", "o", fields, [{name: value} for name, value in fields.items()])
        assert post(insecure, "bucket", form, b"x").code == "InvalidRequest"


def test_without_a_kms_sse_s3_is_refused_and_sse_c_works(tmp_path: Path) -> None:
    settings = {
        "MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None, "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
    }  # fmt: skip
    with Server(tmp_path, settings, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        put = {"Bucket": "bucket", "Key": "o", "Body": b"x"}
        assert error_of(client.put_object, **put, ServerSideEncryption="AES256") == ("NotImplemented", 501)
        rule = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
        set_default = error_of(client.put_bucket_encryption, Bucket="bucket", ServerSideEncryptionConfiguration=rule)
        assert set_default == ("NotImplemented", 501)
        assert error_of(client.put_object, **put, **SSE_C, Tagging="a=b") == ("", 200)
        assert client.get_object_tagging(Bucket="bucket", Key="o")["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_with_another_master_key_objects_do_not_open_and_listings_still_answer(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        etag = server.client().put_object(Bucket="bucket", Key="o", Body=b"x")["ETag"]
        server.stop()
        server.settings["MINIO_SSE_MASTER_KEY"] = "my-minio-key:" + "11" * 32
        server.start()
        client = server.client()
        assert error_of(client.get_object, Bucket="bucket", Key="o") == ("AccessDenied", 403)
        listed = client.list_objects_v2(Bucket="bucket")["Contents"][0]
        assert (listed["Key"], listed["Size"]) == ("o", 1)
        assert listed["ETag"] != etag
        assert listed["ETag"].endswith('-1"')
        server.stop()
        server.settings["MINIO_SSE_MASTER_KEY"] = "another-name:" + "11" * 32
        server.start()
        assert error_of(server.client().get_object, Bucket="bucket", Key="o") == ("KMS.NotFoundException", 400)


@pytest.mark.parametrize("key", ["my-minio-key:" + "11" * 32, "another-name:" + "11" * 32])
def test_the_log_warns_of_writes_under_another_master_key_than_before(tmp_path: Path, key: str) -> None:
    warned = "WARNING strongroom.sealed", "a bucket is written to under another master key than before bucket=bucket"
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        for _ in range(2):
            server.client().put_object(Bucket="bucket", Key="o", Body=b"x")
            server.stop()
            assert warned[1] not in server.log
            server.start()
        server.stop()
        server.settings["MINIO_SSE_MASTER_KEY"] = key
        server.start()
        server.client().put_object(Bucket="bucket", Key="p", Body=b"x")
        (line,) = (line for line in server.log.splitlines() if warned[1] in line)
        assert warned[0] in line


def test_without_compat_etags_are_opaque(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1, flags=("--no-compat",)) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        put = client.put_object(Bucket="bucket", Key="o", Body=b"x")
        assert put["ETag"].endswith('-1"')
        assert hashlib.md5(b"x").hexdigest() not in put["ETag"]
        got = client.get_object(Bucket="bucket", Key="o")
        assert (got["Body"].read(), got["ETag"]) == (b"x", put["ETag"])
        assert client.list_objects_v2(Bucket="bucket")["Contents"][0]["ETag"] == put["ETag"]
        digest = base64.b64encode(hashlib.md5(b"other").digest()).decode()
        wrong = request(server, "PUT", "/bucket/p", {"Content-MD5": digest}, b"x")
        assert wrong.code == "BadDigest"
