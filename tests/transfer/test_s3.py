"""What a client of an S3 makes of failures on the way."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from strongroom.secret import Secret
from strongroom.transfer import s3
from strongroom.transfer.place import Access
from strongroom.transfer.s3 import S3, S3Failed


def test_bytes_that_tls_does_not_open_fail_the_object_and_not_the_run(certificates: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")

    def serve() -> None:
        client, _ = server.accept()
        tls = context.wrap_socket(client, server_side=True)
        tls.recv(65536)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with socket.socket(fileno=tls.detach()) as below:
            below.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
            below.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        access = Access("access", Secret(b"secret"), ca=str(certificates / "ca.crt"))
        client = S3(f"https://127.0.0.1:{server.getsockname()[1]}", access, connections=1)
        with pytest.raises(S3Failed, match="ended early"):
            list(client.read("bucket", "key", "etag", None))
        thread.join()


@pytest.mark.parametrize("key", [Secret(bytes(32)), None])
def test_an_error_of_a_head_request_is_told_in_the_words_of_its_header(key: Secret | None) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(400)
            self.send_header("x-minio-error-code", "KMS.NotFoundException")
            self.send_header("x-minio-error-desc", '"no such key"')
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever).start()
        client = S3(f"http://127.0.0.1:{server.server_port}", Access("access", Secret(b"secret")), connections=1)
        with pytest.raises(S3Failed, match=r"answers KMS\.NotFoundException: no such key"):
            client.etag("bucket", "key", key)  # and not: a key of the client's is needed
        server.shutdown()


ANSWERS: list[Any] = [{"ResponseMetadata": {"HTTPStatusCode": status}} for status in (502, 503, 504)]
AWAY: list[Exception] = [
    EndpointConnectionError(endpoint_url="http://there"),
    *(ClientError(answer, "HeadBucket") for answer in ANSWERS),
]


class Answers:
    """A client of botocore's whose S3 gives these answers."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)

    def head_bucket(self, **_: str) -> None:
        if answer := self.answers.pop(0):
            raise answer


def s3_that_answers(monkeypatch: pytest.MonkeyPatch, stop: threading.Event, *answers: Exception | None) -> S3:
    monkeypatch.setattr(s3, "_PAUSES", (0.0,) * len(AWAY))
    client = S3("http://there", Access("access", Secret(b"secret")), connections=1, stop=stop)
    client._client = Answers(*answers)
    return client


def test_an_s3_that_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    client = s3_that_answers(monkeypatch, threading.Event(), None, *AWAY, None, *AWAY, AWAY[0])
    assert not client.make_bucket("bucket") and not client.make_bucket("bucket")
    with pytest.raises(S3Failed):
        client.make_bucket("bucket")
    assert client._client.answers == []


def test_what_never_answered_and_what_is_to_stop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    client = s3_that_answers(monkeypatch, stop, AWAY[0], None, AWAY[0])
    with pytest.raises(S3Failed):
        client.make_bucket("bucket")
    client.make_bucket("bucket")
    stop.set()
    with pytest.raises(S3Failed):
        client.make_bucket("bucket")
    assert client._client.answers == []
