"""A stand-in for the security token service of a cloud: its credentials are real ones, which MinIO's own made."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import boto3

from tests.backends import Backend

_ANSWER = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{AccessKeyId}</AccessKeyId>
<SecretAccessKey>{SecretAccessKey}</SecretAccessKey><SessionToken>{SessionToken}</SessionToken>
<Expiration>{ends}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
_REFUSAL = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not now</Message></Error></ErrorResponse>"


class Sts:
    """Answers AssumeRoleWithWebIdentity. What it gives ends, by its word, after ``lifetime`` seconds."""

    def __init__(self, backend: Backend, lifetime: int) -> None:
        self._backend = backend
        self.lifetime = lifetime
        self.refuses = False
        self.tokens: list[str] = []
        """The identity of each request that came."""
        self.given: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        sts = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                status, body = sts.answer(asked)
                self.send_response(status)
                self.send_header("content-type", "text/xml")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, asked: dict[str, list[str]]) -> tuple[int, bytes]:
        """What a request is answered: the status and the document."""
        self.tokens += asked["WebIdentityToken"]
        if self.refuses:
            return 403, _REFUSAL.encode()
        client = boto3.client(
            "sts",
            endpoint_url=self._backend.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self._backend.keys[0],
            aws_secret_access_key=self._backend.keys[1],
        )
        credentials = client.assume_role(RoleArn="arn:aws:iam::1:role/any", RoleSessionName="any")["Credentials"]
        self.given.append(credentials)
        ends = datetime.now(UTC) + timedelta(seconds=self.lifetime)
        return 200, _ANSWER.format(**credentials, ends=f"{ends:%Y-%m-%dT%H:%M:%SZ}").encode()
