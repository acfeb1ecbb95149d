"""The client of the backend: signs requests, sends them over pooled connections, tries again where that is safe, and
learns the regions of buckets.

Knows requests and answers, nothing of objects or records. What the backend refuses is raised as the error of the store
protocol that it means; what cannot be an answer is :class:`~strongroom.store.base.Unavailable`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from strongroom.sigv4.keys import EMPTY_SHA256
from strongroom.sigv4.sign import Signed, SigningCredential, sign
from strongroom.store.base import Buffer, Unavailable
from strongroom.store.s3 import xml
from strongroom.store.s3.credentials import CredentialSource, FixedCredentials, find_credentials
from strongroom.store.s3.endpoint import AWS_SUFFIX, Endpoint
from strongroom.store.s3.errors import REDIRECTS, RETRIED_STATUSES, code_of, meaning
from strongroom.store.s3.streaming import SignedBody, StreamedBody

_log = logging.getLogger("strongroom.backend")

MAX_ANSWER = 16 * 1024**2
"""Bytes of the longest document that is taken from the backend: a page of 1,000 names of 1,024 bytes, escaped."""

_MAX_ERROR = 64 * 1024
_ATTEMPTS = 4
_FIRST_PAUSE = 0.1
_CONNECT_SECONDS = 10.0
_CONNECTIONS = 512
_IDLE_SECONDS = 15.0
_IN_THREAD = 64 * 1024  # bodies above this are hashed in a thread
_PIECE = 256 * 1024  # of a larger body: what the backend has to take in time
_READ_BUFFER = 512 * 1024
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the backend. Names of ``headers`` are in lower case, values are Latin-1 text standing for bytes.

    ``again``: whether it may be sent twice, where the first answer is lost.
    """

    method: str
    bucket: str = ""
    key: str = ""
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Buffer | StreamedBody = b""
    again: bool = True

    def __str__(self) -> str:
        return f"{self.method} {self.bucket}/{self.key}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are in lower case. ``attempts``: how often the request was sent for it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    attempts: int


class Download:
    """An answer whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, what: str) -> None:
        self._response = response
        self._what = what
        self.status = response.status
        self.headers = _headers_of(response)

    @property
    def length(self) -> int:
        """Bytes of the body. Raises Unavailable where the backend does not say."""
        length = self._response.content_length
        if length is None:
            raise Unavailable(f"{self._what}: the backend does not say how long its answer is")
        return length

    async def read(self, most: int) -> bytes:
        """The next bytes: ``most`` of them, or all that are left. Raises Unavailable."""
        try:
            return await self._response.content.readexactly(most)
        except asyncio.IncompleteReadError as error:
            return error.partial
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"{self._what}: the backend's answer broke off") from error

    def close(self) -> None:
        """Let go of the connection; it is used again where the body was read to its end."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class Refusal(Exception):
    """An answer that refuses, as it came; for whoever passes it on."""

    def __init__(self, status: int, headers: Mapping[str, str], document: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.document = document


@dataclass(frozen=True, slots=True)
class _Head:
    """What is signed."""

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]


