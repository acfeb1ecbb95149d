"""What an operation costs the gateway to another S3: requests of the backend, connections, timers, hops to threads."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import unquote

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.sealed.dare import PACKAGE, Sealer, new_nonce
from strongroom.sealed.keys import ObjectKey, part_key
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.reading import Layout, SealedBody
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret
from strongroom.sigv4 import SigningCredential
from strongroom.store.base import Reader, Stored, Upload
from strongroom.store.s3 import Client, S3Store, buckets, parse_endpoint, putting
from strongroom.store.s3 import pool as pools
from strongroom.store.s3.connecting import Connector
from strongroom.store.s3.pool import Pool
from strongroom.store.s3.uploads import OpenUpload, Uploads

MIB = 1024**2


class Backend:
    """An S3 that holds objects in memory, each with the headers that it came with; ``name`` is what it calls itself."""

    def __init__(self, name: str = "Other") -> None:
        self._name = name
        self._objects: dict[str, tuple[list[str], bytes]] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            line, *headers = head.split("\r\n")
            method, target, _ = line.split(" ")
            path, _, query = target.partition("?")
            length = next((int(h[16:]) for h in headers if h.startswith("content-length: ")), 0)
            body = await reader.readexactly(length)
            writer.write(self._answer(method, unquote(path), query, headers, body))
        writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> str:
        try:
            return (await reader.readuntil(b"\r\n\r\n")).decode().strip()
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""

    def _answer(self, method: str, path: str, query: str, headers: list[str], body: bytes) -> bytes:
        if method == "PUT" and path.count("/") > 1:
            self._objects[path] = ([h for h in headers if h.startswith("x-amz-meta-")], body)
        elif method == "GET" and "list-type" in query:
            return self._framed(200, [], self._listing(path).encode())
        elif path.count("/") > 1:
            if path not in self._objects:
                return self._framed(404, [], b"" if method == "HEAD" else b"<Error><Code>NoSuchKey</Code></Error>")
            kept, content = self._objects[path]
            asked = next((h.partition("=")[2].split("-") for h in headers if h.startswith("range: ")), None)
            piece = content[int(asked[0]) : int(asked[1]) + 1] if asked else content
            status = 206 if asked else 200
            return self._framed(status, [*kept, _etag(content)], piece, bodiless=method == "HEAD")
        return self._framed(200, [_etag(body)], b"")

    def _framed(self, status: int, headers: list[str], body: bytes, bodiless: bool = False) -> bytes:
        lines = [f"HTTP/1.1 {status} X", *headers, f"content-length: {len(body)}", f"server: {self._name}", "", ""]
        return "\r\n".join(lines).encode() + (b"" if bodiless else body)

    def _listing(self, path: str) -> str:
        rows = [
            f"<Contents><Key>{name.removeprefix(path + '/')}</Key><Size>{len(body)}</Size>"
            f"<ETag>{_etag(body)[6:]}</ETag><LastModified>2026-01-01T00:00:00Z</LastModified>"
            f"{self._metadata(headers)}</Contents>"
            for name, (headers, body) in sorted(self._objects.items())
            if name.startswith(path + "/o")
        ]
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>" if rows[1000:] else ""
        return f"<ListBucketResult>{''.join(rows[:1000])}{more}</ListBucketResult>"

    def _metadata(self, headers: list[str]) -> str:
        if self._name != "MinIO":
            return ""
        pairs = [header.split(": ") for header in headers]
        return f"<UserMetadata>{''.join(f'<{name}>{value}</{name}>' for name, value in pairs)}</UserMetadata>"


def _etag(body: bytes) -> str:
    return f"etag: {hashlib.md5(body).hexdigest()}"


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What is counted from now on."""
    counts: Counter[str] = Counter()

    def counting(where: Any, name: str, what: str) -> None:
        real = getattr(where, name)

        def counted(self: Any, *args: Any, **options: Any) -> Any:
            counts[what] += 1
            return real(self, *args, **options)

        monkeypatch.setattr(where, name, counted)

    monkeypatch.setattr(pools, "LOOK", 3600.0)  # the timer that all requests share
    counting(Pool, "request", "requests")
    counting(Connector, "open", "connections")
    counting(asyncio.BaseEventLoop, "call_at", "timers")
    counting(ThreadPoolExecutor, "submit", "hops")
    yield counts


def cost(
    counts: Counter[str], backend: Backend, work: Callable[[SealedStore], Awaitable[object]], objects: int = 1
) -> dict[str, int]:
    """The counts of ``work`` at a gateway that has spoken to its backend before, which holds these many objects."""

    async def run() -> dict[str, int]:
        server = await asyncio.start_server(backend, "127.0.0.1", 0)
        endpoint = parse_endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        own = SigningCredential("access", Secret("secret"))
        outer = S3Store(Client(endpoint, "us-east-1", own, chain=False))
        kms = StaticKMS("key", Secret(bytes(32)))
        store = SealedStore(outer, kms, auto_encrypt=True, upload_secret=Secret("x"), defaults_seconds=60)
        await store.start()
        for number in range(objects):
            await put(store, f"o{number}")
        counts.clear()
        await work(store)
        seen = {name: count for name, count in counts.items() if count}
        await store.stop()
        server.close()
        return seen

    return asyncio.run(run())


async def put(store: SealedStore, key: str, size: int = 4096) -> None:
    writer = await store.begin("bucket", key, None, size)
    await writer.write(bytes(size))
    await writer.finish()
    await writer.commit(Description({"content-type": "text/plain"}))


