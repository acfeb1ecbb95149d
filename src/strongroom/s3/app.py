"""The S3 application: takes a request through all steps and sends the answer.

Route, authenticate, parse, handle, serialize, send: each step has its own module. This one has their order and the
handling of errors. An S3Error is answered as S3 does; what the layers below raise on purpose is translated to one;
anything else is logged and answered with InternalError. If the answer has already begun, the connection is cut, so that
a client never takes half an object for a whole one. (An answer that was begun early to keep a client waiting ends with
the error, for operations where clients look for it.)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from strongroom.s3.auth import Credentials, Identity, authenticate
from strongroom.s3.body import decoder_for
from strongroom.s3.call import Answer, Call, Chunks, Handler, Headers, Relay
from strongroom.s3.cors import CrossOrigin, answered, preflight
from strongroom.s3.describe import moved_headers
from strongroom.s3.encryption import EncryptionHeaders
from strongroom.s3.error_response import error_response
from strongroom.s3.errors import S3Error
from strongroom.s3.faults import about, translate
from strongroom.s3.handlers.acl import AclHandlers
from strongroom.s3.handlers.buckets import BucketHandlers
from strongroom.s3.handlers.copying import CopyHandlers
from strongroom.s3.handlers.listing import ListingHandlers
from strongroom.s3.handlers.multipart import MultipartHandlers
from strongroom.s3.handlers.objects import ObjectHandlers
from strongroom.s3.handlers.posting import PostHandler
from strongroom.s3.handlers.tagging import TaggingHandlers
from strongroom.s3.handlers.unset import unset_handler
from strongroom.s3.model import Response, compile_model
from strongroom.s3.observing import GONE, PAGE, PREFLIGHT, Observer, Seen, Unobserved
from strongroom.s3.operations import UNSET
from strongroom.s3.patience import ENDS_WITH_ERRORS, LONG, conclude, is_error, patiently
from strongroom.s3.readiness import Readiness
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import ClientGone, Exchange, HttpRequest, parse_query
from strongroom.s3.routing import MAX_KEY, POST_OBJECT, PREFLIGHT_METHOD, administers, target_of
from strongroom.s3.upload import Integrity
from strongroom.sealed.faults import KMSError
from strongroom.sealed.store import SealedStore
from strongroom.sigv4.keys import DEFAULT_REGION

log = logging.getLogger("strongroom.s3")

Page = Callable[[HttpRequest], Awaitable[Response]]

_HEALTH = ("/minio/health/live", "/minio/health/ready", "/minio/health/cluster")  # "mc ready" asks for the last
_WITH_BODY = ("PUT", "POST")
_STREAMED = ("PutObject", "UploadPart")  # their handlers read the body
_LARGE_XML = ("DeleteObjects", "CompleteMultipartUpload")
_MAX_LARGE_XML = 8 * 1024**2
_MAX_XML = 256 * 1024
_INLINE_XML = 64 * 1024  # larger bodies are parsed in a thread
_NO_ADMINISTRATION = "MinIO's admin API is not served here; what a server is told, it is told at its start."
_HOST_ID = "strongroom"
_STANDING = (("x-amz-id-2", _HOST_ID), ("server", "Strongroom"))

T = TypeVar("T")


class S3App:
    """Serves S3 from a sealed store.

    ``credentials``: access keys and their secrets. ``region``: the region that requests have to be signed for; ""
    accepts any, and answers as us-east-1. ``any_location``: CreateBucket may name any region. ``domains``: those under
    which buckets are host names. ``allow_insecure_sse_c``: accept clients' keys without TLS (if a proxy in front
    terminates it). ``idle_timeout``: seconds.
    ``relay``: passes requests to a backend instead of serving them here; the forms of browser uploads are still read
    here. ``cross_origin`` says which web pages may send requests; without it, all may. ``observer`` sees each request.
    ``pages``: handlers of paths that are not S3's.
    """

    def __init__(
        self,
        objects: SealedStore,
        credentials: Credentials,
        *,
        region: str = "",
        any_location: bool = False,
        domains: Sequence[str] = (),
        allow_insecure_sse_c: bool = False,
        idle_timeout: float = 60.0,
        relay: Relay | None = None,
        cross_origin: CrossOrigin | None = None,
        observer: Observer | None = None,
        pages: Mapping[str, Page] = MappingProxyType({}),
    ) -> None:
        self._objects = objects
        self._observer = observer or Unobserved()
        self._readiness = Readiness(objects.buckets)
        self._pages = {**dict.fromkeys(_HEALTH, self._health), **pages}
        self._credentials = credentials
        self._signed_for = region
        self._region = region or DEFAULT_REGION
        self._any_location = any_location
        self._domains = tuple(domains)
        self._allow_insecure_sse_c = allow_insecure_sse_c
        self._idle_timeout = idle_timeout
        self._relay = relay
        self._cross_origin = cross_origin or CrossOrigin(objects, ("*",), of_buckets=relay is None, seconds=0)
        self._model = compile_model()
        self._post = PostHandler(objects, credentials, region, relay)
        self._handlers = self._bind()
        self._large_documents = asyncio.Semaphore(2)

    def _bind(self) -> Mapping[str, Handler]:
        """The handler of each served operation. Raises LookupError if one is missing."""
        groups = (
            BucketHandlers(self._objects, self._region, self._any_location, self._cross_origin),
            ObjectHandlers(self._objects),
            CopyHandlers(self._objects),
            ListingHandlers(self._objects),
            MultipartHandlers(self._objects),
            TaggingHandlers(self._objects),
            AclHandlers(self._objects),
        )
        handlers: dict[str, Handler] = {}
        for operation in self._model.served:
            name = operation.attribute
            found = [getattr(group, name) for group in groups if hasattr(group, name)]
            if not found and operation.name not in UNSET:
                raise LookupError(f"no handler for {operation.name}")
            handlers[operation.name] = found[0] if found else unset_handler(self._objects, operation.name)
        return handlers

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one HTTP request."""
        seen = Seen(exchange.request, os.urandom(8).hex().upper())
        self._observer.begun(seen)
        try:
            await self._serve(exchange, seen)
        except ClientGone:
            seen.error = GONE
            log.debug("%s: the client went away", seen.request_id)
        except Exception as error:
            await self._refuse(exchange, seen, error)
        finally:
            seen.received = exchange.received
            self._observer.ended(seen)

    async def _serve(self, exchange: Exchange, seen: Seen) -> None:
        request = exchange.request
        page = self._pages.get(request.raw_path)
        if page is not None and request.method in ("GET", "HEAD"):
            seen.operation, seen.key = PAGE, request.raw_path
            answer, response = Answer(), await page(request)
        elif administers(request, self._domains):
            seen.operation, seen.key = PAGE, request.raw_path[:MAX_KEY]
            raise S3Error("NotImplemented", _NO_ADMINISTRATION)
        else:
            answer, response = await self._answer(exchange, seen)
        seen.about = answer.about
        if "origin" in request.headers:
            answer.headers += await self._for_page(seen)
        await _send(exchange, seen, answer, response)

    async def _refuse(self, exchange: Exchange, seen: Seen, error: Exception) -> None:
        """Answer with an error. Raises ConnectionAbortedError if that is too late."""
        request = exchange.request
        fields = about(seen.request_id, seen.operation, seen.bucket, seen.key)
        fault = translate(error, request, fields)
        seen.error = fault.code
        if isinstance(error, KMSError):
            seen.reason = str(error)
        if exchange.started and not (exchange.open_ended and seen.operation in ENDS_WITH_ERRORS):
            # The headers promised more than can be sent: cut the connection instead of ending the answer.
            seen.status = fault.status
            raise ConnectionAbortedError(f"{seen.request_id}: {fault.code} while sending") from error
        refusal = error_response(fault, request.raw_path, seen.request_id, _HOST_ID, request.method == "HEAD")
        answer = Answer(headers=await self._for_page(seen) if "origin" in request.headers else [])
        try:
            await _send(exchange, seen, answer, refusal)
        except ClientGone:
            seen.error = GONE

    async def _for_page(self, seen: Seen) -> Headers:
        """The headers that let the web page that sent a request see the answer; none if it may not."""
        request = seen.request
        if seen.operation == PAGE or request.method == PREFLIGHT_METHOD:
            return []  # not S3; or a preflight, whose answer has its own headers
        return answered(await self._cross_origin.rules(seen.bucket), request.headers["origin"], request.method)

    async def _preflight(self, seen: Seen) -> tuple[Answer, Response]:
        """Tell a browser whether a page may send a request. Preflight requests are not signed."""
        target = target_of(seen.request, self._domains)
        seen.operation, seen.bucket, seen.key = PREFLIGHT, target.bucket, target.key
        allowed = preflight(await self._cross_origin.rules(target.bucket), seen.request.headers)
        return Answer(headers=allowed), Response(200, [], b"")

    async def _answer(self, exchange: Exchange, seen: Seen) -> tuple[Answer, Response]:
        request = exchange.request
        if request.method == PREFLIGHT_METHOD:
            return await self._preflight(seen)
        for name, value in parse_query(request.raw_query):
            request.query.setdefault(name, value)
        route = self._model.route(request, self._domains)
        seen.operation, seen.bucket, seen.key = route.name, route.bucket, route.key
        body = BodyReceiver(exchange, self._idle_timeout)
        encryption = EncryptionHeaders(request.headers, request.secure or self._allow_insecure_sse_c)
        if route.name == POST_OBJECT:
            return await self._post.answer(seen, route.bucket, body, request.secure or self._allow_insecure_sse_c)
        identity = self._identity(request, route.name)
        seen.access_key = identity.access_key
        if request.query and "authorization" not in request.headers:  # a presigned URL
            request.headers.update(moved_headers(route.name, request.query, request.headers))
        call = Call(
            request,
            route.bucket,
            route.key,
            identity.payload,
            identity.signed,
            body,
            encryption,
            seen.request_id,
        )
        if self._relay is not None:
            return await self._patiently(exchange, seen, self._relay.relay(call, route.name))
        operation = route.operation
        handler = self._handlers.get(route.name)
        if operation is None or handler is None:
            raise S3Error("NotImplemented")
        document = b""
        if request.method in _WITH_BODY and operation.name not in _STREAMED:
            document = await _document(call, operation.name)
        if len(document) > _INLINE_XML:
            async with self._large_documents:  # a hostile one takes 50 MiB more than its size
                parsed = await asyncio.to_thread(operation.parse, request, route.target, document)
        else:
            parsed = operation.parse(request, route.target, document)
        answer = await self._patiently(exchange, seen, handler(call, parsed))
        return answer, operation.serialize(answer.output)

    def _identity(self, request: HttpRequest, operation: str) -> Identity:
        """Who sent the request. Raises S3Error, with a header for clients that do not know the bucket's region."""
        try:
            return authenticate(request, self._credentials, self._signed_for, datetime.now(UTC))
        except S3Error as error:
            if operation == "HeadBucket" or "Region" in error.details:
                error.headers = {**error.headers, "x-amz-bucket-region": self._region}
            raise

    def _patiently(self, exchange: Exchange, seen: Seen, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """``work``. If the operation may take long, its answer is begun meanwhile, lest the client gives up."""
        return patiently(exchange, partial(self._opening, seen), work) if seen.operation in LONG else work

    async def _opening(self, seen: Seen) -> Headers:
        """The headers of an answer that is begun before its outcome is known."""
        for_page = await self._for_page(seen) if "origin" in seen.request.headers else []
        return [("x-amz-request-id", seen.request_id), *_STANDING, *for_page]

    async def ready(self) -> None:
        """Raises what the store raises, or Unavailable if it does not answer in time."""
        await self._readiness.check()

    async def _health(self, request: HttpRequest) -> Response:
        if not request.raw_path.endswith("live"):
            await self.ready()
        return Response(200, [], b"")


async def _send(exchange: Exchange, seen: Seen, answer: Answer, response: Response) -> None:
    """Send a response: the answer's own body if it has one, else the serialized one."""
    status = seen.status = answer.status or response.status
    if exchange.open_ended:
        if status >= 300 and not (seen.operation in ENDS_WITH_ERRORS and is_error(response.body)):
            raise S3Error("InternalError")  # a backend's refusal, which clients would take for success after a 200
        seen.sent = len(response.body)
        await conclude(exchange, response.body)
        return
    headers = [("x-amz-request-id", seen.request_id), *_STANDING, *response.headers, *answer.headers]
    body = answer.body or response.body
    is_head = exchange.request.method == "HEAD"
    if not isinstance(body, bytes | bytearray | memoryview):
        await _stream(exchange, seen, status, headers, answer.length, body)
        return
    seen.sent = 0 if is_head else len(body)
    length = answer.length if is_head else len(body)
    await exchange.respond(status, headers, None if status in (204, 304) else length, body)


async def _stream(
    exchange: Exchange, seen: Seen, status: int, headers: Headers, length: int | None, body: Chunks
) -> None:
    async with aclosing(body):
        if exchange.request.method == "HEAD":
            await exchange.respond(status, headers, length, b"")
            return
        await exchange.begin(status, headers, length)
        async for chunk in body:
            await exchange.write(chunk)
            seen.sent += len(chunk)
        await exchange.end()


async def _document(call: Call, operation: str) -> bytes:
    """The body of an operation that takes XML, checked against the client's digests. Raises S3Error."""
    headers = call.request.headers
    limit = _MAX_LARGE_XML if operation in _LARGE_XML else _MAX_XML
    document, trailers = await call.body.read(decoder_for(call.payload, headers), limit)
    if operation == "CreateMultipartUpload":  # it has no body: AWS's CRT announces the checksum of the parts here
        headers = {name: value for name, value in headers.items() if name != "x-amz-sdk-checksum-algorithm"}
    if operation != "CompleteMultipartUpload":  # whose checksum headers are the whole object's
        integrity = Integrity(headers)
        integrity.check_document(document, trailers)
    return document
