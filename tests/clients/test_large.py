"""Large objects, many at once: they come back as they were sent, and the server's memory stays bounded.

The sizes of every run are small enough for it; ``make test-large`` runs the full ones (marked ``large``).
"""

from __future__ import annotations

import hashlib
import http.client
import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig

from tests.clients.content import MARKER, marked, plaintext_in
from tests.server import Server

MIB, GIB = 1024**2, 1024**3
MEMORY = 300 * MIB
"""What a worker may take, at its peak."""


@pytest.fixture
def large_server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own that encrypts everything; what it stored is searched for plaintext, and removed."""
    try:
        with Server(tmp_path / "server") as running:
            running.client().create_bucket(Bucket="large")
            yield running
            print(f"at its peak, a worker took {running.peak_memory() // MIB} MiB")  # pytest -rP shows it
            assert plaintext_in(running.directory) == []
    finally:
        shutil.rmtree(tmp_path / "server", ignore_errors=True)


class Stream(io.RawIOBase):
    """``size`` bytes that are made as they are read; no two blocks are alike. ``sha256`` is of what was read."""

    def __init__(self, size: int, seed: int) -> None:
        self._left = size
        self._block = marked(MIB, seed)[len(MARKER) + 8 :]
        self._number = 0
        self._rest = b""
        self.sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(MIB):
            yield block

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        pieces, wanted = [self._rest], size
        while sum(map(len, pieces)) < wanted:
            pieces += [self._number.to_bytes(8, "big"), MARKER, self._block]
            self._number += 1
        joined = b"".join(pieces)
        piece, self._rest = joined[:wanted], joined[wanted:]
        self._left -= len(piece)
        self.sha256.update(piece)
        return piece


def put(server: Server, key: str, size: int, seed: int = 0) -> str:
    """Send an object with one PUT; the SHA-256 of what was sent."""
    stream = Stream(size, seed)
    client = server.client(signature_version="s3v4")
    url = client.generate_presigned_url("put_object", {"Bucket": "large", "Key": key})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    path = url.removeprefix(server.endpoint)
    connection.request("PUT", path, body=iter(stream), headers={"Content-Length": str(size)})
    assert connection.getresponse().status == 200
    connection.close()
    return stream.sha256.hexdigest()


def put_in_parts(server: Server, key: str, size: int, seed: int = 0) -> str:
    """Send an object in parts of 16 MiB, four at a time; the SHA-256 of what was sent."""
    stream = Stream(size, seed)
    parts = TransferConfig(multipart_threshold=16 * MIB, multipart_chunksize=16 * MIB, max_concurrency=4)
    server.client().upload_fileobj(stream, "large", key, Config=parts)
    return stream.sha256.hexdigest()


def get(server: Server, key: str) -> str:
    """Read an object; the SHA-256 of what came."""
    sha256 = hashlib.sha256()
    for chunk in server.client().get_object(Bucket="large", Key=key)["Body"].iter_chunks(MIB):
        sha256.update(chunk)
    return sha256.hexdigest()


def sizes(small: int, full: int) -> pytest.MarkDecorator:
    """Runs a test with a small size always, and with the full one where large tests are asked for."""
    return pytest.mark.parametrize("size", [small, pytest.param(full, marks=pytest.mark.large)])


@sizes(256 * MIB, GIB)
def test_eight_clients_at_once_leave_the_memory_of_a_worker_bounded(large_server: Server, size: int) -> None:
    ways = [put, put_in_parts] * 4
    with ThreadPoolExecutor(len(ways)) as clients:
        uploads = [clients.submit(way, large_server, f"{number}", size, seed=number) for number, way in enumerate(ways)]
        sent = [upload.result() for upload in uploads]
        after_uploads = large_server.peak_memory()
        came = list(clients.map(lambda number: get(large_server, f"{number}"), range(len(ways))))
    assert came == sent
    assert len(set(sent)) == len(ways)
    assert after_uploads < MEMORY
    assert large_server.peak_memory() < MEMORY


@sizes(512 * MIB, 5 * GIB)
def test_a_large_object_in_one_put(large_server: Server, size: int) -> None:
    sent = put(large_server, "one", size)
    head = large_server.client().head_object(Bucket="large", Key="one")
    assert (head["ContentLength"], head["ServerSideEncryption"]) == (size, "AES256")
    assert get(large_server, "one") == sent
    assert large_server.peak_memory() < MEMORY


@sizes(512 * MIB, 5 * GIB)
def test_a_large_object_in_parts(large_server: Server, size: int) -> None:
    sent = put_in_parts(large_server, "parts", size)
    head = large_server.client().head_object(Bucket="large", Key="parts")
    assert (head["ContentLength"], head["ServerSideEncryption"]) == (size, "AES256")
    assert head["ETag"].endswith(f'-{size // (16 * MIB)}"')
    assert get(large_server, "parts") == sent
    assert large_server.peak_memory() < MEMORY
