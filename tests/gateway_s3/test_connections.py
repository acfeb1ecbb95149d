"""Connections to a backend that answers what it likes, byte by byte, and the pool that holds them."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from strongroom.store.s3 import pool as pools
from strongroom.store.s3.connecting import Unreachable
from strongroom.store.s3.connection import MAX_HEAD, MAX_HEADERS, Broken
from strongroom.store.s3.pool import Pool
from strongroom.store.s3.response import BUFFER
from strongroom.store.s3.wire import Outgoing, request_head

T = TypeVar("T")

Script = Callable[["Backend", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ASKED = re.compile(rb"(GET|HEAD|PUT) (\S+) HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n")


class Backend:
    """Does what ``script`` says with each connection, and counts them."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self.heads: list[bytes] = []
        self.tasks: list[asyncio.Task[Any] | None] = []

    async def take(self, reader: asyncio.StreamReader) -> bytes:
        """The head of the next request."""
        head = await reader.readuntil(b"\r\n\r\n")
        assert ASKED.fullmatch(head)
        self.heads.append(head)
        return head

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.append(asyncio.current_task())
        self.connections += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._script(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


class Asking:
    """Requests over a pool."""

    def __init__(self, pool: Pool, host: str, silence: float = 30.0) -> None:
        self.pool = pool
        self.host = host
        self.silence = silence

    async def ask(self, method: str = "GET", body: Any = b"", *, again: bool = True, host: str = "") -> Any:
        """A request's answer, with its body still to be read."""
        length = body.length if isinstance(body, Outgoing) else len(body)
        head = request_head(method, "/b/k", {"host": self.host, "content-length": str(length)})
        return await self.pool.request(
            host or self.host, head, body, bodiless=method == "HEAD", again=again, silence=self.silence
        )

    async def whole(self, method: str = "GET", body: Any = b"", *, again: bool = True) -> tuple[int, bytes]:
        """Status and body of a request's answer."""
        response = await self.ask(method, body, again=again)
        try:
            return response.status, await response.read(10**9)
        finally:
            response.close()


def run(script: Script, use: Callable[[Asking], Awaitable[Any]], *, silence: float = 30.0) -> tuple[Backend, Any]:
    """What ``use`` comes to over a pool of connections to a backend that does what ``script`` says."""
    backend = Backend(script)

    async def started() -> Any:
        server = await asyncio.start_server(backend, "127.0.0.1", 0)
        pool = Pool(None, silence)
        try:
            return await use(Asking(pool, f"127.0.0.1:{server.sockets[0].getsockname()[1]}", silence))
        finally:
            await pool.stop()
            server.close()
            await asyncio.gather(*filter(None, backend.tasks))

    return backend, served(started())


def served(work: Coroutine[Any, Any, T]) -> T:
    """Run on the event loop that gateways have."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def answering(*answers: bytes, split: bool = False) -> Script:
    """A script: one answer for each request, then the last again; the connection ends where the answer says so."""

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await backend.take(reader)
            answer = answers[min(len(backend.heads), len(answers)) - 1]
            for piece in [bytes([byte]) for byte in answer] if split else [answer]:
                writer.write(piece)
                await writer.drain()
                if split:
                    await asyncio.sleep(0)
            if b"content-length" not in answer and b"chunked" not in answer and b" 204 " not in answer:
                return

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\netag: no\r\n\r\n"
WHOLE = [
    ("GET", OK, 200, b"ok", True),
    ("GET", CHUNKED, 200, b"abc", True),
    ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\netag: no\r\n\r\n" + OK, 200, b"ok", True),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b"", True),
    ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 4096\r\n\r\n", 200, b"", True),
    ("HEAD", b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n", 404, b"", True),
    ("PUT", b"HTTP/1.1 503 Slow\r\ncontent-length: 1\r\n\r\nx", 503, b"x", True),
    ("GET", b"HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    ("GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", False),
    ("GET", OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", 200, b"ok", False),
    ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", 200, b"", False),
]


@pytest.mark.parametrize(("method", "answer", "status", "body", "kept"), WHOLE, ids=range(len(WHOLE)))
def test_an_answer_ends_where_its_head_says_and_only_then_the_connection_is_used_again(
    method: str, answer: bytes, status: int, body: bytes, kept: bool
) -> None:
    async def use(asking: Asking) -> None:
        assert await asking.whole(method) == (status, body)
        assert (await asking.whole())[1] == b"ok"

    backend, _ = run(answering(answer, OK), use)
    assert backend.connections == (1 if kept else 2)


@pytest.mark.parametrize(("method", "answer", "status", "body", "kept"), WHOLE[:11], ids=range(11))
def test_an_answer_may_come_in_any_pieces(method: str, answer: bytes, status: int, body: bytes, kept: bool) -> None:
    _, got = run(answering(answer, split=True), lambda asking: asking.whole(method))
    assert got == (status, body)


def test_headers_are_what_the_last_head_says_without_blanks_and_trailers() -> None:
    answer = b"HTTP/1.1 100 Continue\r\nEarly: 1\r\n\r\n" + CHUNKED.replace(
        b"\r\n\r\n", b"\r\nX-Y: \xe4 b \t\r\n\r\n", 1
    )

    async def use(asking: Asking) -> dict[str, str]:
        response = await asking.ask()
        assert await response.read(100) == b"abc"
        return dict(response.headers)

    assert run(answering(answer), use)[1] == {"transfer-encoding": "chunked", "x-y": "ä b"}


def endless(prefix: bytes, piece: bytes) -> Script:
    """A script: an answer that never comes to its end."""

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        writer.write(prefix)
        sent = 0
        while sent < 50 * MAX_HEAD:
            writer.write(piece)
            sent += len(piece)
            await writer.drain()

    return script


@pytest.mark.parametrize(
    ("prefix", "piece"),
    [
        (b"HTTP/1.1 200 ", b"O" * 1000),
        (b"HTTP/1.1 200 OK\r\na: ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 100),
    ],
    ids=["reason", "header", "headers", "interim answers", "chunk extension", "trailers"],
)
def test_what_is_endless_is_not_taken(prefix: bytes, piece: bytes) -> None:
    with pytest.raises(Broken, match="not sound"):
        run(endless(prefix, piece), lambda asking: asking.whole())


@pytest.mark.parametrize(
    "answer",
    [
        b"rubbish\r\n\r\n",
        b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n folded: x\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\na: b\0c\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 000 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n"
        + b"".join(b"a%d: b\r\n" % n for n in range(MAX_HEADERS + 1))
        + b"content-length: 0\r\n\r\n",
    ],
)
def test_what_is_no_sound_http_is_no_answer(answer: bytes) -> None:
    with pytest.raises(Broken, match="not sound"):
        run(answering(answer), lambda asking: asking.whole())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", CHUNKED[:-20], OK[:20], b""])
def test_an_answer_that_is_cut_short_is_none(answer: bytes) -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        writer.write(answer)

    with pytest.raises(Broken):
        run(script, lambda asking: asking.whole())


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n", OK[:-1]])
def test_a_backend_that_falls_silent_is_given_up(sent: bytes) -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        writer.write(sent)
        await reader.read()

    with pytest.raises(TimeoutError):
        run(script, lambda asking: asking.whole(), silence=0.2)


def test_a_backend_that_brings_a_byte_now_and_then_is_given_up() -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    with pytest.raises(TimeoutError):
        run(script, lambda asking: asking.whole(), silence=0.2)


def test_a_backend_that_takes_nothing_of_a_body_is_given_up() -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()

    async def use(asking: Asking) -> None:
        try:
            await asking.whole("PUT", outgoing([bytes(1_000_000)] * 50))
        finally:
            over.set()

    over = asyncio.Event()
    with pytest.raises(TimeoutError):
        run(script, use, silence=0.2)


def test_a_reader_that_takes_its_time_makes_the_backend_wait_and_is_not_taken_for_its_silence() -> None:
    size, sent = 100 * BUFFER, 0

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await backend.take(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            writer.write(bytes(BUFFER))
            sent += BUFFER
            await writer.drain()

    async def use(asking: Asking) -> int:
        response = await asking.ask()
        await asyncio.sleep(0.6)
        assert sent < size / 2
        assert response._size <= 2 * BUFFER
        taken = 0
        while piece := await response.read(3 * BUFFER + 1):
            taken += len(piece)
        return taken

    assert run(script, use, silence=0.2)[1] == size


def outgoing(pieces: list[bytes], length: int | None = None, asked: bool = False) -> Outgoing:
    """A body in pieces."""

    async def given() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return Outgoing(sum(map(len, pieces)) if length is None else length, given, asked)


def test_a_body_that_was_asked_for_first_is_sent_when_the_backend_wants_it() -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await reader.readexactly(6) == b"abcdef"
        writer.write(OK)
        await backend.take(reader)
        writer.write(OK)

    async def use(asking: Asking) -> None:
        assert await asking.whole("PUT", outgoing([b"abc", b"def"], asked=True)) == (200, b"ok")
        assert await asking.whole() == (200, b"ok")

    assert run(script, use)[0].connections == 1


def test_a_body_is_sent_to_a_backend_that_never_says_that_it_wants_it() -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        assert await reader.readexactly(3) == b"abc"
        writer.write(OK)

    async def use(asking: Asking) -> None:
        assert await asking.whole("PUT", outgoing([b"abc"], asked=True)) == (200, b"ok")

    run(script, use)


NO = b"HTTP/1.1 503 Slow Down\r\ncontent-length: 2\r\n\r\nno"


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("early", [NO, OK])
def test_an_answer_before_the_body_ends_the_sending_and_the_connection_and_is_never_a_success(
    early: bytes, asked: bool
) -> None:
    received = 0

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await backend.take(reader)
        writer.write(early if backend.connections == 1 else OK)
        if backend.connections == 1:
            while piece := await reader.read(1_000_000):
                received += len(piece)

    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1000)
            await asyncio.sleep(0.01)

    async def use(asking: Asking) -> None:
        body = Outgoing(10**9, slow, asked)
        if early == NO:
            assert await asking.whole("PUT", body) == (503, b"no")
        else:
            with pytest.raises(Broken, match="not sent yet"):
                await asking.whole("PUT", body)
        assert await asking.whole() == (200, b"ok")

    assert run(script, use)[0].connections == 2
    assert received < 1_000_000


@pytest.mark.parametrize("length", [5, 7])
def test_a_body_of_another_length_than_announced_is_an_error_and_never_the_next_request(length: int) -> None:
    received = b""

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        await backend.take(reader)
        received += await reader.read()

    async def use(asking: Asking) -> None:
        with pytest.raises(ValueError, match="bytes"):
            await asking.whole("PUT", outgoing([b"abc", b"def"], length))

    run(script, use)
    assert len(received) <= length


def test_an_error_of_who_gives_the_body_is_raised_and_ends_the_connection() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise LookupError

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        assert await reader.read() in (b"abc", b"")

    with pytest.raises(LookupError):
        run(script, lambda asking: asking.whole("PUT", Outgoing(6, broken)))


async def given_up(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends the first connection at its second request, as servers do that had begun to close it."""
    await backend.take(reader)
    writer.write(OK)
    await backend.take(reader)
    if backend.connections > 1:
        writer.write(OK)


def test_a_connection_that_the_backend_had_given_up_costs_no_error() -> None:
    async def use(asking: Asking) -> None:
        for _ in range(2):
            assert await asking.whole() == (200, b"ok")

    assert run(given_up, use)[0].connections == 2


def test_a_body_in_pieces_is_sent_anew_where_its_connection_had_been_given_up() -> None:
    bodies = []

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        if backend.connections == 1:
            writer.write(OK)
            await backend.take(reader)
            await reader.readexactly(3)  # some of it was sent when the connection ended
            return
        bodies.append(await reader.readexactly(9))
        writer.write(OK)

    async def use(asking: Asking) -> None:
        await asking.whole()
        assert await asking.whole("PUT", outgoing([b"abc", b"def", b"ghi"])) == (200, b"ok")

    run(script, use)
    assert bodies == [b"abcdefghi"]


def test_what_must_not_be_sent_twice_is_not() -> None:
    async def use(asking: Asking) -> None:
        await asking.whole()
        with pytest.raises(Broken):
            await asking.whole("PUT", again=False)

    assert len(run(given_up, use)[0].heads) == 2


def test_what_was_sent_is_not_told_to_be_unsent_where_the_server_is_gone_then(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unreachable(host: str) -> Any:
        raise Unreachable(host)

    async def use(asking: Asking) -> None:
        await asking.whole()
        monkeypatch.setattr(asking.pool, "_connect", unreachable)
        with pytest.raises(Broken):
            await asking.whole("PUT")

    assert len(run(given_up, use)[0].heads) == 2


def test_a_connection_that_fails_at_its_first_request_is_not_taken_for_an_old_one() -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)

    async def use(asking: Asking) -> None:
        with pytest.raises(Broken):
            await asking.whole()

    assert run(script, use)[0].connections == 1


@pytest.mark.parametrize("behind", [b"", OK, b"x"])
def test_a_connection_that_ends_or_speaks_while_it_is_idle_is_not_used(behind: bytes) -> None:
    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        writer.write(OK)
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.write(behind)
        if behind:
            await reader.read()

    async def use(asking: Asking) -> None:
        assert await asking.whole() == (200, b"ok")
        await asyncio.sleep(0.3)
        assert await asking.whole("PUT", again=False) == (200, b"ok")

    assert run(script, use)[0].connections == 2


def test_idle_connections_are_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_SECONDS", 0.1)

    async def use(asking: Asking) -> None:
        await asking.whole()
        await asyncio.sleep(0.5)
        await asking.whole()

    assert run(answering(OK), use, silence=0.4)[0].connections == 2


def test_there_are_no_more_connections_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CONNECTIONS", 3)

    async def use(asking: Asking) -> None:
        got = await asyncio.gather(*(asking.whole() for _ in range(50)))
        assert got == [(200, b"ok")] * 50

    assert run(answering(OK), use)[0].most_at_once <= 3


def test_connections_that_are_idle_make_room_for_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "CONNECTIONS", 1)

    async def use(asking: Asking) -> None:
        for name in ("127.0.0.1", "localhost", "127.0.0.1"):
            asking.host = f"{name}:{asking.host.rpartition(':')[2]}"
            assert await asking.whole() == (200, b"ok")

    assert run(answering(OK), use)[0].connections == 3


