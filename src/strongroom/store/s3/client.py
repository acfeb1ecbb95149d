"""The client of the backend: signs requests, sends them over pooled connections, tries again where that is safe, and
learns the regions of buckets.

Knows requests and answers, nothing of objects or records. What the backend refuses is raised as the error of the store
protocol that it means; what cannot be an answer is :class:`~strongroom.store.errors.Unavailable`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from urllib.parse import quote, urlsplit

from strongroom.buffers import Buffer
from strongroom.sigv4.canonical import as_minio
from strongroom.sigv4.keys import EMPTY_SHA256
from strongroom.sigv4.sign import Signed, SigningCredential, sign
from strongroom.store.errors import NameRefused, StoreError, Unavailable
from strongroom.store.s3 import xml
from strongroom.store.s3.connecting import Unreachable
from strongroom.store.s3.connection import LEAST
from strongroom.store.s3.credentials import CredentialSource, FixedCredentials, find_credentials
from strongroom.store.s3.endpoint import AWS_SUFFIX, Endpoint
from strongroom.store.s3.errors import CREDENTIALS_REFUSED, REDIRECTS, RETRIED_STATUSES, code_of, meaning, undecided
from strongroom.store.s3.pool import Pool
from strongroom.store.s3.response import Response
from strongroom.store.s3.streaming import SignedBody, StreamedBody
from strongroom.store.s3.wire import Outgoing, request_head
from strongroom.trust import trusted

_log = logging.getLogger("strongroom.backend")

MAX_ANSWER = 16 * 1024**2
"""Bytes of the longest document that is taken from the backend: a page of 1,000 names of 1,024 bytes, escaped."""

_MAX_ERROR = 64 * 1024
_ATTEMPTS = 4
_FIRST_PAUSE = 0.1
_LONG = 600.0  # seconds for what takes long, less than the lock of a completion lasts
_LONGER = 10  # times as long, where that is less
_LONGEST = 3600.0  # for the whole answer to what takes long, however many blanks come meanwhile
_IN_THREAD = 64 * 1024  # bodies above this are hashed in a thread
_SURE = 1.0  # seconds for which an answer tells that the backend takes this server's credentials
_PIECE = 256 * 1024  # of a larger body: what the backend has to take in time
_REGION = re.compile(r"[A-Za-z0-9._-]{1,64}")  # what all later requests for a bucket are signed for, and may be sent to

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
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # clients' keys, passed on
    body: Buffer | StreamedBody = field(default=b"", repr=False)
    again: bool = True

    @property
    def takes_long(self) -> bool:
        """Whether the backend may be at work on it for minutes without a word: it copies, or puts parts together."""
        completes = self.method == "POST" and any(name == "uploadId" for name, _ in self.query)
        return completes or "x-amz-copy-source" in self.headers

    def __str__(self) -> str:
        return f"{self.method} {f'{self.bucket}/{self.key}' if self.key else self.bucket or '/'}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are in lower case. ``earlier``: what an attempt before it ended with that may have
    been done, or be done yet.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    earlier: StoreError | None = None


class LengthUnknown(Unavailable):
    """The backend does not say how long an object is."""


def length_in(headers: Mapping[str, str], what: str) -> int:
    """The length that the answer to ``what`` announces. Raises LengthUnknown."""
    length = headers.get("content-length")
    if length is None:
        raise LengthUnknown(f"{what}: the backend does not say how long its answer is")
    return int(length)


class Download:
    """An answer whose body is still to be read; ``seconds`` is how long that may take where it is read as one."""

    def __init__(self, response: Response, request: Request, seconds: float) -> None:
        self._response = response
        self._request = request
        self._seconds = seconds
        self.status = response.status
        self.headers = response.headers

    @property
    def length(self) -> int:
        """Bytes of the body. Raises LengthUnknown where the backend does not say."""
        return length_in(self.headers, str(self._request))

    async def read(self, most: int, least: int | None = None) -> bytes:
        """The next bytes: ``most`` of them, or all that are left; with ``least``, what has come of them once there are
        so many. Raises Unavailable.
        """
        try:
            return await self._response.read(most, least)
        except OSError as error:
            raise Unavailable(f"{self._request}: the backend's answer broke off") from error

    async def whole(self, most: int) -> bytes:
        """All of it, up to ``most`` bytes; nothing is left to be closed. Raises Unavailable."""
        try:
            async with asyncio.timeout(None if self._response.whole else self._seconds):  # most are: no timer for them
                document = await self._response.read(most + 1)
        except OSError as error:  # TimeoutError is one
            raise Unavailable(f"{self._request}: the backend's answer broke off") from error
        finally:
            self.close()
        if len(document) > most:
            raise Unavailable(f"{self._request}: the backend's answer is longer than {most} bytes")
        return document

    def close(self) -> None:
        """Let go of the connection; it is used again where the body has come to its end."""
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
    that the backend may keep silent (longer where it has much to do). ``own``: the credentials to use where botocore's
    chain finds none.
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
        self._long_timeout = max(timeout, min(_LONGER * timeout, _LONG))
        self.software = ""
        """What the backend calls itself, once it was heard of: MinIO lists metadata, which others do not."""
        self._regions: dict[str, str] = {}
        self._hosts: dict[str, str] = {}
        self._credentials: CredentialSource = FixedCredentials(own)
        self._taken_at = -inf  # when an answer told last that the backend takes them, by the loop's clock

    @property
    def is_minio(self) -> bool:
        """Whether the backend is MinIO, as far as it was heard of."""
        return self.software == "MinIO"

    async def start(self) -> None:
        """Find credentials, open the pool of connections. Raises OSError, ssl.SSLError for a CA that is none."""
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
        """Send a request and read the whole answer, which is one of success. Raises StoreError."""
        response, earlier = await self._send(request)
        return Answer(
            response.status, response.headers, await self._download(response, request).whole(MAX_ANSWER), earlier
        )

    async def open(self, request: Request, *, raw: bool = False, lasting: bool = True) -> Download:
        """Send a request and leave the body of the answer to be read; it has to be closed. ``lasting``: whether other
        requests may be sent before it was read to its end.

        Raises StoreError; with ``raw`` Refusal instead of what the backend's refusal means.
        """
        response, _ = await self._send(request, raw, lasting)
        return self._download(response, request)

    async def _send(
        self, request: Request, raw: bool = False, lasting: bool = False
    ) -> tuple[Response, StoreError | None]:
        """The answer of success to a request, after as many attempts as it takes. Raises StoreError, Refusal.

        With it, or as the cause of what is raised: what an earlier attempt ended with that may have been done, or be
        done yet.
        """
        if self.endpoint.administers(request.bucket, request.key):
            raise NameRefused("a MinIO takes names of this kind for its administration")
        digest = await self._digest(request.body)
        may_be_done = not isinstance(request.body, StreamedBody)  # those go again as long as nothing of them was sent
        attempt, redirected = 1, False
        earlier: StoreError | None = None
        while True:
            try:
                response = await self._once(request, digest, lasting)
            except Unreachable as error:
                if attempt >= _ATTEMPTS:
                    raise Unavailable(f"{request}: the backend cannot be reached: {error}") from error
            except TimeoutError as error:
                raise Unavailable(f"{request}: the backend has not answered in time") from error
            except OSError as error:
                failed = Unavailable(f"{request}: the connection to the backend failed: {error}")
                if attempt >= _ATTEMPTS or not request.again or _begun(request.body):
                    raise failed from error
                earlier = failed if may_be_done else earlier
            else:
                if response.repeated:
                    earlier = Unavailable(f"{request}: the backend closed the connection")
                if response.status < 300:
                    self.software = response.headers.get("server", "")
                    self._taken_at = asyncio.get_running_loop().time()
                    return response, earlier
                document, (code, message, region) = await self._refusal(response, request)
                final = attempt >= _ATTEMPTS or _begun(request.body)
                if code in REDIRECTS and not redirected and self._learn(request.bucket, region) and not final:
                    redirected = True
                    continue
                refused = meaning(response.status, code, message, str(request))
                if response.status not in RETRIED_STATUSES or final or not request.again:
                    if code in CREDENTIALS_REFUSED:
                        self._doubt(code)
                    elif raw:
                        raise Refusal(response.status, response.headers, document) from earlier
                    raise refused from earlier
                earlier = refused if may_be_done and undecided(refused) else earlier
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * (0.5 + random.random()))  # noqa: S311
            attempt += 1

    async def _once(self, request: Request, digest: str, lasting: bool = False) -> Response:
        """One attempt; any answer. Raises OSError, TimeoutError."""
        region = self._regions.get(request.bucket, self.region)
        host, path = self.endpoint.address(region, request.bucket, request.key)
        host = self._hosts.get(request.bucket, host)
        query = "&".join([f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in request.query])
        body = request.body
        headers = {"host": host, **request.headers}
        if isinstance(body, StreamedBody):
            headers.update(body.headers)
            if self.endpoint.exact:  # AWS wants it; others go by the digest, and versitygw keeps it with the object
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
        return await self._pool.request(
            host,
            request_head(request.method, f"{path}?{query}" if query else path, headers),
            outgoing,
            bodiless=request.method == "HEAD",
            again=request.again and not isinstance(body, StreamedBody),
            silence=self._long_timeout if request.takes_long else self._timeout,
            least=1 if request.takes_long else LEAST,
            lasting=lasting,
        )

    async def _digest(self, body: Buffer | StreamedBody) -> str:
        if isinstance(body, StreamedBody):
            return body.kind
        if not body:
            return EMPTY_SHA256
        if len(body) <= _IN_THREAD:
            return hashlib.sha256(body).hexdigest()
        return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()

    async def _refusal(self, response: Response, request: Request) -> tuple[bytes, tuple[str, str, str]]:
        """The document of an answer that refuses; its code, message and region."""
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
            self._follow(request.bucket, response.headers.get("location", ""))
        elif code == "PermanentRedirect":
            self._hosts.pop(request.bucket, None)
        return document, (code, message, region or named)

    async def _refused_itself(self, request: Request, code: str) -> tuple[str, str]:
        """Code and message of a refusal of this server's own credentials, which an answer to HEAD cannot tell from one
        of the object: a GET takes the same permission, and says why. ``code`` where it is something else.

        Not at each HEAD: a page of objects under clients' keys has a thousand that are refused.
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
        """Have the credentials looked for anew; not for one signature that is found wrong while others are not: some
        backends sign other bytes than AWS (versitygw does for a tab in a header), and any client can send them.
        """
        if code != "SignatureDoesNotMatch" or asyncio.get_running_loop().time() - self._taken_at > _SURE:
            self._credentials.refused()

    def _learn(self, bucket: str, region: str) -> bool:
        """Remember where a bucket is; whether that is news."""
        if not bucket:
            return False
        if _REGION.fullmatch(region) and region != self._regions.get(bucket, self.region):
            _log.info("a bucket lies in another region", extra={"bucket": bucket, "region": region})
            self._regions[bucket] = region
            return True
        return bucket in self._hosts

    def _follow(self, bucket: str, location: str) -> None:
        """Follow a temporary redirect of AWS, to hosts of AWS only: the request carries a signature."""
        host = urlsplit(location).netloc
        if not self.endpoint.host and host.endswith(AWS_SUFFIX):
            self._hosts[bucket] = host


def _begun(body: Buffer | StreamedBody) -> bool:
    """Whether some of a body was sent that cannot be sent again."""
    return isinstance(body, StreamedBody) and body.begun


def _outgoing(body: Buffer | StreamedBody, signed: Signed) -> Buffer | Outgoing:
    """A body as it is sent: at once where it is small."""
    if isinstance(body, StreamedBody):
        pieces = SignedBody(body, signed.chunks)
        # A body that cannot be sent twice is not begun before the backend says that it wants it.
        return Outgoing(pieces.length, partial(aiter, pieces), asked=True)
    return body if len(body) <= _PIECE else Outgoing(len(body), partial(_pieces, body))


async def _pieces(body: Buffer) -> AsyncIterator[Buffer]:
    view = memoryview(body)
    for start in range(0, len(view), _PIECE):
        yield view[start : start + _PIECE]
