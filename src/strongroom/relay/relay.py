"""The relay: a request that was authenticated here goes to the backend under the gateway's credentials, with all its
encryption headers, and the backend's answer goes to the client as it is.

What other gateways keep hidden in a bucket stays hidden. An object that a gateway with a KMS encrypted is refused: its
bytes would be ciphertext. Both are recognized in the answer, not by the operation: a backend that does not know an
operation ignores the parameter that selects it, and lists the bucket or sends the object.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, unquote

from strongroom.buffers import Buffer
from strongroom.relay.body import MAX_DOCUMENT, Feeder, streamed_body, whole_body
from strongroom.relay.form import FormWriter
from strongroom.relay.headers import answered_headers, located, passed_headers, passed_query, without_hidden
from strongroom.s3.body import decoder_for
from strongroom.s3.call import Answer, Call
from strongroom.s3.errors import S3Error
from strongroom.s3.handlers.copying import copy_source
from strongroom.s3.model import Response
from strongroom.s3.patience import LONG, is_error
from strongroom.s3.upload import Integrity
from strongroom.sealed.errors import NoKMS
from strongroom.sealed.pipeline import Hasher
from strongroom.store.base import ENCRYPTED
from strongroom.store.errors import Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import MAX_ANSWER, Download, Refusal, Request
from strongroom.store.s3.metadata import ID, OURS, UNPACK, describe
from strongroom.store.s3.records import complete
from strongroom.threads import Threads

_UPLOADS = ("PutObject", "UploadPart")
_READS = ("GET", "HEAD")
_BY_ITSELF = (404, 409, 412)
"""Statuses with which the backend may refuse a write because an earlier attempt has already done it."""
_REDIRECTS = range(300, 400)
_ONCE = ("CreateMultipartUpload", "CreateBucket")  # not sent again if the answer is lost
_UNSEEN = (
    "DeleteObjectTagging",
    "GetObjectAttributes",
    "GetObjectTagging",
    "PutObjectTagging",
    "SelectObjectContent",
)
"""Operations whose answers do not show whether the object is encrypted. Tags of encrypted objects are in the record."""
_DELETION_TAGS = 20_000
"""XML tags in a list of objects to delete: a thousand objects, each with every element that S3 has, need 12,000."""
_CHUNK = 256 * 1024
_LISTENED = "events"
"""The parameter with which MinIO's clients ask for the stream of events."""
_RENAMED = "x-amz-rename-source"
_FORCED = "x-minio-force-delete"
"""With this header, MinIO removes a bucket and all that is in it, hidden or not."""
_CUSTOMER = "x-amz-server-side-encryption-customer-"
_SOURCE_CUSTOMER = "x-amz-copy-source-server-side-encryption-customer-"
_VERSION = re.compile("versionId=([^&;#]+)")