class Client:
    """Speaks to one backend. ``region`` is where buckets are until the backend says otherwise.

    ``ca``: a file of certificates that the backend's is checked against, instead of the system's. ``timeout``: seconds
    that the backend may keep silent. ``own``: the credentials to use where botocore's chain finds none.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        region: str,
        own: SigningCredential,
        *,
        ca: Path | None = None,
        timeout: float = 60.0,
        chain: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.region = region
        self._own = own
        self._chain = chain
        self._ca = ca
        self._timeout = timeout
        self.software = ""
        """What the backend calls itself, once it was heard of: MinIO lists metadata, which others do not."""
        self._regions: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._credentials: CredentialSource = FixedCredentials(own)

    async def start(self) -> None:
        """Find credentials, open the pool of connections. Raises OSError, ssl.SSLError for a CA that is none."""
        tls: ssl.SSLContext | bool = True
        if self.endpoint.secure:
            tls = ssl.create_default_context(cafile=str(self._ca) if self._ca else None)
        if self._chain:
            self._credentials = await find_credentials(self._own)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=tls, limit=_CONNECTIONS, keepalive_timeout=_IDLE_SECONDS, ttl_dns_cache=30
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=self._timeout),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            read_bufsize=_READ_BUFFER,
        )
        # aiohttp would repeat a request with a body that was half consumed; what is repeated is decided in _send.
        self._session._retry_connection = False

    async def stop(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def send(self, request: Request) -> Answer:
        """Send a request and read the whole answer, which is one of success. Raises StoreError."""
        async with self._sent(request) as (response, attempts):
            body = await self._whole(response, MAX_ANSWER, str(request))
            return Answer(response.status, _headers_of(response), body, attempts)

    async def open(self, request: Request, *, raw: bool = False) -> Download:
        """Send a request and leave the body of the answer to be read; it has to be closed.

        Raises StoreError; with ``raw`` Refusal instead of what the backend's refusal means.
        """
        response, _ = await self._send(request, raw)
        return Download(response, str(request))

    @asynccontextmanager
    async def _sent(self, request: Request) -> AsyncIterator[tuple[aiohttp.ClientResponse, int]]:
        response, attempts = await self._send(request)
        try:
            yield response, attempts
        finally:
            response.release()

    async def _send(self, request: Request, raw: bool = False) -> tuple[aiohttp.ClientResponse, int]:
        """The answer of success to a request, after as many attempts as it takes. Raises StoreError, Refusal."""
        digest = await self._digest(request.body)
        replayable = not isinstance(request.body, StreamedBody)
        attempt, redirected = 1, False
        while True:
            last = attempt >= _ATTEMPTS or not replayable
            try:
                response = await self._once(request, digest)
            except aiohttp.ClientConnectorError as error:  # nothing was sent
                if last:
                    raise Unavailable(f"{request}: the backend cannot be reached: {error}") from error
            except TimeoutError as error:
                raise Unavailable(f"{request}: the backend has not answered in time") from error
            except (aiohttp.ClientError, OSError) as error:
                if last or not request.again:
                    reason = str(error) or type(error).__name__
                    raise Unavailable(f"{request}: the connection to the backend failed: {reason}") from error
            else:
                if response.status < 300:
                    self.software = response.headers.get("server", "")
                    return response, attempt
                document, (code, message, region) = await self._refusal(response, request)
                if code in REDIRECTS and not redirected and replayable and self._learn(request.bucket, region):
                    redirected = True
                    continue
                if response.status not in RETRIED_STATUSES or last or not request.again:
                    if raw:
                        raise Refusal(response.status, _headers_of(response), document)
                    raise meaning(response.status, code, message, str(request))
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * (0.5 + random.random()))  # noqa: S311
            attempt += 1

    async def _once(self, request: Request, digest: str) -> aiohttp.ClientResponse:
        """One attempt; any answer. Raises what aiohttp raises."""
        region = self._regions.get(request.bucket, self.region)
        host, path = self.endpoint.address(region, request.bucket, request.key)
        host = self._hosts.get(request.bucket, host)
        query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in request.query)
        body = request.body
        headers = {"host": host, **request.headers}
        if isinstance(body, StreamedBody):
            headers.update(body.headers)
            if encoding := request.headers.get("content-encoding"):
                headers["content-encoding"] += f",{encoding}"
        head = _Head(request.method, path, query, headers)
        credential = await self._credential()
        signed = sign(head, credential, region, datetime.now(UTC), digest)
        headers.update(signed.headers)
        url = URL(f"{self.endpoint.scheme}://{host}{path}" + (f"?{query}" if query else ""), encoded=True)
        sent = {name: _as_text(value) for name, value in headers.items()}
        return await self._transmit(request.method, url, sent, body, signed)

    async def _transmit(
        self, method: str, url: URL, headers: dict[str, str], body: Buffer | StreamedBody, signed: Signed
    ) -> aiohttp.ClientResponse:
        if not isinstance(body, StreamedBody) and len(body) <= _PIECE:
            async with asyncio.timeout(self._timeout + _CONNECT_SECONDS):
                return await self._session.request(
                    method, url, headers=headers, data=body or None, allow_redirects=False
                )
        pieces: AsyncIterator[Buffer]
        if isinstance(body, StreamedBody):
            signed_body = SignedBody(body, signed.chunks)
            pieces, length = aiter(signed_body), signed_body.length
        else:
            pieces, length = _pieces(body), len(body)
        headers["content-length"] = str(length)
        async with asyncio.timeout(None) as watch:
            loop = asyncio.get_running_loop()

            async def watched() -> AsyncIterator[Buffer]:
                async for piece in pieces:
                    watch.reschedule(loop.time() + self._timeout)
                    yield piece
                    watch.reschedule(None)  # what comes next is waited for elsewhere: at the client
                watch.reschedule(loop.time() + self._timeout + _CONNECT_SECONDS)

            return await self._session.request(
                method,
                url,
                headers=headers,
                data=watched(),
                allow_redirects=False,
                # A body that cannot be sent twice is not begun before the backend says that it wants it.
                expect100=isinstance(body, StreamedBody),
            )

    async def _credential(self) -> SigningCredential:
        from botocore.exceptions import BotoCoreError

        try:
            return await self._credentials.current()
        except BotoCoreError as error:
            raise Unavailable(f"the credentials for the backend cannot be had: {error}") from error

    async def _digest(self, body: Buffer | StreamedBody) -> str:
        if isinstance(body, StreamedBody):
            return body.kind
        if not body:
            return EMPTY_SHA256
        if len(body) <= _IN_THREAD:
            return hashlib.sha256(body).hexdigest()
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()

    async def _refusal(self, response: aiohttp.ClientResponse, request: Request) -> tuple[bytes, tuple[str, str, str]]:
        """The document of an answer that refuses; its code, message and region."""
        try:
            document = await self._whole(response, _MAX_ERROR, str(request))
        except Unavailable:
            document = b""
        finally:
            response.release()
        region = response.headers.get("x-amz-bucket-region", "")
        found = xml.read_error(document) if document else None
        if found is None:
            code = code_of(response.status)
            if code == "NoSuchKey" and not request.key:
                code = "NoSuchBucket"
            if request.method == "HEAD" and response.status in (301, 307, 400) and region:
                code = "PermanentRedirect"
            return document, (code, "", region)
        code, message, named = found
        if code == "TemporaryRedirect" and request.bucket:
            self._follow(request.bucket, response.headers.get("location", ""))
        return document, (code, message, region or named)

    async def _whole(self, response: aiohttp.ClientResponse, most: int, what: str) -> bytes:
        pieces, size = [], 0
        try:
            async for piece in response.content.iter_any():
                size += len(piece)
                if size > most:
                    response.close()
                    raise Unavailable(f"{what}: the backend's answer is longer than {most} bytes")
                pieces.append(piece)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(f"{what}: the backend's answer broke off") from error
        return b"".join(pieces)

    def _learn(self, bucket: str, region: str) -> bool:
        """Remember where a bucket is; whether that is news."""
        if not bucket:
            return False
        known = self._regions.get(bucket, self.region)
        if bucket in self._hosts:
            return True
        if not region or region == known:
            return False
        _log.info("a bucket lies in another region", extra={"bucket": bucket, "region": region})
        self._regions[bucket] = region
        return True

    def _follow(self, bucket: str, location: str) -> None:
        """Follow a temporary redirect of AWS, to hosts of AWS only: the request carries a signature."""
        host = urlsplit(location).netloc
        if not self.endpoint.host and host.endswith(AWS_SUFFIX):
            self._hosts[bucket] = host


async def _pieces(body: Buffer) -> AsyncIterator[Buffer]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]


def _headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name.lower(): value.encode("utf-8", "surrogateescape").decode("latin-1")
        for name, value in response.headers.items()
    }


def _as_text(value: str) -> str:
    """A header's value (Latin-1 text standing for bytes) as aiohttp sends it: it encodes as UTF-8."""
    return value if value.isascii() else value.encode("latin-1").decode("utf-8", "replace")
