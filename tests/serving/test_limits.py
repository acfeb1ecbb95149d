"""What a client cannot do to the server, and what a well-behaved one can rely on, byte by byte."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

from strongroom.serving.protocol import MAX_AHEAD, MAX_HEAD, MAX_HEADERS, MAX_PARAMETERS
from tests.serving.conftest import Running, Start, until_closed

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n\r\n"


def flood(server: Running, opening: bytes, piece: bytes, total: int = 128 * 1024**2) -> bytes:
    """Send ``piece`` again and again until the server has enough; what it says."""
    with server.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(opening)
            for _ in range(total // len(piece)):
                connection.sendall(piece)
            pytest.fail("the server took it all")
        return until_closed(connection)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    ("opening", "piece"),
    [
        (b"GET /", b"x" * 4096),
        (GET + b"X-Endless: ", b"x" * 4096),
        (GET + b"X-", b"x" * 4096),
        (GET, b"X-A: " + b"x" * 1000 + b"\r\n"),
    ],
    ids=["request line", "header value", "header name", "headers"],
)
def test_an_endless_head_is_refused_and_the_connection_closed(start: Start, opening: bytes, piece: bytes) -> None:
    server = start()
    flood(server, opening, piece)
    assert server.get("/").isdigit()


def test_a_head_that_is_too_large_is_answered_as_aws_does(start: Start) -> None:
    answer = start().ask(GET + b"X-Large: " + b"x" * MAX_HEAD + b"\r\n\r\n")
    assert status_of(answer) == 400
    assert b"<Code>RequestHeaderSectionTooLarge</Code>" in answer
    assert b"connection: close" in answer


def test_too_many_headers_are_refused_and_as_many_as_are_allowed_are_not(start: Start) -> None:
    server = start()
    allowed = b"".join(b"X-%d: 1\r\n" % number for number in range(MAX_HEADERS - 2))
    assert status_of(server.ask(GET + allowed + CLOSE)) == 200
    assert status_of(server.ask(GET + allowed + b"X-Y: 1\r\n" + CLOSE)) == 400


def test_too_many_parameters_are_refused_and_as_many_as_are_allowed_are_not(start: Start) -> None:
    server = start()
    query = b"GET /?%b HTTP/1.1\r\nHost: a\r\n" + CLOSE
    assert status_of(server.ask(query % b"&".join([b"a=b"] * MAX_PARAMETERS))) == 200
    answer = server.ask(query % b"&".join([b"a=b"] * (MAX_PARAMETERS + 1)))
    assert status_of(answer) == 400
    assert b"<Code>RequestHeaderSectionTooLarge</Code>" in answer


@pytest.mark.parametrize(
    "body",
    [b"3;", b"3\r\nabc\r\n0\r\nX-Endless: ", b"3\r\nabc\r\n0\r\nX-"],
    ids=["chunk extension", "trailer value", "trailer name"],
)
def test_what_is_endless_within_a_chunked_body_is_refused(start: Start, body: bytes) -> None:
    server = start()
    flood(server, b"PUT /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body, b"x" * 4096)
    assert server.get("/").isdigit()


def test_a_head_that_does_not_become_whole_in_time_is_given_up(start: Start) -> None:
    answer = start("--idle-timeout=1").ask(GET)
    assert status_of(answer) == 400
    assert b"<Code>RequestTimeout</Code>" in answer


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n\r\n", GET + b"\r\n"], ids=["nothing", "empty lines", "one request"])
def test_a_connection_that_stays_silent_is_closed_without_a_word(start: Start, sent: bytes) -> None:
    answer = start("--idle-timeout=1").ask(sent)
    assert answer.count(b"HTTP/1.1") == (1 if b"GET" in sent else 0)


def test_a_client_that_takes_nothing_of_its_response_is_cut_off(start: Start) -> None:
    server = start("--idle-timeout=1")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.process.stdout is not None
        assert server.process.stdout.readline() == "much is over\n"  # the application is not kept waiting for ever
        received = until_closed(connection)
    assert len(received) < 16 * 1024**2


def test_a_client_that_takes_its_response_slowly_is_not(start: Start) -> None:
    server = start("--idle-timeout=1")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n\r\n")
        received = 0
        while received < 5 * 1024**2:  # which the kernel holds for longer than the timeout
            piece = connection.recv(64 * 1024)
            assert piece
            received += len(piece)
            time.sleep(0.04)


@pytest.mark.parametrize(
    "request_",
    [
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n",
        b"PUT /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_answered_once_and_closed(start: Start, request_: bytes) -> None:
    answer = start().ask(request_)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"<Code>BadRequest</Code>" in answer


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"chunked, chunked", b"identity, chunked"])
def test_a_coding_that_nobody_undoes_is_not_taken_for_content(start: Start, coding: bytes) -> None:
    server = start()
    put = b"PUT /size HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: %s\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    answer = server.ask(put % coding)
    assert status_of(answer) in (400, 501)
    assert answer.count(b"HTTP/1.1") == 1
    assert status_of(server.ask(put % b"Chunked")) == 200


@pytest.mark.parametrize("headers", [b"", b"Host: a\r\nHost: a\r\n", b"Host: a\r\nhost: b\r\n"])
def test_a_request_names_one_host(start: Start, headers: bytes) -> None:
    server = start()
    answer = server.ask(b"GET / HTTP/1.1\r\n" + headers + CLOSE)
    assert status_of(answer) == 400
    assert b"<Code>BadRequest</Code>" in answer
    assert status_of(server.ask(b"GET / HTTP/1.0\r\n\r\n")) == 200


@pytest.mark.parametrize("path", [b"/", b"/slow", b"/much"])
def test_a_client_that_sends_no_more_gets_its_answers(start: Start, path: bytes) -> None:
    body = bytes(300_000)
    put = b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with start().connect() as connection:
        connection.sendall(put + 3 * (b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"))
        connection.shutdown(socket.SHUT_WR)
        answers = until_closed(connection)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert b"\r\n\r\n300000HTTP/1.1" in answers
    assert answers.count(b"connection: close\r\n") == 1


def test_a_client_that_ends_within_its_request_has_gone(start: Start) -> None:
    with start().connect() as connection:
        connection.sendall(b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n1234")
        connection.shutdown(socket.SHUT_WR)
        assert until_closed(connection) == b""


def test_rubbish_behind_a_good_request_does_not_spoil_its_answer(start: Start) -> None:
    answer = start().ask(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n\0\0rubbish\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.1") == 1


def test_of_many_requests_sent_ahead_the_first_are_answered_and_the_rest_dropped(start: Start) -> None:
    answer = start().ask((GET + b"\r\n") * 10_000)
    assert answer.count(b"HTTP/1.1 200") == 1 + MAX_AHEAD
    assert answer.count(b"connection: close") == 1


def test_requests_sent_ahead_are_all_answered_where_few_are_read_at_once(start: Start) -> None:
    """Were more read after each answer, those that wait would become too many."""
    padded = GET + b"X-Padding: " + b"x" * 8000 + b"\r\n"
    answer = start().ask((padded + b"\r\n") * 200 + padded + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 201


def test_an_upgrade_is_declined_and_the_connection_goes_on(start: Start) -> None:
    upgrade = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    answer = start().ask(upgrade + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 2


def test_a_body_behind_an_upgrade_cannot_pass_for_a_request(start: Start) -> None:
    inner = b"GET /request HTTP/1.1\r\nHost: a\r\n\r\n"
    head = b"PUT / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    answer = start().ask(head % len(inner) + inner)
    assert status_of(answer) == 400
    assert answer.count(b"HTTP/1.1") == 1


def test_trailers_do_not_become_headers(start: Start) -> None:
    request = b"PUT /size HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n"
    answer = start().ask(request + b"GET /request HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"x-late" not in answer


def test_requests_with_bodies_share_a_connection(start: Start) -> None:
    put = b"PUT /size HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000
    answer = start().ask(put + put + GET + CLOSE)
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"\r\n\r\n70000") == 2
    assert answer.count(b"connection: close") == 1


def test_a_refusal_before_the_body_was_read_reaches_a_client_that_goes_on_sending(start: Start) -> None:
    size = 8 * 1024**2
    server = start()
    with server.connect() as connection:
        connection.sendall(b"PUT /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        connection.sendall(bytes(size - 1))
        answer = until_closed(connection)
    assert status_of(answer) == 403
    assert b"connection: close" in answer


def test_a_client_that_expects_to_be_told_to_continue_is_told_or_refused(start: Start) -> None:
    server = start()
    head = b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n%b\r\n"
    with server.connect() as connection:
        connection.sendall(head % (b"/size", b"Connection: close\r\n"))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert until_closed(connection).endswith(b"\r\n\r\n3")
    with server.connect() as connection:
        connection.sendall(head % (b"/refuse", b""))
        answer = until_closed(connection)
    assert status_of(answer) == 403
    assert b"connection: close" in answer


def test_a_client_of_http_1_0_is_not_told_to_continue(start: Start) -> None:
    head = b"PUT /size HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    assert b"100 Continue" not in start().ask(head + b"abc")


def test_answers_carry_one_date_and_no_name_of_the_server(start: Start) -> None:
    head = start().ask(GET + CLOSE).partition(b"\r\n\r\n")[0].lower()
    assert head.count(b"\r\ndate:") == 1
    assert b"\r\nserver:" not in head


def test_nobody_can_pass_plain_http_off_as_tls(start: Start) -> None:
    answer = start().ask(
        b"GET /request HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\n" + CLOSE
    )
    assert b"\r\n\r\nhttp 127.0.0.1 /request" in answer


def test_a_client_over_ipv4_is_seen_as_such_on_a_socket_for_both(start: Start) -> None:
    assert start("--address=:0").get("/request").startswith(b"http 127.0.0.1 ")


def test_the_path_reaches_the_application_as_it_came(start: Start) -> None:
    server = start()
    assert b" /request ['host'" in server.get("/request")
    raw = server.ask(b"GET http://a/%72equest?x=%2F HTTP/1.1\r\nHost: a\r\n" + CLOSE)
    assert b" /%72equest [" in raw


def test_a_target_with_another_host_than_the_header_is_refused(start: Start) -> None:
    server = start()
    for target in (b"http://b/request", b"http://a:80/request", b"http://b@a/request"):
        assert status_of(server.ask(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n" + CLOSE)) == 400


def test_connections_leave_descriptors_for_the_store_and_those_beyond_wait(
    start: Start, log: Callable[[], str]
) -> None:
    server = start("--idle-timeout=30", open_files=332)
    held = [server.connect() for _ in range(150)]
    for connection in (held[0], held[-1]):  # as many as there may be
        connection.sendall(b"GET /request HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    with server.connect() as waiting:
        waiting.sendall(b"GET /request HTTP/1.1\r\nHost: a\r\n\r\n")
        waiting.settimeout(0.5)
        with pytest.raises(TimeoutError):
            waiting.recv(65536)
        for connection in held:
            connection.close()
        waiting.settimeout(20)
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200")
    assert "no more connections are accepted for now" in log()
