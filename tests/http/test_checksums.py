"""Checksums as the SDKs send them: verified, kept, shown."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from typing import Any

import pytest
from awscrt.checksums import XXHash

from tests.http.raw import error_of, request
from tests.server import Server

ALGORITHMS = [
    "CRC32", "CRC32C", "CRC64NVME", "MD5", "SHA1", "SHA256", "SHA512", "XXHASH128", "XXHASH3", "XXHASH64",
]  # fmt: skip
CHECK = b"123456789"  # what the catalogues of checksums give values of
KNOWN = {
    "CRC32": (0xCBF43926).to_bytes(4, "big"),
    "CRC32C": (0xE3069283).to_bytes(4, "big"),
    "CRC64NVME": (0xAE8B14860A799888).to_bytes(8, "big"),
    "SHA1": hashlib.sha1(CHECK).digest(),
    "SHA256": hashlib.sha256(CHECK).digest(),
    "SHA512": hashlib.sha512(CHECK).digest(),
    "MD5": hashlib.md5(CHECK, usedforsecurity=False).digest(),
    "XXHASH128": XXHash.compute_xxhash3_128(CHECK),
    "XXHASH3": XXHash.compute_xxhash3_64(CHECK),
    "XXHASH64": XXHash.compute_xxhash64(CHECK),
}


def test_an_sdk_left_to_itself_sends_one_that_is_kept(server: Server, bucket: str) -> None:
    client, body = server.client(), os.urandom(300_000)
    put = client.put_object(Bucket=bucket, Key="o", Body=body)
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    assert (put["ChecksumCRC32"], put["ChecksumType"]) == (crc, "FULL_OBJECT")
    assert client.head_object(Bucket=bucket, Key="o", ChecksumMode="ENABLED")["ChecksumCRC32"] == crc
    assert "ChecksumCRC32" not in request(server, "HEAD", f"/{bucket}/o").headers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_in_a_header(server: Server, bucket: str, algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"
    value = base64.b64encode(KNOWN[algorithm]).decode()
    put = request(server, "PUT", f"/{bucket}/o", {name: value}, CHECK)
    assert (put.status, put.headers[name], put.headers["x-amz-checksum-type"]) == (200, value, "FULL_OBJECT")
    got = request(server, "GET", f"/{bucket}/o", {"x-amz-checksum-mode": "ENABLED"})
    assert got.headers[name] == value
    wrong = request(server, "PUT", f"/{bucket}/o", {name: value}, b"another body")
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    assert request(server, "GET", f"/{bucket}/o").body == CHECK


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "MD5"])  # that one boto3 does not send
@pytest.mark.parametrize("size", [0, 9, 3_000_000])
def test_each_algorithm_in_a_trailer(tls_server: Server, tls_bucket: str, algorithm: str, size: int) -> None:
    client, body = tls_server.client(), os.urandom(size)  # over TLS, SDKs send trailers
    client.put_object(Bucket=tls_bucket, Key="o", Body=body, ChecksumAlgorithm=algorithm)
    got = client.get_object(Bucket=tls_bucket, Key="o", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"]
    assert got["Body"].read() == body  # botocore compares the checksum as it reads


def test_a_range_shows_no_checksum_of_the_whole(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=CHECK)
    got = client.get_object(Bucket=bucket, Key="o", Range="bytes=0-3", ChecksumMode="ENABLED")
    assert not [name for name in got if name.startswith("Checksum")]


def test_a_copy_keeps_its_checksum_or_gets_another(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=CHECK, ChecksumAlgorithm="SHA256")
    same = client.copy_object(Bucket=bucket, Key="same", CopySource=f"{bucket}/o")["CopyObjectResult"]
    assert same["ChecksumSHA256"] == base64.b64encode(KNOWN["SHA256"]).decode()
    other = client.copy_object(Bucket=bucket, Key="other", CopySource=f"{bucket}/o", ChecksumAlgorithm="CRC32C")
    assert other["CopyObjectResult"]["ChecksumCRC32C"] == base64.b64encode(KNOWN["CRC32C"]).decode()


def test_a_part_with_another_algorithm_than_its_upload_is_refused(server: Server, bucket: str) -> None:
    client = server.client(request_checksum_calculation="when_required")
    upload = client.create_multipart_upload(Bucket=bucket, Key="o", ChecksumAlgorithm="SHA256")["UploadId"]
    part: Any = {"Bucket": bucket, "Key": "o", "UploadId": upload, "PartNumber": 1, "Body": CHECK}
    assert error_of(client.upload_part, **part, ChecksumAlgorithm="CRC32") == ("InvalidRequest", 400)
    assert "Parts" not in client.list_parts(Bucket=bucket, Key="o", UploadId=upload)
    client.abort_multipart_upload(Bucket=bucket, Key="o", UploadId=upload)


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32C", "FULL_OBJECT")])
def test_a_part_that_is_copied_has_the_checksum_that_was_announced(
    server: Server, bucket: str, algorithm: str, kind: str
) -> None:
    client, name = server.client(), f"Checksum{algorithm}"
    client.put_object(Bucket=bucket, Key="source", Body=b"before" + CHECK)
    target: Any = {"Bucket": bucket, "Key": "o"}
    target["UploadId"] = client.create_multipart_upload(**target, ChecksumAlgorithm=algorithm, ChecksumType=kind)[
        "UploadId"
    ]
    source = {"CopySource": f"{bucket}/source", "CopySourceRange": f"bytes=6-{5 + len(CHECK)}"}
    copied = client.upload_part_copy(**target, PartNumber=1, **source)["CopyPartResult"]
    assert copied[name] == base64.b64encode(KNOWN[algorithm]).decode()
    assert [part[name] for part in client.list_parts(**target)["Parts"]] == [copied[name]]
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": copied["ETag"], name: copied[name]}]}
    done = client.complete_multipart_upload(**target, MultipartUpload=parts)
    whole = base64.b64encode(hashlib.sha256(KNOWN[algorithm]).digest()).decode() + "-1"
    assert done[name] == (whole if kind == "COMPOSITE" else copied[name])


def test_a_completion_brings_the_checksums_that_its_upload_announced_and_no_others(server: Server, bucket: str) -> None:
    client = server.client(request_checksum_calculation="when_required")

    def opened(**asked: Any) -> tuple[Any, Any]:
        target: Any = {"Bucket": bucket, "Key": "o"}
        target["UploadId"] = client.create_multipart_upload(**target, **asked)["UploadId"]
        part = client.upload_part(**target, PartNumber=1, Body=CHECK, **asked)
        return target, {"PartNumber": 1, "ETag": part["ETag"]}

    def completed(target: Any, part: Any, **more: Any) -> tuple[str, int]:
        return error_of(client.complete_multipart_upload, **target, MultipartUpload={"Parts": [part]}, **more)

    digest = base64.b64encode(hashlib.sha256(KNOWN["SHA256"]).digest()).decode()
    for whole in (digest, f"{digest}-1"):
        target, part = opened(ChecksumAlgorithm="SHA256")
        assert completed(target, part) == ("InvalidRequest", 400)
        part["ChecksumSHA256"] = base64.b64encode(KNOWN["SHA256"]).decode()
        assert completed(target, part, ChecksumSHA256=f"{digest}-2") == ("BadDigest", 400)
        assert completed(target, part, ChecksumSHA256=whole) == ("", 200)
    target, part = opened()
    assert completed(target, part, ChecksumSHA256=digest) == ("InvalidRequest", 400)
    assert completed(target, part) == ("", 200)


def test_an_upload_is_opened_where_the_checksums_of_its_parts_are_announced(server: Server, bucket: str) -> None:
    announced = {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-algorithm": "CRC32"}  # as AWS's CRT has it
    assert request(server, "POST", f"/{bucket}/o?uploads", announced).status == 200


def test_a_whole_that_is_not_what_was_promised_is_refused(server: Server, bucket: str) -> None:
    client = server.client()
    upload = client.create_multipart_upload(
        Bucket=bucket, Key="o", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )["UploadId"]
    part = client.upload_part(
        Bucket=bucket, Key="o", UploadId=upload, PartNumber=1, Body=CHECK, ChecksumAlgorithm="CRC64NVME"
    )
    done: Any = {"Bucket": bucket, "Key": "o", "UploadId": upload}
    done["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    wrong = base64.b64encode(bytes(8)).decode()
    assert error_of(client.complete_multipart_upload, **done, ChecksumCRC64NVME=wrong) == ("BadDigest", 400)
    assert error_of(client.complete_multipart_upload, **done, MpuObjectSize=10) == ("InvalidRequest", 400)
    right = base64.b64encode(KNOWN["CRC64NVME"]).decode()
    assert client.complete_multipart_upload(**done, ChecksumCRC64NVME=right)["ChecksumCRC64NVME"] == right
