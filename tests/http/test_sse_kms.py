"""SSE-KMS as clients see it, with a static master key: the only one that can be named. ``tests/kms`` has many."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

import pytest

from strongroom.s3.encryption import kms_key_id
from strongroom.s3.errors import S3Error
from tests.http.raw import error_of, request
from tests.server import Server

NAME = "my-minio-key"
SSE = "x-amz-server-side-encryption"
CONTEXT = {"department": "ledger", "who": "ünï"}
KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}


def encoded(context: object) -> str:
    return base64.b64encode(json.dumps(context).encode()).decode()


def rule(**default: str) -> Any:
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}


def is_md5(etag: str, body: bytes) -> bool:
    return hashlib.md5(body).hexdigest() in etag


@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_an_object_says_its_master_key_and_nothing_of_its_md5(server: Server, bucket: str, size: int) -> None:
    client, body, here = server.client(), os.urandom(size), {"Bucket": bucket, "Key": "o"}
    put = client.put_object(**here, Body=body, Metadata={"a": "b"}, **KMS)
    got = client.get_object(**here)
    assert (got["Body"].read(), got["Metadata"]) == (body, {"a": "b"})
    for answer in (put, got, client.head_object(**here)):
        assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"], answer["ETag"]) == ("aws:kms", NAME, put["ETag"])
    assert not is_md5(put["ETag"], body)
    (listed,) = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert (listed["ETag"], listed["Size"]) == (put["ETag"], size)
    attributes = client.get_object_attributes(**here, ObjectAttributes=["ETag"])
    assert attributes["ETag"] == put["ETag"].strip('"')
    client.put_object(**here, Body=b"again", IfMatch=put["ETag"], **KMS)
    assert error_of(client.put_object, **here, Body=b"", IfMatch=put["ETag"], **KMS) == ("PreconditionFailed", 412)


def test_what_a_client_promises_of_the_body_is_checked(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert error_of(client.put_object, **here, Body=b"body", ContentMD5=wrong, **KMS) == ("BadDigest", 400)
    right = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    put = client.put_object(**here, Body=b"body", ContentMD5=right, ChecksumAlgorithm="SHA256", **KMS)
    got = client.get_object(**here, ChecksumMode="ENABLED")
    assert got["ChecksumSHA256"] == put["ChecksumSHA256"]


@pytest.mark.parametrize(
    "name",
    [NAME, f"alias/{NAME}", f"arn:aws:kms:{NAME}", f"arn:aws:kms:us-east-1:111122223333:key/{NAME}",
     f"arn:aws:kms:us-east-1:111122223333:alias/{NAME}", ""],
)  # fmt: skip
def test_a_master_key_has_its_name_in_many_forms(server: Server, bucket: str, name: str) -> None:
    answer = request(server, "PUT", f"/{bucket}/o", {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": name}, b"x")
    assert (answer.status, answer.headers[f"{SSE}-aws-kms-key-id"]) == (200, NAME)


@pytest.mark.parametrize("name", ["other", "arn:aws:kms:", "alias/", "k" * 300])
def test_a_master_key_that_is_not_there_is_refused_and_nothing_is_stored(
    server: Server, bucket: str, name: str
) -> None:
    headers = {SSE: "aws:kms", f"{SSE}-aws-kms-key-id": name}
    answer = request(server, "PUT", f"/{bucket}/o", headers, b"x")
    assert (answer.status, answer.code) == (400, "KMS.NotFoundException")
    answer = request(server, "POST", f"/{bucket}/o?uploads", headers)
    assert (answer.status, answer.code) == (400, "KMS.NotFoundException")
    assert error_of(server.client().head_object, Bucket=bucket, Key="o") == ("404", 404)


def test_a_context_is_confirmed_and_needed_by_nobody_to_read(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    put = client.put_object(**here, Body=b"x", SSEKMSEncryptionContext=encoded(CONTEXT), **KMS)
    assert json.loads(base64.b64decode(put["SSEKMSEncryptionContext"])) == CONTEXT
    assert client.get_object(**here)["Body"].read() == b"x"
    assert "SSEKMSEncryptionContext" not in client.head_object(**here)
    copy = client.copy_object(Bucket=bucket, Key="copy", CopySource=here, **KMS)
    assert "SSEKMSEncryptionContext" not in copy
    assert client.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"x"


@pytest.mark.parametrize(
    "context",
    ["not base64!", base64.b64encode(b"not json").decode(), encoded([]), encoded({"a": 1}), encoded({"a": "\ud800"}),
     encoded({"a": {"b": "c"}}), encoded({"a": "b" * 9000}), base64.b64encode(b"[" * 9000).decode()],
)  # fmt: skip
def test_a_context_that_is_none_is_refused_and_nothing_is_stored(server: Server, bucket: str, context: str) -> None:
    headers = {SSE: "aws:kms", f"{SSE}-context": context}
    answer = request(server, "PUT", f"/{bucket}/o", headers, b"x")
    assert (answer.status, answer.code) in ((400, "InvalidArgument"), (400, "RequestHeaderSectionTooLarge"))
    assert error_of(server.client().head_object, Bucket=bucket, Key="o") == ("404", 404)


def test_a_context_cannot_speak_for_the_objects_name(server: Server, bucket: str) -> None:
    client = server.client()
    clash = {"SSEKMSEncryptionContext": encoded({bucket: f"{bucket}/another"}), **KMS}
    assert error_of(client.put_object, Bucket=bucket, Key="o", Body=b"x", **clash) == ("InvalidArgument", 400)
    assert error_of(client.create_multipart_upload, Bucket=bucket, Key="o", **clash) == ("InvalidArgument", 400)


BAD = [
    {SSE: "AES256", f"{SSE}-aws-kms-key-id": NAME},
    {SSE: "AES256", f"{SSE}-context": encoded(CONTEXT)},
    {f"{SSE}-context": encoded(CONTEXT)},
    {SSE: "aws:kms", f"{SSE}-bucket-key-enabled": "maybe"},
]


@pytest.mark.parametrize("headers", BAD)
def test_headers_that_contradict_each_other_are_refused(server: Server, bucket: str, headers: dict[str, str]) -> None:
    answer = request(server, "PUT", f"/{bucket}/o", headers, b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_an_object_is_uploaded_in_parts_under_a_named_key(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    parts = [os.urandom(5 * 1024**2), os.urandom(100_000)]
    created = client.create_multipart_upload(**here, SSEKMSEncryptionContext=encoded(CONTEXT), SSEKMSKeyId=NAME, **KMS)
    upload = {**here, "UploadId": created["UploadId"]}
    answers = [client.upload_part(**upload, PartNumber=n, Body=part) for n, part in enumerate(parts, 1)]
    listed = client.list_parts(**upload)["Parts"]
    assert [part["ETag"] for part in listed] == [answer["ETag"] for answer in answers]
    done = {"Parts": [{"PartNumber": n, "ETag": answer["ETag"]} for n, answer in enumerate(answers, 1)]}
    completed = client.complete_multipart_upload(**upload, MultipartUpload=done)
    for answer in (created, *answers, completed, client.head_object(**here)):
        assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"]) == ("aws:kms", NAME)
    assert completed["ETag"].endswith('-2"') and not any(
        is_md5(a["ETag"], p) for a, p in zip(answers, parts, strict=True)
    )
    assert client.get_object(**here)["Body"].read() == b"".join(parts)
    assert client.get_object(**here, Range="bytes=5242870-5242889")["Body"].read() == b"".join(parts)[5242870:5242890]


def test_tags_come_and_go(server: Server, bucket: str) -> None:
    client, here = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**here, Body=b"x", Tagging="colour=green", SSEKMSEncryptionContext=encoded(CONTEXT), **KMS)
    assert client.get_object_tagging(**here)["TagSet"] == [{"Key": "colour", "Value": "green"}]
    client.put_object_tagging(**here, Tagging={"TagSet": [{"Key": "colour", "Value": "blue"}]})
    assert client.get_object_tagging(**here)["TagSet"] == [{"Key": "colour", "Value": "blue"}]
    head = client.head_object(**here)
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", NAME)
    assert client.get_object(**here)["Body"].read() == b"x"


def test_a_bucket_can_have_it_by_default(server: Server, bucket: str) -> None:
    """Also above auto-encryption. Gateways may remember a default for some seconds, so each bucket is another."""
    client = server.client()
    client.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration=rule(SSEAlgorithm="aws:kms", KMSMasterKeyID=f"alias/{NAME}")
    )
    (shown,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert shown["ApplyServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": f"alias/{NAME}",
    }
    put = client.put_object(Bucket=bucket, Key="o", Body=b"x")
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", NAME)
    assert client.put_object(Bucket=bucket, Key="o", Body=b"x", ServerSideEncryption="AES256")[
        "ServerSideEncryption"
    ] == "AES256"  # fmt: skip
    upload = client.create_multipart_upload(Bucket=bucket, Key="o")
    assert upload["ServerSideEncryption"] == "aws:kms"
    copied = client.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "o"})
    assert copied["ServerSideEncryption"] == "aws:kms"


def test_a_default_of_a_key_that_is_not_there_lets_nothing_in(server: Server, bucket: str) -> None:
    client = server.client()
    configuration = rule(SSEAlgorithm="aws:kms", KMSMasterKeyID="other")
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
    assert error_of(client.put_object, Bucket=bucket, Key="o", Body=b"x") == ("KMS.NotFoundException", 400)
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)


def test_a_bucket_says_whether_it_asks_for_bucket_keys(server: Server, bucket: str) -> None:
    client = server.client()
    for wanted in (True, False):
        for algorithm in ("AES256", "aws:kms"):
            configuration = rule(SSEAlgorithm=algorithm)
            configuration["Rules"][0]["BucketKeyEnabled"] = wanted
            client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
            shown = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
            assert shown == configuration, "as it was set, without the name of a key"


def test_a_configuration_of_more_or_less_than_one_default_is_refused(server: Server, bucket: str) -> None:
    client, default = server.client(), rule(SSEAlgorithm="AES256")["Rules"]
    wrong: list[Any] = [default * 2, [{"BucketKeyEnabled": True}], rule(SSEAlgorithm="AES128")["Rules"]]
    for rules in wrong:
        put = {"Bucket": bucket, "ServerSideEncryptionConfiguration": {"Rules": rules}}
        assert error_of(client.put_bucket_encryption, **put) == ("MalformedXML", 400)
    assert error_of(client.get_bucket_encryption, Bucket=bucket)[1] == 404


def test_defaults_that_are_none_are_refused(server: Server, bucket: str) -> None:
    client = server.client()
    for default, code in (
        ({"SSEAlgorithm": "AES256", "KMSMasterKeyID": NAME}, "InvalidArgument"),
        ({"SSEAlgorithm": "aws:kms:dsse"}, "NotImplemented"),
        ({"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "k" * 300}, "KMS.NotFoundException"),
    ):
        configuration = rule(**default)
        refused = error_of(client.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=configuration)
        assert refused[0] == code
    assert error_of(client.get_bucket_encryption, Bucket=bucket)[1] == 404


def test_a_default_that_blocks_clients_keys_is_refused_not_passed_over(server: Server, bucket: str) -> None:
    client, configuration = server.client(), rule(SSEAlgorithm="AES256")
    configuration["Rules"][0]["BlockedEncryptionTypes"] = {"EncryptionType": ["SSE-C"]}
    put = {"Bucket": bucket, "ServerSideEncryptionConfiguration": configuration}
    assert error_of(client.put_bucket_encryption, **put) == ("NotImplemented", 501)
    configuration["Rules"][0]["BlockedEncryptionTypes"] = {"EncryptionType": ["NONE"]}
    assert error_of(client.put_bucket_encryption, **put) == ("", 200)


@pytest.mark.parametrize("text", [b"\xff", b"a\nb", b"arn:aws:kms:", b"alias/", "ä".encode() * 128])
def test_names_that_no_master_key_has(text: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        kms_key_id(text)
    assert caught.value.code == "KMS.NotFoundException"


def test_a_name_need_not_be_ascii() -> None:
    assert kms_key_id("schlüssel".encode()) == "schlüssel"