async def get(store: SealedStore, key: str) -> None:
    source = await store.open("bucket", key)
    assert (await source.body()).at_once(0, 4096) == bytes(4096)
    await source.close()


async def page(store: SealedStore, objects: int) -> None:
    listing = await store.list("bucket", "", "", "", 1000)
    assert len(listing.objects) == objects


def test_a_small_get_is_one_request_over_a_connection_that_is_there(counts: Counter[str]) -> None:
    assert cost(counts, Backend(), lambda store: get(store, "o0")) == {"requests": 1}


def test_a_head_is_one_request(counts: Counter[str]) -> None:
    assert cost(counts, Backend(), lambda store: store.head("bucket", "o0")) == {"requests": 1}


def test_a_small_put_into_a_known_bucket_is_one_request(counts: Counter[str]) -> None:
    assert cost(counts, Backend(), lambda store: put(store, "o1"))["requests"] == 1


def test_a_page_with_metadata_is_one_request(counts: Counter[str]) -> None:
    assert cost(counts, Backend("MinIO"), lambda store: page(store, 300), 300)["requests"] == 1


def test_a_full_page_is_one_request_too(counts: Counter[str]) -> None:
    assert cost(counts, Backend("MinIO"), lambda store: page(store, 1000), 1001)["requests"] == 1


def test_a_page_without_metadata_asks_for_each_object_once_and_shares_connections(counts: Counter[str]) -> None:
    async def twice(store: SealedStore) -> None:
        await page(store, 300)
        await page(store, 300)

    seen = cost(counts, Backend(), twice, 300)
    assert seen["requests"] == 302
    assert seen["connections"] < 130


class Keyed(Backend):
    """Its objects are under clients' keys."""

    def _answer(self, method: str, path: str, query: str, headers: list[str], body: bytes) -> bytes:
        if method in ("GET", "HEAD") and path.startswith("/bucket/o"):
            return self._framed(400, [], b"" if method == "HEAD" else b"<Error><Code>InvalidRequest</Code></Error>")
        return super()._answer(method, path, query, headers, body)


def test_a_page_of_objects_under_clients_keys_asks_for_each_once(
    counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.store.s3.client._SURE", 60.0)  # the listing itself was answered just before
    assert cost(counts, Keyed(), lambda store: page(store, 300), 300)["requests"] == 301


def test_open_uploads_of_a_bucket_that_is_removed_are_aborted_side_by_side(
    counts: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0

    async def abort(*_: object) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    async def fifty(_: Uploads, bucket: str) -> list[OpenUpload]:
        return [OpenUpload(Upload(f"o{number}", "id", 0, {}), "backend's id") for number in range(50)]

    monkeypatch.setattr(buckets, "abort_backend_upload", abort)
    monkeypatch.setattr(Uploads, "all", fifty)
    cost(counts, Backend(), lambda store: store.delete_bucket("bucket"), objects=0)
    assert most == 50


@pytest.mark.parametrize("length", [2 * MIB, 3 * MIB], ids=["range", "whole"])
def test_long_answers_that_wait_for_short_ones_leave_connections_for_them(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """For records that lie apart, and for last packages, where they have to prove a nonce."""
    monkeypatch.setattr(pools, "CONNECTIONS", 4)
    monkeypatch.setattr(putting, "inline_headers", lambda *_: None)
    monkeypatch.setattr("strongroom.sealed.store.only_nonce", lambda _: new_nonce())

    async def read(store: SealedStore) -> int:
        source = await store.open("bucket", "large", whole=length == 3 * MIB)
        received = sum([len(piece) async for piece in (await source.body()).stream(0, length)])
        await source.close()
        return received

    async def twenty(store: SealedStore) -> None:
        await put(store, "large", 3 * MIB)
        async with asyncio.timeout(20):
            assert await asyncio.gather(*[read(store) for _ in range(20)]) == [length] * 20

    cost(Counter(), Backend(), twenty, objects=0)


def test_an_object_of_many_parts_is_asked_for_once() -> None:
    asked: list[tuple[int, int]] = []
    sizes, key = [200_000, 0, 65_536, 1, 300_000], ObjectKey(bytes(32))
    plaintext = os.urandom(sum(sizes))
    data, at, entries = bytearray(), 0, []
    for number, size in enumerate(sizes, 1):
        nonce = new_nonce()
        sealed = Sealer(part_key(key, number), nonce).seal(plaintext[at : at + size], True) if size else b""
        data += sealed
        at += size
        entries.append(PartEntry(number, size, nonce, bytes(16)))

    class Streamed:
        read = None
        stored = Stored("o", len(data), 0, {}, "x")

        async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
            asked.append((start, length))
            for begin in range(start, start + length, 70_000):
                yield bytes(data[begin : min(begin + 70_000, start + length)])

    async def read(start: int, length: int) -> bytes:
        with ThreadPoolExecutor(1) as pool:
            body = SealedBody(pool, cast(Reader, Streamed()), Layout(key, len(plaintext), entries), "o")
            return b"".join([bytes(piece) async for piece in body.stream(start, length)])

    for start, length in ((0, len(plaintext)), (150_000, 200_000), (200_000, 65_537), (265_535, 2), (7, 3)):
        asked.clear()
        assert asyncio.run(read(start, length)) == plaintext[start : start + length]
        assert len(asked) == 1 and asked[0][1] <= length + 2 * PACKAGE + 200
