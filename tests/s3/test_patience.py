"""What takes longer than clients wait: the answer is begun in time, and says at its end how it went."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from xml.etree import ElementTree

import pytest

from strongroom.s3 import app as s3_app
from strongroom.s3 import patience
from strongroom.s3.app import S3App
from strongroom.s3.call import Answer, Call, Headers
from strongroom.s3.errors import S3Error
from strongroom.s3.model import Response
from strongroom.s3.observing import Seen
from strongroom.s3.patience import patiently
from strongroom.s3.request import ClientGone
from strongroom.sealed.faults import Unavailable
from strongroom.sealed.writing import AnyObjectWriter
from strongroom.serving.protocol import Protocol, Server
from tests.waiting import until

DOCUMENT = b'<?xml version="1.0" encoding="UTF-8"?>\n<CopyObjectResult><ETag>x</ETag></CopyObjectResult>'
PART = "?partNumber=1&uploadId=u"
HEAD = (
    "PUT /bucket/key{} HTTP/1.{}\r\nhost: a\r\n"
    "x-amz-copy-source: /a/b\r\norigin: https://a\r\ncontent-length: 0\r\n\r\n"
)


def request(query: str = "", minor: int = 1) -> bytes:
    """The head of a request to copy an object, or a part of one."""
    return HEAD.format(query, minor).encode()


class Relay:
    """Answers a copy with what it is given, once it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.outcome: Response | Exception = Response(200, [("etag", "x")], DOCUMENT)
        self.done = False

    async def relay(self, call: Call, operation: str) -> tuple[Answer, Response]:
        assert operation in ("CopyObject", "UploadPartCopy")
        await self.let.wait()
        self.done = True
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return Answer(), self.outcome

    def form(self, *arguments: Any) -> AnyObjectWriter:
        raise AssertionError


