"""Requests byte by byte, signed by botocore: what SDKs would never send can be sent."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.backends import Backend
from tests.server import ACCESS_KEY, SECRET_KEY, Server


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of the document, or ""."""
        return self.find("Code")

    def find(self, name: str) -> str:
        """The text of the first element of this name."""
        if not self.body:
            return ""
        for element in ElementTree.fromstring(self.body).iter():
            if element.tag.rpartition("}")[2] == name:
                return element.text or ""
        return ""


def signed_headers(
    server: Server,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    payload: str | None = None,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
) -> dict[str, str]:
    """The headers of a request, signed; ``payload`` stands in the place of the body's SHA-256."""
    request = AWSRequest(method, server.endpoint + path, headers={**(headers or {})}, data=body)
    request.headers["X-Amz-Content-SHA256"] = payload or hashlib.sha256(body).hexdigest()
    signer = S3SigV4Auth(Credentials(access_key, secret_key), "s3", "us-east-1")
    signer.payload = lambda request: payload or hashlib.sha256(body).hexdigest()  # type: ignore[method-assign]
    signer.add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}


def send(
    server: Server | Backend, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Answer:
    """Send a request as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        sent = {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(len(body)), **(headers or {})}
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body or None)
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@contextmanager
def begun(server: Server, method: str, path: str, length: int | None, *lines: str) -> Iterator[socket.socket]:
    """A connection on which the head of a signed request was sent, whose body will have ``length`` bytes."""
    headers = signed_headers(server, method, path, payload="UNSIGNED-PAYLOAD")
    head = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *lines]
    head += [f"{name}: {value}" for name, value in headers.items()]
    if length is not None:
        head.append(f"Content-Length: {length}")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.settimeout(30)
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    pieces = []
    while data := connection.recv(65536):
        pieces.append(data)
    return b"".join(pieces)


def request(
    server: Server, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", **sign: Any
) -> Answer:
    """Sign a request and send it."""
    return send(server, method, path, signed_headers(server, method, path, headers, body, **sign), body)


def error_of(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[str, int]:
    """The code and status of the error that a call of boto3 ends in; ("", 200) where it does not."""
    try:
        call(*args, **options)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "", 200
