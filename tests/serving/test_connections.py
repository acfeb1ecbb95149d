"""How connections end: each with its response, none for ever. The server side runs in the process of the tests."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from strongroom.serving.exchange import Answer, Exchange
from strongroom.serving.protocol import Protocol, Server
from strongroom.serving.tls import Certificate
from tests.certificates import make_certificates
from tests.waiting import until

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SIZE = 60_000
"""Of a response that the kernel does not hold here, and of which the transport holds too little to say so."""


@asynccontextmanager
async def connected(answer: Answer, idle_timeout: float) -> AsyncIterator[tuple[Server, socket.socket]]:
    """A server, and a connection to it for which the kernel holds little."""
    loop = asyncio.get_running_loop()
    server = Server(answer, idle_timeout)
    with socket.socket() as listening, socket.socket() as client:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        begun = await loop.create_server(lambda: Protocol(server, loop), sock=listening)
        await loop.sock_connect(client, listening.getsockname())
        try:
            yield server, client
        finally:
            begun.close()
            for connection in list(server.connections):
                connection.transport.abort()
            await asyncio.sleep(0.05)


async def until_closed(client: socket.socket) -> bytes:
    received = bytearray()
    async with asyncio.timeout(10):
        while piece := await asyncio.get_running_loop().sock_recv(client, 65536):
            received += piece
    return bytes(received)


def leave(_server: Server, _client: socket.socket) -> None:
    """Nothing more happens."""


def send_no_more(_server: Server, client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def shut_down(server: Server, _client: socket.socket) -> None:
    for connection in list(server.connections):
        connection.shutdown()


async def fail(exchange: Exchange) -> None:
    await exchange.begin(200, [], SIZE + 1)
    await exchange.write(bytes(SIZE))
    raise ConnectionAbortedError


async def succeed(exchange: Exchange) -> None:
    await exchange.respond(200, [], SIZE, bytes(SIZE))


@pytest.mark.parametrize(
    ("answer", "request_", "then"),
    [
        (succeed, LAST, leave),
        (succeed, GET, leave),
        (succeed, GET, send_no_more),
        (succeed, GET, shut_down),
        (fail, GET, leave),
    ],
    ids=["last request", "kept connection", "half-closed connection", "end of the server", "failed response"],
)
def test_a_client_that_never_takes_the_end_of_its_response_does_not_keep_its_connection(
    answer: Answer, request_: bytes, then: Callable[[Server, socket.socket], None]
) -> None:
    async def wait() -> None:
        begun: list[Exchange] = []

        async def answer_and_tell(exchange: Exchange) -> None:
            begun.append(exchange)
            await answer(exchange)

        async with connected(answer_and_tell, 0.3) as (server, client):
            await asyncio.get_running_loop().sock_sendall(client, request_)
            await until(lambda: bool(begun) and not server.tasks)
            assert server.connections
            then(server, client)
            await until(lambda: not server.connections)

    uvloop.run(wait())


def test_a_client_that_takes_the_end_of_its_response_slowly_gets_all_of_it() -> None:
    async def take() -> None:
        loop = asyncio.get_running_loop()
        async with connected(succeed, 0.5) as (_server, client):
            await loop.sock_sendall(client, LAST)
            received = 0
            async with asyncio.timeout(10):
                while piece := await loop.sock_recv(client, 4096):
                    received += len(piece)
                    await asyncio.sleep(0.1)
            assert received > SIZE

    uvloop.run(take())


@pytest.mark.parametrize(("sent", "answers"), [(GET, 1), (GET + GET + GET, 2)], ids=["one request", "several"])
def test_a_response_under_way_when_the_server_ends_is_finished_and_its_connection_closed(
    sent: bytes, answers: int
) -> None:
    """A request that waits behind it is answered, and told that the connection ends."""

    async def end() -> None:
        go_on = asyncio.Event()

        async def answer(exchange: Exchange) -> None:
            await exchange.begin(200, [], 2)
            await exchange.write(b"a")
            await go_on.wait()
            await exchange.write(b"b")
            await exchange.end()

        async with connected(answer, 3600) as (server, client):
            await asyncio.get_running_loop().sock_sendall(client, sent)
            await until(lambda: bool(server.tasks))
            await asyncio.sleep(0.05)
            shut_down(server, client)
            go_on.set()
            received = await until_closed(client)
            assert received.endswith(b"\r\n\r\nab")
            assert received.count(b"HTTP/1.1 200") == answers

    uvloop.run(end())


def test_a_request_that_is_on_its_way_when_the_server_ends_is_still_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies keep connections: each would lose the request that it has just sent on one of them."""
    monkeypatch.setattr("strongroom.serving.protocol.ON_ITS_WAY", 3600.0)

    async def end() -> None:
        async with connected(succeed, 3600) as (server, client):
            await until(lambda: bool(server.connections))
            client.send(GET)
            shut_down(server, client)  # before the event loop reads anything
            head, _, body = (await until_closed(client)).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and b"connection: close" in head
            assert len(body) == SIZE

    uvloop.run(end())


@pytest.mark.parametrize(
    "sent", [GET, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1234"], ids=["whole", "half"]
)
@pytest.mark.parametrize("secure", [True, False], ids=["TLS", "plain"])
def test_a_connection_that_is_over_leaves_nothing_for_the_garbage_collector(
    tmp_path: Path, secure: bool, sent: bytes
) -> None:
    """It looks seldom, and what TLS needs of memory it does not see: servers grew by hundreds of MiB."""
    certs = make_certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certs / "ca.crt")) if secure else None
    context = Certificate(certs / "public.crt", certs / "private.key").context() if secure else None

    async def answer(exchange: Exchange) -> None:
        while await exchange.receive():
            pass
        await exchange.respond(200, [], 2, b"ok")

    async def come_and_go() -> None:
        server, loop = Server(answer, 10.0), asyncio.get_running_loop()
        begun = await loop.create_server(lambda: Protocol(server, loop), "127.0.0.1", 0, ssl=context)
        _, writer = await asyncio.open_connection(*begun.sockets[0].getsockname(), ssl=trusting)
        writer.write(sent)
        await until(lambda: any(connection._latest for connection in server.connections))
        connections = [weakref.ref(connection) for connection in server.connections]
        writer.close()
        await until(lambda: not any(connection() for connection in connections))
        begun.close()

    gc.disable()
    try:
        uvloop.run(come_and_go())
    finally:
        gc.enable()
