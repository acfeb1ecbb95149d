"""The load generator against a real server, and against servers that answer rubbish."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.clients.programs import find
from tests.server import ACCESS_KEY, SECRET_KEY, Server


def load(endpoint: str, flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    access = ["-endpoint", endpoint, "-access-key", ACCESS_KEY, "-secret-key", SECRET_KEY]
    command = [str(find("load")), *access, *flags.split()]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on", "MINIO_SSE_AUTO_ENCRYPTION": "on"}
    with Server(tmp_path_factory.mktemp("load"), settings) as running:
        assert load(running.endpoint, "-op bucket").returncode == 0
        assert load(running.endpoint, "-op bucket").returncode == 0  # it may be there
        yield running


BIG = 5 * 1024**2 + 1


@pytest.mark.parametrize(
    "flags",
    [
        "-op put -times 1100 -clients 8; -op get -times 200 -objects 1100 -clients 4; -op head -times 50;"
        " -op list -times 20 -objects 1100; -op page -times 1 -objects 1100; -op spread -times 3 -objects 1100;"
        " -op delete -times 1100 -clients 8",
        "-op put -prefix folders -folder 10 -size 1 -times 45; -op listdelim -prefix folders -folder 10 -objects 45"
        " -times 1; -op list -prefix folders -folder 10 -objects 45 -times 20",
        f"-op put -prefix big -size {BIG} -times 2; -op get -prefix big -size {BIG} -objects 2 -times 20",
        f"-op multipart -prefix parts -size {2 * BIG} -part {BIG} -times 1; -op range -prefix parts -size {2 * BIG}"
        f" -times 20; -op get -prefix parts -size {2 * BIG} -objects 1 -times 3",
        "-op put -prefix own -times 20 -sse-c; -op get -prefix own -objects 20 -times 20 -sse-c",
        "-op put -prefix mixed -times 10; -op mixed -prefix mixed -objects 10 -times 200 -clients 4 -first 7",
        "-op put -prefix time -seconds 0.1 -first 7",
    ],
)
def test_it_does_what_it_is_told(server: Server, flags: str) -> None:
    for step in flags.split(";"):
        done = load(server.endpoint, step)
        assert done.returncode == 0, done
        result = json.loads(done.stdout)
        assert result["ops"] > 0
        assert result["errors"] == 0
        assert result["processor_seconds"] > 0


def test_it_speaks_tls(certificates: Path, tmp_path: Path) -> None:
    with Server(tmp_path, certs=certificates) as running:
        authority = str(certificates / "ca.crt")
        for flags in ("-op bucket", f"-op put -size {BIG} -times 1", f"-op get -size {BIG} -objects 1 -times 3"):
            assert load(running.endpoint, flags, SSL_CERT_FILE=authority).returncode == 0
        assert "certificate" in load(running.endpoint, "-op bucket").stderr


@pytest.mark.parametrize(
    "flags",
    ["-op get -objects 1 -times 1", "-op get -prefix own -sse-c -objects 1 -times 1", "-op put -size 10 -secret-key x"],
)
def test_errors_of_a_server_are_errors(server: Server, flags: str) -> None:
    done = load(server.endpoint, flags.replace("-prefix own", "-prefix nothing"))
    assert done.returncode == 1
    assert json.loads(done.stdout)["errors"] > 0


class Rubbish(BaseHTTPRequestHandler):
    """Answers each request with what the test has left here: headers, and a body."""

    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200
    headers_to_send: ClassVar[dict[str, str]] = {}
    body: ClassVar[bytes] = b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        for name, value in self.headers_to_send.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)
        self.close_connection = True

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def rubbish() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Rubbish) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


TAG = {"ETag": '"x"'}
PAGE = b"<ListBucketResult><IsTruncated>false</IsTruncated>" + b"<Contents><Key>o/1</Key></Contents>" * 5


@pytest.mark.parametrize(
    ("flags", "status", "headers", "body", "said"),
    [
        ("-op put", 200, {"Content-Length": "0"}, b"", "no ETag"),
        ("-op put", 403, TAG | {"Content-Length": "6"}, b"denied", "403 denied"),
        ("-op put", 200, TAG, b"", "without a length"),
        ("-op get -objects 1", 200, TAG | {"Content-Length": "4096"}, b"x" * 4096, "not what was put"),
        ("-op get -objects 1", 200, TAG | {"Content-Length": "4000"}, b"x" * 4000, "4000 bytes instead of 4096"),
        ("-op get -objects 1", 200, TAG | {"Content-Length": "4096"}, b"0" * 15, "unexpected EOF"),
        ("-op get -objects 1", 206, TAG | {"Content-Length": "4096"}, b"x" * 4096, "206"),
        ("-op range -size 70000 -range 9", 206, TAG | {"Content-Length": "9"}, b"x" * 9, "range"),
        ("-op head", 200, TAG | {"Content-Length": "5"}, b"", "5 bytes instead of 4096"),
        ("-op delete", 200, {"Content-Length": "0"}, b"", "200"),
        ("-op page -objects 6", 200, {"Content-Length": str(len(PAGE))}, PAGE, "5 entries instead of 6"),
        ("-op multipart -size 10", 200, TAG | {"Content-Length": "2"}, b"<>", "no upload id"),
        ("-op head", 200, {"Transfer-Encoding": "gzip"}, b"", "transfer encoding"),
        ("-op head", 200, TAG | {"Content-Length": "4096", "Connection": "close"}, b"", "keeps no connections"),
    ],
)
def test_rubbish_is_an_error(
    rubbish: str, flags: str, status: int, headers: dict[str, str], body: bytes, said: str
) -> None:
    Rubbish.status, Rubbish.headers_to_send, Rubbish.body = status, headers, body
    done = load(rubbish, f"{flags} -times 1")
    assert done.returncode == 1
    assert said in json.loads(done.stdout)["error"]


def test_a_large_body_is_compared_by_its_first_reader(rubbish: str) -> None:
    Rubbish.status, Rubbish.body = 200, bytes(200_000)
    Rubbish.headers_to_send = TAG | {"Content-Length": "200000"}
    done = load(rubbish, "-op get -size 200000 -objects 1 -times 1")
    assert "not what was put" in json.loads(done.stdout)["error"]


def test_a_page_may_come_in_chunks(rubbish: str) -> None:
    Rubbish.status, Rubbish.headers_to_send = 200, {"Transfer-Encoding": "chunked"}
    Rubbish.body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (PAGE[:60], PAGE[60:])) + b"0\r\n\r\n"
    assert load(rubbish, "-op page -objects 5 -times 1").returncode == 0


class Counting(Rubbish):
    """Keeps connections open, unless the client wants none; and knows how many there were."""

    connections: ClassVar[set[object]] = set()

    def do_GET(self) -> None:
        super().do_GET()
        self.connections.add(self.client_address)
        self.close_connection = self.headers.get("connection") == "close"

    do_HEAD = do_GET  # noqa: N815


@pytest.mark.parametrize(("flags", "connections"), [("", 1), ("-anew", 5)])
def test_each_request_may_open_a_connection(flags: str, connections: int) -> None:
    Rubbish.status, Rubbish.headers_to_send, Rubbish.body = 200, TAG | {"Content-Length": "4096"}, b""
    Counting.connections.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        done = load(f"http://127.0.0.1:{listening.server_port}", f"-op head -times 5 {flags}")
        listening.shutdown()
    assert done.returncode == 0, done
    assert len(Counting.connections) == connections
