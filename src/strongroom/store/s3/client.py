"""The client of the backend: signs requests, sends them over pooled connections, retries them if that is safe, and
follows redirects to the regions of buckets.

Knows requests and answers, nothing of objects or records. A refusal by the backend is raised as the corresponding error
of the store protocol; for what cannot be an answer, :class:`~strongroom.store.errors.Unavailable` is raised.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from urllib.parse import quote

from strongroom.buffers import Buffer
from strongroom.sigv4.canonical import as_minio
from strongroom.sigv4.keys import EMPTY_SHA256
from strongroom.sigv4.sign import Signed, SigningCredential, sign
from strongroom.store.errors import NameRefused, StoreError, Unavailable
from strongroom.store.s3 import xml
from strongroom.store.s3.connecting import Unreachable
from strongroom.store.s3.connection import LEAST
from strongroom.store.s3.credentials import CredentialSource, FixedCredentials, find_credentials
from strongroom.store.s3.encryption import is_told
from strongroom.store.s3.endpoint import Endpoint
from strongroom.store.s3.errors import (
    BETWEEN_FOLDERS,
    CREDENTIALS_REFUSED,
    REDIRECTS,
    RETRIED_STATUSES,
    code_of,
    meaning,
    undecided,
)
from strongroom.store.s3.messages import MAX_ANSWER, Answer, Download, Refusal, Request
from strongroom.store.s3.names import is_hidden
from strongroom.store.s3.pool import Pool
from strongroom.store.s3.regions import Regions
from strongroom.store.s3.response import Response
from strongroom.store.s3.streaming import SignedBody, StreamedBody
from strongroom.store.s3.wire import Outgoing, request_head
from strongroom.trust import trusted

_log = logging.getLogger("strongroom.backend")

_MAX_ERROR = 64 * 1024
_ATTEMPTS = 4
_FIRST_PAUSE = 0.1
_LONG = 600.0  # seconds of silence for requests that take long, less than the lock of a completion lasts
_LONGER = 10  # or this many times the usual timeout, if that is less
_LONGEST = 3600.0  # seconds for the whole answer to such a request, however many blanks come meanwhile
_IN_THREAD = 64 * 1024  # bodies above this are hashed in a thread
_SURE = 1.0  # seconds after an accepted request for which this server's credentials are taken to be good
_CHECK_COPIES = ("AmazonS3", "MinIO", "VERSITYGW")  # of what backends call themselves
_PIECE = 256 * 1024  # larger bodies are sent in pieces of this size, each of which the backend has to take in time


@dataclass(frozen=True, slots=True)
class _Head:
    """What is signed."""

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]


@dataclass(slots=True)
class _Attempts:
    """The attempts at one request, up to ``most``. ``earlier``: the error of an attempt that may have been, or may yet
    be, carried out all the same.
    """

    request: Request
    most: int
    number: int = 1
    redirected: bool = False
    earlier: StoreError | None = None

    @property
    def are_over(self) -> bool:
        """Whether there is no further attempt: there were enough, or a body was begun that cannot be sent again."""
        body = self.request.body
        return self.number >= self.most or (isinstance(body, StreamedBody) and body.begun)

    def remember(self, error: StoreError) -> None:
        """Remember the error of an attempt. Not for streamed bodies: they are sent again only if nothing of them was
        sent, so nothing can have been carried out.
        """
        if not isinstance(self.request.body, StreamedBody):
            self.earlier = error


class Client:
    """Speaks to one backend. ``region`` is where buckets are until the backend says otherwise.

    ``ca``: a file of certificates that the backend's is checked against, instead of the system's. ``timeout``: seconds
    that the backend may keep silent (longer if the request takes long). ``own``: the credentials to use if botocore's
    chain finds none, or if ``chain`` is False. ``tell`` is called after each request with the class of the answer's
    status ("2xx"), or "failed" if there was no answer. ``attempts``: at each request, once the backend has answered.
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
        tell: Callable[[str], None] = lambda result: None,
        attempts: int = _ATTEMPTS,
    ) -> None:
        self.endpoint = endpoint
        self.region = region
        self._own = own
        self._chain = chain
        self._ca = ca
        self._tell = tell
        self._attempts = attempts
        self._timeout = timeout
        self._long_timeout = max(timeout, min(_LONGER * timeout, _LONG))
        self.software = ""
        """What the backend calls itself, known after a first success: MinIO lists metadata, others do not."""
        self.minio_checks_writes: bool | None = None
        """What a MinIO answered when it was asked (:mod:`strongroom.store.s3.conditions`)."""
        self._regions = Regions(endpoint, region)
        self._credentials: CredentialSource = FixedCredentials(own)
        self._has_warned = False  # that the backend does not encrypt
        self._taken_at = -inf  # when an answer last showed that the backend accepts them, by the loop's clock

    @property
    def is_minio(self) -> bool:
        """Whether the backend is MinIO; False before its first answer of success."""
        return self.software == "MinIO"

    @property
    def checks_copies(self) -> bool:
        """Whether the backend is known to check the condition on the source of a copy. Others may ignore it (Ceph
        does), and a condition that is ignored looks like one that is fulfilled.
        """
        return self.endpoint.exact or self.software in _CHECK_COPIES

    async def start(self) -> None:
        """Find credentials, open the pool of connections. Raises StoreError; OSError, SSLError for a bad CA file."""
        tls: ssl.SSLContext | None = None
        if self.endpoint.secure:
            tls = trusted(self._ca)
        if self._chain:
            self._credentials = await find_credentials(self._own)
        self._pool = Pool(tls, self._timeout)

    async def stop(self) -> None:
        """Close all connections."""
        await self._pool.stop()

    async def send(self, request: Request) -> Answer:
        """Send a request and read the whole answer to it, which is a success. Raises StoreError."""
        response, earlier = await self._send(request)
        if request.puts_object and not self._has_warned and not is_told(request.headers, response.headers):
            self._has_warned = True
            _log.warning(
                "the backend does not say that it encrypts what it is asked to: maybe only the gateway does",
                extra={"bucket": request.bucket},
            )
        return Answer(
            response.status, response.headers, await self._download(response, request).whole(MAX_ANSWER), earlier
        )

    async def open(self, request: Request, *, raw: bool = False, lasting: bool = True) -> Download:
        """Send a request; the caller reads the body of the answer, and has to close it. ``lasting``: whether the caller
        may send other requests before it has read all of the body.

        Raises StoreError; with ``raw``, a refusal by the backend is raised as Refusal.
        """
        response, _ = await self._send(request, raw, lasting)
        return self._download(response, request)

    async def _send(
        self, request: Request, raw: bool = False, lasting: bool = False
    ) -> tuple[Response, StoreError | None]:
        """The successful answer to a request, after as many attempts as it takes. Raises StoreError, Refusal.

        With it, or as the cause of what is raised: the error of an earlier attempt that may have been, or may yet be,
        carried out all the same.
        """
        if self.endpoint.administers(request.bucket, request.key):
            raise NameRefused("a MinIO takes names of this kind for its administration")
        digest = await self._digest(request.body)
        attempts = _Attempts(request, self._attempts if self._taken_at > -inf else _ATTEMPTS)
        while True:
            try:
                response = await self._once(request, digest, lasting)
            except Unreachable as error:
                if attempts.number >= attempts.most:
                    raise Unavailable(f"{request}: the backend cannot be reached: {error}") from error
            except TimeoutError as error:
                raise Unavailable(f"{request}: the backend has not answered in time") from error
            except OSError as error:
                failed = Unavailable(f"{request}: the connection to the backend failed: {error}")
                if attempts.are_over or not request.again:
                    raise failed from error
                attempts.remember(failed)
            else:
                if response.repeated:
                    attempts.earlier = Unavailable(f"{request}: the backend closed the connection")
                if response.status < 300:
                    self.software = response.headers.get("server", "")
                    self._taken_at = asyncio.get_running_loop().time()
                    return response, attempts.earlier
                if await self._is_redirected(response, attempts, raw):
                    continue
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempts.number - 1) * (0.5 + random.random()))  # noqa: S311
            attempts.number += 1

    async def _is_redirected(self, response: Response, attempts: _Attempts, raw: bool) -> bool:
        """Whether a refusal redirects the request to another region; False if another attempt may succeed.

        Raises StoreError, Refusal if the refusal is final.
        """
        request = attempts.request
        document, (code, message, region) = await self._refusal(response, request)
        can_learn = code in REDIRECTS and not attempts.redirected
        if can_learn and self._regions.learn(request.bucket, region) and not attempts.are_over:
            attempts.redirected = True
            return True
        refused = meaning(response.status, code, request.without_keys(message), str(request))
        passes = response.status in RETRIED_STATUSES or (code == BETWEEN_FOLDERS and is_hidden(request.key))
        if not passes or attempts.are_over or not request.again:
            if code in CREDENTIALS_REFUSED:
                self._doubt(code)
            elif raw:
                raise Refusal(response.status, response.headers, document) from attempts.earlier
            raise refused from attempts.earlier
        if undecided(refused):
            attempts.remember(refused)
        return False

    async def _once(self, request: Request, digest: str, lasting: bool = False) -> Response:
        """One attempt; any answer. Raises OSError, TimeoutError."""
        region = self._regions.of(request.bucket)
        host, path = self._regions.address(request.bucket, request.key)
        query = "&".join([f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in request.query])
        body = request.body
        headers = {"host": host, **request.headers}
        if isinstance(body, StreamedBody):
            headers.update(body.headers)
            if self.endpoint.exact:  # AWS wants it; others go by the digest, and versitygw stores it with the object
                encoding = request.headers.get("content-encoding")
                headers["content-encoding"] = f"aws-chunked,{encoding}" if encoding else "aws-chunked"
        signed = sign(
            _Head(request.method, path, query, as_minio(headers) if self.is_minio else headers),
            await self._credentials.current(),
            region,
            datetime.now(UTC),
            digest,
        )
        headers.update(signed.headers)
        outgoing = _outgoing(body, signed)
        if isinstance(outgoing, Outgoing):
            headers["content-length"] = str(outgoing.length)
            if outgoing.asked:
                headers["expect"] = "100-continue"
        elif outgoing or request.method in ("PUT", "POST"):
            headers["content-length"] = str(len(outgoing))
        try:
            response = await self._pool.request(
                host,
                request_head(request.method, f"{path}?{query}" if query else path, headers),
                outgoing,
                bodiless=request.method == "HEAD",
                again=request.again and not isinstance(body, StreamedBody),
                silence=self._long_timeout if request.takes_long else self._timeout,
                least=1 if request.takes_long else LEAST,
                lasting=lasting,
            )
        except OSError:
            self._tell("failed")
            raise
        if response.repeated:
            self._tell("failed")
        self._tell(f"{response.status // 100}xx")
        return response

    async def _digest(self, body: Buffer | StreamedBody) -> str:
        if isinstance(body, StreamedBody):
            return body.kind
        if not body:
            return EMPTY_SHA256
        if len(body) <= _IN_THREAD:
            return hashlib.sha256(body).hexdigest()
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()

    async def _refusal(self, response: Response, request: Request) -> tuple[bytes, tuple[str, str, str]]:
        """The document of a refusal; its code, message and region."""
        try:
            document = await self._download(response, request).whole(_MAX_ERROR)
        except Unavailable:
            document = b""
        region = response.headers.get("x-amz-bucket-region", "")
        found = xml.read_error(document) if document else None
        if found is None:
            code = code_of(response.status)
            if code == "NoSuchKey" and not request.key:
                code = "NoSuchBucket"
            if request.method == "HEAD" and response.status in (301, 307, 400) and region:
                code = "PermanentRedirect"
            elif request.method == "HEAD" and response.status in (400, 403):
                return document, (*await self._refused_itself(request, code), region)
            return document, (code, "", region)
        code, message, named = found
        if code == "TemporaryRedirect" and request.bucket:
            self._regions.follow(request.bucket, response.headers.get("location", ""))
        elif code == "PermanentRedirect":
            self._regions.unfollow(request.bucket)
        return document, (code, message, region or named)

    async def _refused_itself(self, request: Request, code: str) -> tuple[str, str]:
        """Code and message of the refusal if this server's own credentials are what is refused; else ``code`` and "".

        The answer to a HEAD does not say which it is. So a GET is sent, which takes the same permission, and whose
        answer gives the reason; but not after each HEAD: for a page of objects under clients' keys, a thousand fail.
        """
        if asyncio.get_running_loop().time() - self._taken_at < _SURE:
            return code, ""
        asked = replace(request, method="GET", headers={**request.headers, "range": "bytes=0-0"})
        try:
            response = await self._once(asked, EMPTY_SHA256)
            if response.status < 300:
                response.close()
                return code, ""
            document = await self._download(response, asked).whole(_MAX_ERROR)
        except (OSError, Unavailable):
            return code, ""
        found = xml.read_error(document) if document else None
        if found is not None and found[0] in CREDENTIALS_REFUSED:
            return found[0], found[1]
        if found is not None:
            self._taken_at = asyncio.get_running_loop().time()
        return code, ""

    def _download(self, response: Response, request: Request) -> Download:
        return Download(response, request, _LONGEST if request.takes_long else self._long_timeout)

    def _doubt(self, code: str) -> None:
        """Look for new credentials, unless a single signature is found wrong while others are accepted: some backends
        sign other bytes than AWS (versitygw does for a tab in a header), and any client can send such bytes.
        """
        if code != "SignatureDoesNotMatch" or asyncio.get_running_loop().time() - self._taken_at > _SURE:
            self._credentials.refused()


def _outgoing(body: Buffer | StreamedBody, signed: Signed) -> Buffer | Outgoing:
    """A body in the form in which it is sent: in one piece if it is small."""
    if isinstance(body, StreamedBody):
        pieces = SignedBody(body, signed.chunks)
        # A body that cannot be sent twice is not begun until the backend says that it wants it.
        return Outgoing(pieces.length, partial(aiter, pieces), asked=True)
    return body if len(body) <= _PIECE else Outgoing(len(body), partial(_pieces, body))


async def _pieces(body: Buffer) -> AsyncIterator[Buffer]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]