class BackendRelay:
    """Passes requests on to one backend. ``allow_insecure_sse_c``: pass clients' keys on even over plain HTTP to
    another machine.
    """

    def __init__(self, client: Client, *, allow_insecure_sse_c: bool = False) -> None:
        self._client = client
        self._takes_keys = allow_insecure_sse_c or not client.endpoint.in_the_clear

    async def relay(self, call: Call, operation: str) -> tuple[Answer, Response]:
        """What the backend answers. Raises S3Error, StoreError, NoKMS (the object was encrypted by a gateway)."""
        self._check_name(call.bucket, call.key)
        self._check_headers(call)
        keys = call.encryption.customer_key(), call.encryption.source_customer_key()  # raises unless they are valid
        if any(keys) and not self._takes_keys:
            raise S3Error("InvalidRequest", "Clients' keys are not passed on to a backend over plain HTTP.")
        source = await self._source(call)
        if operation in _UNSEEN:
            await self._look_at(call.bucket, call.key, call.request.query.get("versionId", ""), call.request.headers)
        try:
            download = await self._pass_on(call, operation, source)
        except Refusal as refusal:
            earlier = refusal.__cause__
            if earlier is not None and call.request.method not in _READS and refusal.status in _BY_ITSELF:
                raise earlier from None  # a client would take a refusal to mean that nothing was done
            headers = answered_headers(refusal.headers)
            if refusal.status in _REDIRECTS:  # clients would follow it past the gateway, with their keys
                headers = [(name, value) for name, value in headers if name != "location"]
            return Answer(), Response(refusal.status, headers, refusal.document)
        try:
            return await self._answer(call, operation, download)
        except BaseException:
            download.close()
            raise

    def form(
        self, pool: Threads, name: tuple[str, str], headers: Mapping[str, str], md5: bool, hashers: Sequence[Hasher]
    ) -> FormWriter:
        """A writer for the file of a form. Raises S3Error."""
        self._check_name(*name)
        self._check_metadata(headers)
        return FormWriter(pool, self._client, name, headers, md5, hashers)

    async def _pass_on(self, call: Call, operation: str, source: dict[str, str]) -> Download:
        headers = {**passed_headers(call.request.headers, call.signed), **source}
        if operation == "DeleteBucket":
            headers.pop(_FORCED, None)
        query = passed_query(call.request.query, headers)
        again = operation not in _ONCE

        def request(body: bytes) -> Request:
            return Request(call.request.method, call.bucket, call.key, query, headers, body, again)

        if call.request.method not in ("PUT", "POST"):
            return await self._client.open(request(b""), raw=True)
        streamed = streamed_body(call) if operation in _UPLOADS else None
        if streamed is None:
            body, added = await whole_body(call, operation, MAX_DOCUMENT)
            headers.update(added)
            if operation == "DeleteObjects":
                await asyncio.to_thread(self._check_deletion, call.bucket, body)
            return await self._client.open(request(body), raw=True)
        outgoing = Request(call.request.method, call.bucket, call.key, query, headers, streamed)
        sending = asyncio.create_task(self._client.open(outgoing, raw=True))
        try:
            integrity = Integrity(call.request.headers)
            feeder = Feeder(streamed, integrity, sending)
            trailers = await call.body.pump(decoder_for(call.payload, call.request.headers), feeder)
            integrity.check(feeder.md5, trailers)
            await feeder.end(trailers.get(streamed.trailer[0], "") if streamed.trailer else "")
            return await sending
        except BaseException:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled() and sending.exception() is None:
                sending.result().close()
            raise

    async def _answer(self, call: Call, operation: str, download: Download) -> tuple[Answer, Response]:
        if call.key and call.request.method in _READS:
            await self._check_plain(call.bucket, call.key, download)
        response = Response(download.status, answered_headers(download.headers), b"")
        if call.request.method == "HEAD":
            length = int(download.headers.get("content-length", "0"))
            download.close()
            return Answer(length=length), response
        if operation == "GetObject":
            return Answer(body=_Streaming(download, download.length), length=download.length), response
        if operation == "SelectObjectContent":
            return Answer(body=_Streaming(download, None), length=None), response
        document = await download.whole(MAX_ANSWER)
        if call.request.method == "GET" and not call.key:
            document = without_hidden(document)
        elif operation == "CompleteMultipartUpload":
            document = located(document, f"{call.request.origin}{call.request.raw_path}")
        failed = operation in LONG and is_error(document)  # not all clients look for an error after a 200
        return Answer(), Response(500 if failed else response.status, response.headers, document)

    def _check_name(self, bucket: str, key: str) -> None:
        """Raises AccessDenied for a hidden name, XMinioInvalidObjectName for one that the backend may take for another,
        NotImplemented for a path of MinIO's admin API, which would obey the gateway's credentials.
        """
        if names.is_hidden(key):
            raise S3Error("AccessDenied")
        if self._client.endpoint.administers(bucket, key):
            raise S3Error("NotImplemented", "The administration of the backend is not reached from here.")
        if not (self._client.endpoint.exact or names.is_clean(key)):
            raise S3Error("XMinioInvalidObjectName")

    def _check_headers(self, call: Call) -> None:
        """Raises NotImplemented for requests that reach names which cannot be checked here, InvalidArgument for
        metadata that a gateway would take for its own.
        """
        if call.request.method == "GET" and not call.key and _LISTENED in call.request.query:
            raise S3Error("NotImplemented", "Events are not passed on: an answer without end, with hidden names in it.")
        if _RENAMED in call.request.headers:
            raise S3Error("NotImplemented", "Objects are not renamed here: the former name may be a hidden one.")
        self._check_metadata((*call.request.headers, *call.request.query))  # MinIO takes them from the query, too

    def _check_metadata(self, given: Iterable[str]) -> None:
        found = {name.lower() for name in given}
        if UNPACK in found:
            raise S3Error("NotImplemented", "Archives are not unpacked here: what they hold may have a hidden name.")
        if any(name.startswith(OURS) for name in found):
            raise S3Error("InvalidArgument", f"User metadata whose names begin with {OURS} are the gateway's own.")

    async def _source(self, call: Call) -> dict[str, str]:
        """The header that names the source of a copy, written anew as it was understood here; none if this is no copy.
        The source must not be an encrypted object of ours either.
        """
        text = call.request.headers.get("x-amz-copy-source")
        if text is None:
            return {}
        path, asked, parameters = text.partition("?")
        version = _VERSION.fullmatch(parameters)
        if asked and not version:  # a backend might find something there that was not checked here
            raise S3Error("InvalidArgument", ArgumentName="x-amz-copy-source", ArgumentValue=text[:256])
        bucket, key = copy_source(path)
        self._check_name(bucket, key)
        headers = {
            name.replace(_SOURCE_CUSTOMER, _CUSTOMER): value
            for name, value in call.request.headers.items()
            if name.startswith(_SOURCE_CUSTOMER)
        }
        version_id = unquote(version[1]) if version else ""
        if await self._look_at(bucket, key, version_id, headers):
            # The copy's metadata would name a record that belongs to the source.
            raise S3Error("NotImplemented", "A gateway without a KMS does not copy what one with a KMS stored.")
        return {
            "x-amz-copy-source": f"/{bucket}/{quote(key)}"
            + (f"?versionId={quote(version_id, safe='')}" if version else "")
        }

    async def _look_at(self, bucket: str, key: str, version_id: str, headers: Mapping[str, str]) -> bool:
        """What :meth:`_check_plain` says of an object; False if the backend refuses to show it, as it will then refuse
        the request. ``headers`` may hold the client's key for it.
        """
        query = [("versionId", version_id)] if version_id else []
        sent = {name: value for name, value in headers.items() if name.startswith(_CUSTOMER)}
        with contextlib.suppress(Refusal):
            download = await self._client.open(Request("HEAD", bucket, key, query, sent), raw=True)
            try:
                return await self._check_plain(bucket, key, download)
            finally:
                download.close()
        return False

    async def _check_plain(self, bucket: str, key: str, download: Download) -> bool:
        """Whether a gateway keeps a hidden record of this plain object. Raises NoKMS if a gateway encrypted the object,
        Damaged if its record is missing or malformed.
        """
        if ID not in download.headers:
            return False
        stored, hidden = await complete(self._client, bucket, describe(key, 0, download.headers))
        if ENCRYPTED in stored.record:
            raise NoKMS(f"{bucket}/{key} was encrypted by a gateway, and this one has no KMS")
        return hidden is not None

    def _check_deletion(self, bucket: str, document: bytes) -> None:
        """Check that a list of objects to delete names no hidden ones. Raises as _check_name does, and MalformedXML."""
        try:
            for key in xml.texts_of_all(document, "Key", _DELETION_TAGS):
                self._check_name(bucket, key)
        except xml.BadAnswer:
            raise S3Error("MalformedXML") from None


class _Streaming:
    """The body of the backend's answer, for the client. Closing it closes the answer, even if nothing was read.

    ``length``: its bytes; None if it is passed on as it comes, until it ends.
    """

    def __init__(self, download: Download, length: int | None) -> None:
        self._download = download
        self._left = length

    def __aiter__(self) -> _Streaming:
        return self

    async def __anext__(self) -> Buffer:
        if self._left is None and (piece := await self._download.read(_CHUNK, 1)):
            return piece
        if not self._left:
            raise StopAsyncIteration
        chunk = await self._download.read(min(_CHUNK, self._left))
        if not chunk:
            raise Unavailable("the backend's answer broke off")
        self._left -= len(chunk)
        return chunk

    async def aclose(self) -> None:
        """Close the answer."""
        self._download.close()
