"""Bodies in chunks, signed and unsigned, with and without trailing headers, as the SDKs send them; and spoilt ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import zlib
from collections.abc import Callable

import pytest

from tests.http.raw import Answer, send, signed_headers
from tests.server import SECRET_KEY, Server

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY = hashlib.sha256(b"").hexdigest()

BODY = random.Random(1).randbytes(150_000)
CHUNKS = [BODY[:65_536], BODY[65_536:131_072], BODY[131_072:]]
CRC = base64.b64encode(zlib.crc32(BODY).to_bytes(4, "big")).decode()


class Signer:
    """The chain of chunk signatures, written from the S3 API reference and sharing no code with the product."""

    def __init__(self, headers: dict[str, str]) -> None:
        self.stamp = headers["X-Amz-Date"]
        self.scope = f"{self.stamp[:8]}/us-east-1/s3/aws4_request"
        self.previous = headers["Authorization"].rpartition("Signature=")[2]
        key = f"AWS4{SECRET_KEY}".encode()
        for step in self.scope.split("/"):
            key = hmac.digest(key, step.encode(), "sha256")
        self.key = key

    def next(self, kind: str, *digests: str) -> str:
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self.stamp, self.scope, self.previous, *digests])
        self.previous = hmac.digest(self.key, text.encode(), "sha256").hex()
        return self.previous


def chunk(data: bytes, signer: Signer | None) -> bytes:
    signature = ""
    if signer:
        signature = ";chunk-signature=" + signer.next("PAYLOAD", EMPTY, hashlib.sha256(data).hexdigest())
    return f"{len(data):x}{signature}\r\n".encode() + data + b"\r\n"


def upload(
    server: Server,
    bucket: str,
    mode: str,
    trailer: str | None = None,
    length: int = len(BODY),
    spoil: Callable[[bytes], bytes] = lambda body: body,
    chunks: list[bytes] = CHUNKS,
) -> Answer:
    """PUT ``chunks`` in a mode; ``spoil`` changes the body as it goes on the wire."""
    path = f"/{bucket}/o"
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(length)}
    if trailer is not None:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    signed = signed_headers(server, "PUT", path, headers, payload=mode)
    signer = None if mode == UNSIGNED_TRAILER else Signer(signed)
    body = b"".join(chunk(data, signer) for data in chunks) + chunk(b"", signer)[:-2]
    if trailer is not None:
        line = f"x-amz-checksum-crc32:{trailer}"
        body += f"{line}\r\n".encode()
        if signer:
            signature = signer.next("TRAILER", hashlib.sha256(f"{line}\n".encode()).hexdigest())
            body += f"x-amz-trailer-signature:{signature}\r\n".encode()
    body = spoil(body + b"\r\n")
    return send(server, "PUT", path, {**signed, "Content-Length": str(len(body))}, body)


@pytest.mark.parametrize(
    ("mode", "trailer"), [(SIGNED, None), (SIGNED_TRAILER, CRC), (UNSIGNED_TRAILER, CRC)], ids=lambda v: str(v)[:40]
)
def test_a_body_in_chunks_arrives_whole(server: Server, bucket: str, mode: str, trailer: str | None) -> None:
    answer = upload(server, bucket, mode, trailer)
    assert answer.status == 200, answer.body
    assert answer.headers.get("x-amz-checksum-crc32") == trailer
    got = server.client().get_object(Bucket=bucket, Key="o")
    assert got["Body"].read() == BODY
    assert "ContentEncoding" not in got


def flip(at: int) -> Callable[[bytes], bytes]:
    def spoil(body: bytes) -> bytes:
        return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]

    return spoil


def untouched(server: Server, bucket: str) -> bool:
    return bool(server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0)


@pytest.mark.parametrize("place", [1000, 70_000, 149_000])
def test_a_changed_byte_in_a_signed_chunk_is_refused(server: Server, bucket: str, place: int) -> None:
    answer = upload(server, bucket, SIGNED, spoil=flip(place))
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert untouched(server, bucket)


def test_chunks_that_change_places_are_refused(server: Server, bucket: str) -> None:
    def swap(body: bytes) -> bytes:
        first = body.index(CHUNKS[0]) + len(CHUNKS[0]) + 2
        second = body.index(CHUNKS[1]) + len(CHUNKS[1]) + 2
        return body[first:second] + body[:first] + body[second:]

    assert upload(server, bucket, SIGNED, spoil=swap).code == "SignatureDoesNotMatch"
    assert untouched(server, bucket)


def test_a_missing_last_chunk_is_refused(server: Server, bucket: str) -> None:
    def cut(body: bytes) -> bytes:
        return body[: body.index(CHUNKS[2]) + len(CHUNKS[2]) + 2]

    assert upload(server, bucket, SIGNED, spoil=cut).code == "IncompleteBody"
    assert untouched(server, bucket)


@pytest.mark.parametrize("mode", [SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER])
@pytest.mark.parametrize("length", [len(BODY) - 1, len(BODY) + 1])
def test_a_body_shorter_or_longer_than_announced_is_refused(
    server: Server, bucket: str, mode: str, length: int
) -> None:
    answer = upload(server, bucket, mode, None if mode == SIGNED else CRC, length)
    assert (answer.status, answer.code) == (400, "IncompleteBody")
    assert untouched(server, bucket)


@pytest.mark.parametrize("mode", [SIGNED_TRAILER, UNSIGNED_TRAILER])
def test_a_wrong_checksum_in_a_trailer_is_refused(server: Server, bucket: str, mode: str) -> None:
    answer = upload(server, bucket, mode, "AAAAAA==")
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert untouched(server, bucket)


def test_a_changed_trailer_is_refused(server: Server, bucket: str) -> None:
    def change(body: bytes) -> bytes:
        return body.replace(f"crc32:{CRC}".encode(), b"crc32:AAAAAA==")

    assert upload(server, bucket, SIGNED_TRAILER, CRC, spoil=change).code == "SignatureDoesNotMatch"
    assert untouched(server, bucket)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: b"zz\r\n" + body,
        lambda body: b"\r\n" + body,
        lambda body: b"1" * 300 + body,
        lambda body: body.replace(b"\r\n", b"XX", 1),
        lambda body: body + b"more",
        lambda body: body[:-2] + b"x: y\r\n" * 2000 + b"\r\n",
        lambda body: b"-1\r\n" + body,
    ],
)
def test_framing_that_is_none_is_refused(server: Server, bucket: str, spoil: Callable[[bytes], bytes]) -> None:
    answer = upload(server, bucket, UNSIGNED_TRAILER, CRC, spoil=spoil)
    assert answer.status == 400, answer.body
    assert untouched(server, bucket)


def test_small_chunks_in_the_middle_are_refused(server: Server, bucket: str) -> None:
    answer = upload(server, bucket, SIGNED, length=300, chunks=[b"x" * 100] * 3)
    assert answer.code == "InvalidChunkSizeError"


def test_a_body_in_chunks_has_to_say_its_length(server: Server, bucket: str) -> None:
    headers = signed_headers(server, "PUT", f"/{bucket}/o", payload=SIGNED)
    answer = send(server, "PUT", f"/{bucket}/o", headers, b"0\r\n\r\n")
    assert (answer.status, answer.code) == (411, "MissingContentLength")


def test_what_the_signer_of_these_tests_does_is_what_the_reference_says() -> None:
    # The example of "Transferring Payload in Multiple Chunks" in the Amazon S3 API reference.
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    signer = Signer({"X-Amz-Date": "20130524T000000Z", "Authorization": f"Signature={seed}"})
    key = b"AWS4wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    for step in signer.scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signer.key = key
    first = signer.next("PAYLOAD", EMPTY, hashlib.sha256(b"a" * 65_536).hexdigest())
    assert first == "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
