"""Multipart uploads over HTTP, in all kinds of encryption."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.customer_keys import OTHER_KEY, SSE_C, sse_c
from tests.http.raw import error_of, request
from tests.server import Server
from tests.uploads import upload_of_one_part

pytestmark = pytest.mark.every_backend

MIB = 1024 * 1024
PARTS = [os.urandom(5 * MIB), os.urandom(5 * MIB + 12_345), b"the end"]


def upload(server: Server, bucket: str, key: str, parts: list[bytes], **sse: Any) -> str:
    """Upload parts and complete; the ETag."""
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"who": "me"}, **sse)["UploadId"]
    done = []
    for number, part in enumerate(parts, 1):
        answer = client.upload_part(
            Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=part,
            **{name: value for name, value in sse.items() if name.startswith("SSEC")},
        )  # fmt: skip
        done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    completed = client.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": done}
    )
    etag: str = completed["ETag"]
    return etag.strip('"')


@pytest.mark.parametrize("sse", [{}, {"ServerSideEncryption": "AES256"}, SSE_C], ids=["auto", "SSE-S3", "SSE-C"])
def test_a_multipart_object_comes_back_whole_in_ranges_and_by_part(
    server: Server, bucket: str, sse: dict[str, Any]
) -> None:
    etag, client, whole = upload(server, bucket, "o", PARTS, **sse), server.client(), b"".join(PARTS)
    get: dict[str, Any] = {"Bucket": bucket, "Key": "o", **(sse if sse is SSE_C else {})}
    got = client.get_object(**get)
    assert got["Body"].read() == whole
    assert got["Metadata"] == {"who": "me"}
    if sse is not SSE_C:
        digests = b"".join(hashlib.md5(part).digest() for part in PARTS)
        assert etag == f"{hashlib.md5(digests).hexdigest()}-3"
    assert etag.endswith("-3")
    for start, end in [(0, 1), (5 * MIB - 3, 5 * MIB + 3), (len(whole) - 9, len(whole)), (3 * MIB, 9 * MIB)]:
        assert client.get_object(**get, Range=f"bytes={start}-{end - 1}")["Body"].read() == whole[start:end]
    for number, part in enumerate(PARTS, 1):
        answer = client.get_object(**get, PartNumber=number)
        assert (answer["Body"].read(), answer["PartsCount"]) == (part, 3)
    assert client.head_object(**get, PartNumber=2)["ContentLength"] == len(PARTS[1])
    assert error_of(client.get_object, **get, PartNumber=4)[1] == 416


def test_a_part_without_bytes_is_told_as_such_and_not_as_a_range(server: Server, bucket: str) -> None:
    """No Content-Range can say that. MinIO finds it not satisfiable, so that a client that asks for all parts fails."""
    upload(server, bucket, "parts", [PARTS[0], b""])
    upload(server, bucket, "one-part", [b""])
    server.client().put_object(Bucket=bucket, Key="empty", Body=b"")
    for key, number, count in [("parts", 2, "2"), ("one-part", 1, "1"), ("empty", 1, None)]:
        for method in ("GET", "HEAD"):
            answer = request(server, method, f"/{bucket}/{key}?partNumber={number}")
            assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
            assert answer.headers.get("x-amz-mp-parts-count") == count and "content-range" not in answer.headers


def test_parts_are_listed_in_pages_and_can_be_replaced(server: Server, bucket: str) -> None:
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    for number in (5, 1, 3, 3):
        client.upload_part(Bucket=bucket, Key="o", UploadId=upload_id, PartNumber=number, Body=os.urandom(100 + number))
    pages = client.get_paginator("list_parts").paginate(
        Bucket=bucket, Key="o", UploadId=upload_id, PaginationConfig={"PageSize": 2}
    )
    found = [(part["PartNumber"], part["Size"]) for page in pages for part in page["Parts"]]
    assert found == [(1, 101), (3, 103), (5, 105)]
    assert not client.list_parts(Bucket=bucket, Key="o", UploadId=upload_id, MaxParts=0)["IsTruncated"]
    uploads = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(item["Key"], item["UploadId"]) for item in uploads] == [("o", upload_id)]
    client.abort_multipart_upload(Bucket=bucket, Key="o", UploadId=upload_id)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert error_of(client.list_parts, Bucket=bucket, Key="o", UploadId=upload_id) == ("NoSuchUpload", 404)
    again = error_of(client.abort_multipart_upload, Bucket=bucket, Key="o", UploadId=upload_id)
    assert again == ("NoSuchUpload", 404)


def test_completion_is_answered_the_same_when_it_is_asked_for_again(server: Server, bucket: str) -> None:
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    part = client.upload_part(Bucket=bucket, Key="o", UploadId=upload_id, PartNumber=1, Body=b"x")
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}]}
    complete = {"Bucket": bucket, "Key": "o", "UploadId": upload_id, "MultipartUpload": parts}
    first = client.complete_multipart_upload(**complete)
    assert client.complete_multipart_upload(**complete)["ETag"] == first["ETag"]


def test_completion_with_what_can_be_no_etag_is_not_answered_as_the_one_that_succeeded(
    server: Server, bucket: str
) -> None:
    client = server.client()
    target, parts = upload_of_one_part(client, bucket)
    client.complete_multipart_upload(**target, MultipartUpload=parts)
    for etag in ("other", '"other"', ""):
        other: Any = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        assert error_of(client.complete_multipart_upload, **target, MultipartUpload=other) == ("NoSuchUpload", 404)


@pytest.mark.parametrize("condition", [{}, {"IfNoneMatch": "*"}], ids=["always", "if none"])
def test_completions_of_an_upload_at_the_same_time_are_all_answered_alike(
    server: Server, bucket: str, condition: Any
) -> None:
    """As those of a client that gave up waiting, and asks again while the first one goes on; again after a 503, which
    a gateway answers where the first one takes long.
    """
    client = server.client(retries={"mode": "standard", "total_max_attempts": 5})
    with ThreadPoolExecutor(6) as pool:
        for number in range(5):
            target, parts = upload_of_one_part(client, bucket, f"o{number}")
            complete = partial(client.complete_multipart_upload, **target, MultipartUpload=parts, **condition)
            etags = [answer.result()["ETag"] for answer in [pool.submit(complete) for _ in range(6)]]
            assert len(set(etags)) == 1


@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_completion_with_other_parts_is_not_answered_as_the_one_that_succeeded(
    server: Server, bucket: str, encryption: str
) -> None:
    client = server.client()
    target = {"Bucket": bucket, "Key": "o"}
    target["UploadId"] = client.create_multipart_upload(**target, ServerSideEncryption=encryption)["UploadId"]
    parts: list[Any] = []
    for number, body in enumerate((bytes(5 * 1024**2), b"x"), 1):
        answer = client.upload_part(**target, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    first = client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    other = error_of(client.complete_multipart_upload, **target, MultipartUpload={"Parts": parts[:1]})
    assert other == ("NoSuchUpload", 404)
    assert client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})["ETag"] == first["ETag"]


@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_completion_of_an_upload_that_was_ended_is_not_answered_as_that_of_another_alike(
    server: Server, bucket: str, encryption: str
) -> None:
    client = server.client()
    ended, parts = upload_of_one_part(client, bucket, "o", ServerSideEncryption=encryption)
    other, same = upload_of_one_part(client, bucket, "o", ServerSideEncryption=encryption)
    client.abort_multipart_upload(**ended)
    client.complete_multipart_upload(**other, MultipartUpload=same)
    again = error_of(client.complete_multipart_upload, **ended, MultipartUpload=parts)
    assert again == ("NoSuchUpload", 404)


def test_completion_says_where_the_object_is(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    hosts = {f"127.0.0.1:{plain_server.port}": f"/{plain_bucket}", f"{plain_bucket}.s3.test:{plain_server.port}": ""}
    for host, folder in hosts.items():
        target, parts = upload_of_one_part(client, plain_bucket, "a b")
        path = f"{folder}/a%20b"
        part = f"<Part><PartNumber>1</PartNumber><ETag>{parts['Parts'][0]['ETag']}</ETag></Part>"
        body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>".encode()
        answer = request(plain_server, "POST", f"{path}?uploadId={target['UploadId']}", {"Host": host}, body)
        assert answer.find("Location") == f"http://{host}{path}"


def test_an_upload_may_be_opened_on_a_condition(server: Server, bucket: str) -> None:
    client = server.client()

    def opened(header: str, value: str) -> tuple[int, str]:
        answer = request(server, "POST", f"/{bucket}/o?uploads", {header: value})
        return answer.status, answer.code

    assert opened("If-Match", '"other"') == (404, "NoSuchKey")
    assert opened("If-None-Match", "*") == (200, "")
    etag = client.put_object(Bucket=bucket, Key="o", Body=b"there")["ETag"]
    assert opened("If-None-Match", "*") == (412, "PreconditionFailed")
    assert opened("If-Match", '"other"') == (412, "PreconditionFailed")
    assert opened("If-Match", etag) == (200, "")


def test_wrong_completions_are_refused_and_leave_the_upload_open(server: Server, bucket: str) -> None:
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    parts: list[Any] = []
    for number in (1, 2):
        answer = client.upload_part(Bucket=bucket, Key="o", UploadId=upload_id, PartNumber=number, Body=b"small")
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})

    def complete(listed: list[Any], upload: str = upload_id, **more: Any) -> tuple[str, int]:
        return error_of(
            client.complete_multipart_upload,
            Bucket=bucket, Key="o", UploadId=upload, MultipartUpload={"Parts": listed}, **more,
        )  # fmt: skip

    assert complete(parts) == ("EntityTooSmall", 400)
    assert complete(parts[::-1]) == ("InvalidPartOrder", 400)
    assert complete([parts[0], parts[0]]) == ("InvalidPartOrder", 400)
    assert complete([{"PartNumber": 1, "ETag": '"other"'}]) == ("InvalidPart", 400)
    assert complete([{"PartNumber": 7, "ETag": parts[0]["ETag"]}]) == ("InvalidPart", 400)
    assert complete([parts[0]], "0" * 32) == ("NoSuchUpload", 404)
    assert complete([parts[0]], MpuObjectSize=7) == ("InvalidRequest", 400)
    client.put_object(Bucket=bucket, Key="o", Body=b"there")
    assert complete([parts[0]], IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert error_of(client.get_object, Bucket=bucket, Key="o") == ("", 200)
    assert complete([parts[0]]) == ("", 200)
    assert client.get_object(Bucket=bucket, Key="o")["Body"].read() == b"small"


def test_part_numbers_out_of_range_are_refused(server: Server, bucket: str) -> None:
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    for number in ("0", "10001", "x"):
        answer = request(server, "PUT", f"/{bucket}/o?partNumber={number}&uploadId={upload_id}", body=b"x")
        assert (answer.status, answer.code) == (400, "InvalidArgument")


def test_a_part_of_an_sse_c_upload_needs_the_same_key(server: Server, bucket: str) -> None:
    client = server.client()
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o", **SSE_C)["UploadId"]
    part = {"Bucket": bucket, "Key": "o", "UploadId": upload_id, "PartNumber": 1, "Body": b"x"}
    assert error_of(client.upload_part, **part) == ("InvalidRequest", 400)
    wrong = sse_c(OTHER_KEY)
    assert error_of(client.upload_part, **part, **wrong) == ("InvalidRequest", 400)
    assert error_of(client.upload_part, **part, **SSE_C) == ("", 200)
    client.put_object(Bucket=bucket, Key="source", Body=b"x")
    copied = {**part, "CopySource": {"Bucket": bucket, "Key": "source"}}
    del copied["Body"]
    assert error_of(client.upload_part_copy, **copied) == ("InvalidRequest", 400)
    assert error_of(client.upload_part_copy, **copied, **wrong) == ("InvalidRequest", 400)
    assert error_of(client.upload_part_copy, **copied, **SSE_C) == ("", 200)


def test_each_step_of_an_upload_says_how_it_is_encrypted(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="source", Body=b"x")
    copied_from = {"CopySource": {"Bucket": bucket, "Key": "source"}}
    for sse in ({"ServerSideEncryption": "AES256"}, SSE_C):
        key = sse if sse is SSE_C else {}
        target: Any = {"Bucket": bucket, "Key": "o"}
        created = client.create_multipart_upload(**target, **sse)
        target["UploadId"] = created["UploadId"]
        part = client.upload_part(**target, PartNumber=1, Body=b"x", **key)
        copied = client.upload_part_copy(**target, PartNumber=1, **copied_from, **key)
        parts: Any = {"Parts": [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]}
        done = client.complete_multipart_upload(**target, MultipartUpload=parts)
        for answer in (created, part, copied):
            assert answer.get("ServerSideEncryption") == sse.get("ServerSideEncryption")
            assert answer.get("SSECustomerAlgorithm") == sse.get("SSECustomerAlgorithm")
        assert done.get("ServerSideEncryption") == sse.get("ServerSideEncryption")
        assert "SSECustomerAlgorithm" not in done


def test_parts_are_copied_from_ranges_of_other_objects(server: Server, bucket: str) -> None:
    client, body = server.client(), os.urandom(12 * MIB)
    client.put_object(Bucket=bucket, Key="source", Body=body, **SSE_C)
    source = {"CopySource": {"Bucket": bucket, "Key": "source"}, **sse_c(prefix="CopySource")}
    upload_id = client.create_multipart_upload(Bucket=bucket, Key="o", Metadata={"a": "b"})["UploadId"]
    parts: list[Any] = []
    for number, span in enumerate([f"bytes=0-{6 * MIB - 1}", f"bytes={6 * MIB}-{12 * MIB - 1}"], 1):
        answer = client.upload_part_copy(
            Bucket=bucket, Key="o", UploadId=upload_id, PartNumber=number, CopySourceRange=span,
            **source,
        )  # fmt: skip
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
        parts[-1]["ChecksumCRC32"] = answer["CopyPartResult"].get("ChecksumCRC32")
        parts[-1] = {name: value for name, value in parts[-1].items() if value}
    client.complete_multipart_upload(Bucket=bucket, Key="o", UploadId=upload_id, MultipartUpload={"Parts": parts})
    assert client.get_object(Bucket=bucket, Key="o")["Body"].read() == body
    bad = error_of(
        client.upload_part_copy, Bucket=bucket, Key="o", UploadId=upload_id, PartNumber=1, **source,
        CopySourceRange=f"bytes=0-{12 * MIB}",
    )  # fmt: skip
    assert bad[1] in (400, 404)


@pytest.mark.parametrize(("algorithm", "kind"), [
    ("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "COMPOSITE"), ("CRC32C", "FULL_OBJECT"),
    ("CRC64NVME", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"), ("SHA512", "COMPOSITE"),
    ("XXHASH128", "COMPOSITE"), ("XXHASH3", "COMPOSITE"), ("XXHASH64", "COMPOSITE"),
])  # fmt: skip
def test_an_object_in_parts_has_the_checksum_that_was_announced(
    server: Server, bucket: str, algorithm: Any, kind: Any
) -> None:
    client = server.client()
    create = client.create_multipart_upload(
        Bucket=bucket, Key="o", ChecksumAlgorithm=algorithm, ChecksumType=kind, ServerSideEncryption="AES256"
    )
    parts: list[Any] = []
    for number, body in enumerate(PARTS, 1):
        answer = client.upload_part(
            Bucket=bucket, Key="o", UploadId=create["UploadId"], PartNumber=number, Body=body,
            ChecksumAlgorithm=algorithm,
        )  # fmt: skip
        name = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    done: Any = client.complete_multipart_upload(
        Bucket=bucket, Key="o", UploadId=create["UploadId"], MultipartUpload={"Parts": parts}
    )
    value = done[f"Checksum{algorithm}"]
    assert done["ChecksumType"] == kind
    assert value.endswith("-3") == (kind == "COMPOSITE")
    if (algorithm, kind) == ("CRC32", "FULL_OBJECT"):
        assert value == base64.b64encode(zlib.crc32(b"".join(PARTS)).to_bytes(4, "big")).decode()
    got: Any = client.get_object(Bucket=bucket, Key="o", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] == value
    assert got["Body"].read() == b"".join(PARTS)  # botocore compares the checksum where it is of the whole
    listed = client.get_object_attributes(Bucket=bucket, Key="o", ObjectAttributes=["ObjectParts", "Checksum"])
    assert listed["ObjectParts"]["TotalPartsCount"] == 3
    assert [part["Size"] for part in listed["ObjectParts"]["Parts"]] == [len(part) for part in PARTS]