class Watching:
    """An observer that keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    def begun(self, seen: Seen, /) -> None:
        """Nothing."""

    def ended(self, seen: Seen, /) -> None:
        """Keep it."""
        self.seen.append(seen)


@pytest.fixture(autouse=True)
def no_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    class Anybody:
        access_key, payload, signed = "somebody", None, frozenset[str]()

    monkeypatch.setattr(s3_app, "authenticate", lambda *_: Anybody)
    monkeypatch.setattr(patience, "SECONDS", 0.05)


@asynccontextmanager
async def served(relay: Relay, watching: Watching) -> AsyncIterator[socket.socket]:
    """A connection to an application before this relay."""
    loop = asyncio.get_running_loop()
    objects: Any = type("NoObjects", (), {"buckets": None, "uploads": None})
    server = Server(S3App(objects, {}, relay=relay, observer=watching), 5.0)
    begun = await loop.create_server(lambda: Protocol(server, loop), "127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, begun.sockets[0].getsockname())
        try:
            yield client
        finally:
            begun.close()
            for connection in list(server.connections):
                connection.transport.abort()
            await asyncio.sleep(0.01)


async def received(client: socket.socket, ending: bytes) -> bytes:
    """What comes, until it ends so; the rest where the connection ends."""
    came = bytearray()
    async with asyncio.timeout(10):
        while not came.endswith(ending) or not ending:
            piece = await asyncio.get_running_loop().sock_recv(client, 65536)
            if not piece:
                break
            came += piece
    return bytes(came)


def unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole, body = whole + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return whole


Scene = Callable[[Relay, Watching, socket.socket], Awaitable[Any]]


def play(scene: Scene) -> Any:
    async def main() -> Any:
        relay, watching = Relay(), Watching()
        async with served(relay, watching) as client:
            return await scene(relay, watching, client)

    return asyncio.run(main())


def test_what_is_quick_is_answered_as_ever() -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> bytes:
        relay.let.set()
        await asyncio.get_running_loop().sock_sendall(client, request())
        return await received(client, b"</CopyObjectResult>")

    head, _, body = play(scene).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head and b"etag: x" in head
    assert body == DOCUMENT


@pytest.mark.parametrize("minor", [0, 1])
def test_a_slow_answer_is_begun_and_ends_with_its_document(minor: int) -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> tuple[bytes, list[Seen]]:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(client, request(minor=minor))
        begun = await received(client, b" " if minor == 0 else b" \r\n")
        relay.let.set()
        came = begun + await received(client, b"0\r\n\r\n" if minor else b"")
        if minor:  # the connection takes the next request
            await loop.sock_sendall(client, request())
            assert (await received(client, b"</CopyObjectResult>")).endswith(b"\r\n\r\n" + DOCUMENT)
        return came, watching.seen

    came, seen = play(scene)
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"content-length" not in head
    for expected in (b"content-type: application/xml", b"access-control-allow-origin: *", b"x-amz-request-id: "):
        assert expected in head
    assert (b"transfer-encoding: chunked" in head) == bool(minor) != (b"connection: close" in head)
    document = unchunked(body) if minor else body
    assert ElementTree.fromstring(document).findtext("ETag") == "x"
    assert document.count(b"<?xml") == 1 and b"\n \n" in document
    assert (seen[0].status, seen[0].error) == (200, "")


def test_a_slow_answer_without_a_document_ends_once() -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> bytes:
        relay.outcome = Response(200, [], b"")
        await asyncio.get_running_loop().sock_sendall(client, request())
        begun = await received(client, b" \r\n")
        relay.let.set()
        ended = await received(client, b"0\r\n\r\n")
        await asyncio.get_running_loop().sock_sendall(client, b"rubbish\r\n\r\n")
        return begun + ended + await received(client, b"")

    assert b"0\r\n\r\n0\r\n\r\n" not in play(scene)


@pytest.mark.parametrize(
    ("outcome", "code", "status"),
    [
        (S3Error("AccessDenied"), "AccessDenied", 403),
        (RuntimeError("boom"), "InternalError", 500),
        (Response(412, [], b"<Error><Code>PreconditionFailed</Code></Error>"), "PreconditionFailed", 412),
        (Response(502, [], b"<html>Bad gateway</html>"), "InternalError", 500),
        (Response(503, [], b""), "InternalError", 500),
    ],
)
def test_a_slow_answer_that_fails_ends_with_the_error(outcome: Response | Exception, code: str, status: int) -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> tuple[bytes, list[Seen]]:
        relay.outcome = outcome
        await asyncio.get_running_loop().sock_sendall(client, request(PART))
        begun = await received(client, b" \r\n")
        relay.let.set()
        return begun + await received(client, b"0\r\n\r\n"), watching.seen

    came, seen = play(scene)
    head, _, body = came.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    error = ElementTree.fromstring(unchunked(body))
    assert (error.tag, error.findtext("Code")) == ("Error", code)
    assert seen[0].status == status


@pytest.mark.parametrize("outcome", [S3Error("AccessDenied"), Response(412, [], b"<Error><Code>A</Code></Error>")])
def test_a_slow_copy_that_fails_does_not_look_like_one_that_succeeded(outcome: Response | Exception) -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> tuple[bytes, list[Seen]]:
        relay.outcome = outcome
        await asyncio.get_running_loop().sock_sendall(client, request())
        begun = await received(client, b" \r\n")
        relay.let.set()
        return begun + await received(client, b""), watching.seen

    came, seen = play(scene)
    assert came.endswith(b" \r\n") and b"<Error" not in came  # neither a document nor the last chunk
    assert seen[0].status >= 400 and seen[0].error


def test_what_is_under_way_is_finished_though_the_client_goes() -> None:
    async def scene(relay: Relay, watching: Watching, client: socket.socket) -> tuple[bool, list[Seen]]:
        await asyncio.get_running_loop().sock_sendall(client, request())
        await received(client, b" \r\n")
        client.close()
        await asyncio.sleep(0.2)
        relay.let.set()
        await until(lambda: bool(watching.seen))
        return relay.done, watching.seen

    done, seen = play(scene)
    assert done
    assert seen[0].error == "ClientGone"


class Unready:
    """An exchange whose body has not come."""

    ready = started = False


class Ready:
    """An exchange that waits for its answer."""

    ready, started = True, False


def test_work_goes_on_where_the_headers_cannot_be_had() -> None:
    asked = []

    async def opening() -> Headers:
        asked.append(True)
        raise Unavailable("the rules of the bucket cannot be read")

    async def main() -> int:
        exchange: Any = Ready()
        return await patiently(exchange, opening, asyncio.sleep(0.2, 5))

    assert asyncio.run(main()) == 5
    assert len(asked) > 1


def test_nothing_is_begun_while_the_body_is_awaited_and_work_ends_with_its_request() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ended.append(True)

    async def main() -> None:
        exchange: Any = Unready()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(patiently(exchange, never, work()), 0.2)

    asyncio.run(main())
    assert ended == [True]


def never() -> Coroutine[Any, Any, Any]:
    raise ClientGone  # nobody asks for headers