def test_a_request_that_nobody_waits_for_any_more_ends_its_connection_and_frees_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "CONNECTIONS", 1)

    async def script(backend: Backend, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await backend.take(reader)
        if len(backend.heads) == 1:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" if len(backend.heads) == 2 else OK)
            await reader.read()

    async def use(asking: Asking) -> None:
        task = asyncio.create_task(asking.whole())
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        (await asking.ask()).close()
        assert await asking.whole() == (200, b"ok")

    assert run(script, use)[0].connections == 3


def test_nobody_there_is_told_apart_from_a_broken_connection() -> None:
    async def use(asking: Asking) -> None:
        with pytest.raises(Unreachable):
            await asking.ask(host="127.0.0.1:1")
        with pytest.raises(Unreachable):
            await asking.ask(host="no-such-host.invalid")

    run(answering(OK), use)


def test_tls_is_checked_against_the_authority_and_the_name(certificates: Path) -> None:
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    trusting = ssl.create_default_context(cafile=str(certificates / "ca.crt"))

    async def ask(context: ssl.SSLContext, name: str) -> tuple[int, bytes]:
        server = await asyncio.start_server(Backend(answering(OK)), "0.0.0.0", 0, ssl=serving)
        port = server.sockets[0].getsockname()[1]
        pool = Pool(context)
        try:
            return await Asking(pool, f"{name}:{port}").whole()
        finally:
            await pool.stop()
            server.close()

    assert served(ask(trusting, "localhost")) == (200, b"ok")
    assert served(ask(trusting, "127.0.0.1")) == (200, b"ok")
    for context, name in ((trusting, "127.0.0.2"), (ssl.create_default_context(), "localhost")):
        with pytest.raises(Unreachable, match=r"certificate.*\(see STRONGROOM_BACKEND_CA\)"):
            served(ask(context, name))


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/b/k HTTP/1.1\r\nhost: evil\r\n\r\n", {}),
        ("/b/k HTTP/1.1", {}),
        ("/b/k", {"a": "b\r\nevil: c"}),
        ("/b/k", {"a": "b\nevil: c"}),
        ("/b/k", {"a\r": "b"}),
        ("/b/k", {"a": "b\0"}),
        ("/b/k", {"a": "Σ"}),
    ],
)
def test_nothing_in_a_request_can_begin_another(target: str, headers: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        request_head("GET", target, headers)


def test_the_head_of_a_request_is_what_was_signed() -> None:
    assert (
        request_head("GET", "/b/k?x=", {"host": "h", "a": "\xe4"})
        == b"GET /b/k?x= HTTP/1.1\r\nhost: h\r\na: \xe4\r\n\r\n"
    )
