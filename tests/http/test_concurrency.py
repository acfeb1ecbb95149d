"""Several workers on one directory: conditions are decided once, readers see whole objects, acknowledged ones stay."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.http.raw import error_of
from tests.server import Server
from tests.storage import blobs
from tests.uploads import upload_of_one_part
from tests.waiting import comes

pytestmark = pytest.mark.local

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def clients(server: Server) -> list[Any]:
    """Clients with connections of their own, which lie on different workers."""
    return [server.client(max_pool_connections=1) for _ in range(8)]


def test_of_many_that_create_one_object_one_succeeds(clients: list[Any], bucket: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(10):
            put: Any = {"Bucket": bucket, "Key": f"o{number}", "IfNoneMatch": "*"}
            results = list(pool.map(lambda c, put=put: error_of(c.put_object, Body=os.urandom(9), **put), clients))
            assert sorted(results) == [("", 200)] + [("PreconditionFailed", 412)] * 7


def test_of_many_that_replace_what_they_saw_none_is_lost(clients: list[Any], bucket: str) -> None:
    clients[0].put_object(Bucket=bucket, Key="counter", Body=b"0")

    def count(client: Any) -> None:
        for _ in range(5):
            while True:
                got = client.get_object(Bucket=bucket, Key="counter")
                body = str(int(got["Body"].read()) + 1).encode()
                put = {"Bucket": bucket, "Key": "counter", "Body": body, "IfMatch": got["ETag"]}
                if error_of(client.put_object, **put)[1] == 200:
                    break

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, clients))
    assert clients[0].get_object(Bucket=bucket, Key="counter")["Body"].read() == b"40"


def test_of_many_completions_one_makes_the_object(clients: list[Any], bucket: str) -> None:
    for number in range(3):
        key = f"o{number}"

        def upload(client: Any, key: str = key) -> tuple[str, int]:
            target, parts = upload_of_one_part(client, bucket, key, os.urandom(100))
            return error_of(client.complete_multipart_upload, **target, MultipartUpload=parts, IfNoneMatch="*")

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(upload, clients))
        assert sorted(results) == [("", 200)] + [("PreconditionFailed", 412)] * 7


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_readers_see_one_write_or_the_other_never_a_mixture(clients: list[Any], bucket: str, size: int) -> None:
    bodies = [bytes([number]) * size for number in range(4)]
    clients[0].put_object(Bucket=bucket, Key="o", Body=bodies[0], Metadata={"n": "0"})
    stop = threading.Event()
    seen: list[bool] = []

    def write(client: Any, number: int) -> None:
        while not stop.is_set():
            client.put_object(Bucket=bucket, Key="o", Body=bodies[number], Metadata={"n": str(number)})

    def read(client: Any) -> None:
        for _ in range(15):
            got = client.get_object(Bucket=bucket, Key="o")
            seen.append(got["Body"].read() == bodies[int(got["Metadata"]["n"])])

    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(write, clients[number], number) for number in range(4)]
        readers = [pool.submit(read, client) for client in clients[4:]]
        try:
            for reader in readers:
                reader.result(120)
        finally:
            stop.set()
        for writer in writers:
            writer.result(120)
    assert len(seen) == 60 and all(seen)


def test_a_reader_goes_on_with_the_object_that_it_began(server: Server, bucket: str) -> None:
    client, old = server.client(), os.urandom(64 * MIB)
    client.put_object(Bucket=bucket, Key="o", Body=old)
    stream = client.get_object(Bucket=bucket, Key="o")["Body"]
    start = stream.read(MIB)
    client.put_object(Bucket=bucket, Key="o", Body=b"new")
    client.delete_object(Bucket=bucket, Key="o")
    assert start + stream.read() == old


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("killed")) as running:
        running.client().create_bucket(Bucket="bucket")
        yield running


def test_what_was_acknowledged_is_there_after_a_kill(own_server: Server) -> None:
    server = own_server
    acknowledged: dict[str, bytes] = {}
    deleted: set[str] = set()

    def write(number: int, round_: int) -> None:
        client = server.client(max_pool_connections=1)
        try:
            for turn in range(10_000):
                key = f"{number}/{round_}/{turn}"
                body = os.urandom([10, 5_000, 200_000, 2 * MIB][turn % 4])
                client.put_object(Bucket="bucket", Key=key, Body=body)
                acknowledged[key] = body
                if turn % 5 == 4:
                    deleted.add(key)
                    client.delete_object(Bucket="bucket", Key=key)
                    del acknowledged[key]
        except (BotoCoreError, ClientError):
            return  # the server is gone

    for round_ in range(4):
        threads = [threading.Thread(target=write, args=(number, round_)) for number in range(4)]
        before = len(acknowledged)
        for thread in threads:
            thread.start()
        while len(acknowledged) < before + 30:
            threads[0].join(0.01)
        server.kill()
        for thread in threads:
            thread.join(60)
        server.start()
    client = server.client()
    for key, body in acknowledged.items():
        if key not in deleted:
            assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == body
    page = client.list_objects_v2(Bucket="bucket")
    while True:
        for item in page.get("Contents", []):  # unacknowledged ones may be there, but whole
            got = client.get_object(Bucket="bucket", Key=item["Key"])
            assert len(got["Body"].read()) == item["Size"]
        if not page["IsTruncated"]:
            break
        page = client.list_objects_v2(Bucket="bucket", ContinuationToken=page["NextContinuationToken"])
    large = [item for page in client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
             for item in page["Contents"] if item["Size"] > 128 * 1024]  # fmt: skip
    assert server.unfinished_files() == []
    assert comes(lambda: len(blobs(server)) == len(large))
