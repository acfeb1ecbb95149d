"""Long bodies, most of which the parser never sees: whole, in order, and no byte of the next request among them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import socket
import time
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from strongroom.serving.exchange import Exchange
from strongroom.serving.protocol import Protocol, Server
from strongroom.serving.straight import BLOCK, WORTH, StraightBody
from tests.serving.conftest import Start, until_closed
from tests.serving.test_tls import trusting, write_pair

HEAD = b"PUT /digest HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
LAST = b"GET /request HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SIZES = [WORTH - 1, WORTH, WORTH + 1, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + WORTH, 5 * BLOCK + 7]


def answers(connection: socket.socket) -> list[bytes]:
    """The bodies of all responses that come until the server closes."""
    return [part.partition(b"\r\n\r\n")[2] for part in until_closed(connection).split(b"HTTP/1.1 ")[1:]]


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@given(st.integers(0, 3 * BLOCK), st.integers(1, 3 * BLOCK), st.lists(st.integers(9_999, BLOCK), min_size=1))
def test_blocks_are_what_came_and_end_at_their_multiples(seen: int, left: int, counts: list[int]) -> None:
    body = os.urandom(left)
    blocks: list[bytearray] = []
    straight = StraightBody(seen, left, blocks.append)
    at, whole = 0, False
    for wanted in itertools.cycle(counts):
        if whole:
            break
        room = straight.buffer()
        count = min(len(room), wanted)
        room[:count] = body[at : at + count]
        at += count
        whole = straight.updated(count)
    assert b"".join(blocks) == body
    ends = [seen + sum(map(len, blocks[:number])) for number in range(1, len(blocks))]
    assert all(end % BLOCK == 0 for end in ends)


@pytest.mark.parametrize("size", SIZES)
def test_what_follows_a_long_body_at_once_is_the_next_request(start: Start, size: int) -> None:
    first, second = os.urandom(size), os.urandom(size)
    with start().connect() as connection:
        connection.sendall(HEAD % size + first + HEAD % size + second + LAST)
        found = answers(connection)
    assert found[:2] == [digest(first), digest(second)]
    assert len(found) == 3


@pytest.mark.parametrize("piece", [1000, 70_001])
def test_a_long_body_may_come_in_any_pieces(start: Start, piece: int) -> None:
    body = os.urandom(3 * BLOCK + 5)
    with start().connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HEAD % len(body))
        for begin in range(0, len(body), piece):
            connection.sendall(body[begin : begin + piece])
        connection.sendall(LAST)
        assert answers(connection)[0] == digest(body)


def test_a_long_body_comes_whole_over_tls(start: Start, tmp_path: Path) -> None:
    write_pair(tmp_path / "certs")
    server = start(f"--certs-dir={tmp_path / 'certs'}")
    bodies = [os.urandom(size) for size in SIZES]
    with server.connect() as plain, trusting().wrap_socket(plain) as connection:
        for body in bodies:
            connection.sendall(HEAD % len(body) + body)
        connection.sendall(LAST)
        assert answers(connection)[: len(bodies)] == [digest(body) for body in bodies]


def test_a_body_that_comes_slowly_is_waited_for_and_one_that_stops_is_not(start: Start) -> None:
    """The idle timeout is a second. What comes slowly here does not fill a block in that time."""
    server, size = start(), WORTH + 8000
    with server.connect() as connection:
        begin_slowly(connection, size, pieces=6)
        connection.sendall(bytes(size - 6000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    with server.connect() as connection:
        begun = time.monotonic()
        begin_slowly(connection, size, pieces=3)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 400") and answer.endswith(b"RequestTimeout")
        assert time.monotonic() - begun > 1.5 + 0.5


def begin_slowly(connection: socket.socket, size: int, pieces: int) -> None:
    """Announce a body and send 1,000 bytes of it every half second; none with the head, so all of it goes straight."""
    connection.sendall(HEAD % size)
    for _ in range(pieces):
        time.sleep(0.5)
        connection.sendall(bytes(1000))


def test_a_connection_that_is_lost_amid_a_body_keeps_nothing_of_it() -> None:
    """Else the bytes would lie there until the garbage collector finds the circle that connection and parser are."""

    async def lose() -> None:
        exchanges: list[Exchange] = []
        begun, over = asyncio.Event(), asyncio.Event()

        async def answer(exchange: Exchange) -> None:
            exchanges.append(exchange)
            begun.set()
            await over.wait()

        server, loop = Server(answer, 10.0), asyncio.get_running_loop()
        listening = await loop.create_server(lambda: Protocol(server, loop), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(HEAD % (3 * BLOCK) + bytes(BLOCK + 1000))
        await begun.wait()
        (connection,) = server.connections
        (exchange,) = exchanges
        while connection._straight is None or not exchange._body:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        writer.close()
        while not exchange.gone:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
        assert connection._straight is None and not exchange._body
        over.set()
        listening.close()

    uvloop.run(lose())
