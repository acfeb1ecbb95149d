"""Objects: PutObject, GetObject, HeadObject, DeleteObject, DeleteObjects, GetObjectAttributes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from strongroom.buffers import Buffer
from strongroom.dates import http_date
from strongroom.s3.body import decoder_for
from strongroom.s3.call import Answer, Call, Headers
from strongroom.s3.checksums import expected, format_value
from strongroom.s3.describe import (
    check_upload_headers,
    checksum_headers,
    object_headers,
    override_headers,
    quoted,
    set_checksum,
    set_part_checksum,
    stored_headers,
)
from strongroom.s3.encryption import confirmed, shown
from strongroom.s3.errors import S3Error
from strongroom.s3.faults import about, translate
from strongroom.s3.naming import check_key, check_part_number, check_version, page_size, part_marker
from strongroom.s3.preconditions import write_precondition
from strongroom.s3.ranges import ByteRange, check_read, parse_range, range_holds
from strongroom.s3.shapes import (
    Checksum,
    DeletedObject,
    DeleteObjectRequest,
    DeleteObjectsOutput,
    DeleteObjectsRequest,
    Error,
    GetObjectAttributesOutput,
    GetObjectAttributesParts,
    GetObjectAttributesRequest,
    GetObjectRequest,
    HeadObjectRequest,
    ObjectIdentifier,
    ObjectPart,
    PutObjectRequest,
)
from strongroom.s3.tags import parse_tagging_header
from strongroom.s3.upload import Integrity, announced_size
from strongroom.sealed.faults import NoSuchObject, ObjectChanged
from strongroom.sealed.metadata import ObjectChecksum
from strongroom.sealed.objects import ObjectInfo
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.parts import PartEntry, sizes_of
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description
from strongroom.secret import Secret

_READ_AGAIN = 4
_DELETES_AT_ONCE = 32
MAX_DELETE = 1000
_PURGE = "x-minio-force-delete"  # sent by "mc rm --purge", to remove everything below a prefix
_OTHER_CONDITIONS = ("x-amz-if-match-last-modified-time", "x-amz-if-match-size")


class ObjectHandlers:
    """Operations on one object, or on a list of them."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects

    async def put_object(self, call: Call, request: PutObjectRequest) -> Answer:
        """Store an object."""
        headers = call.request.headers
        check_upload_headers(headers)
        kept = stored_headers(headers)
        tags = parse_tagging_header(headers.get("x-amz-tagging"))
        precondition = write_precondition(request.if_match, request.if_none_match)
        integrity = Integrity(headers)
        decoder = decoder_for(call.payload, headers)
        size = announced_size(decoder)
        asked = call.encryption.protection()
        await self._objects.condition(call.bucket, call.key, precondition)  # fail before the body is read
        writer = await self._objects.begin(
            call.bucket, call.key, asked, size, md5=integrity.wants_md5, hashers=integrity.hashers
        )
        try:
            await integrity.take(call.body, decoder, writer)
            sealed_tags = await self._objects.seal_tags(call.bucket, call.key, writer.protection, *tags)
            info = await writer.commit(Description(kept, integrity.checksum, sealed_tags), precondition)
        except BaseException:
            await writer.abort()
            raise
        answer = [("etag", quoted(info.etag)), *checksum_headers(info.checksum), *confirmed(info, asked)]
        return Answer(headers=answer, about=info)

    async def get_object(self, call: Call, request: GetObjectRequest) -> Answer:
        """An object's bytes, whole or a range of them."""
        customer_key = _read_checks(call, request)
        attempts_left = _READ_AGAIN
        while True:
            try:
                return await self._get(call, request, customer_key)
            except ObjectChanged:  # no byte has been sent yet, so the new object will do as well
                if not attempts_left:
                    raise
                attempts_left -= 1

    async def _get(self, call: Call, request: GetObjectRequest, customer_key: Secret | None) -> Answer:
        whole = request.part_number is None and "range" not in call.request.headers
        source = await self._objects.open(call.bucket, call.key, customer_key, whole=whole)
        try:
            answer = await _describe(call, source, request.part_number, request.checksum_mode, customer_key)
            answer.headers = override_headers(answer.headers, call.request.query)
            part = answer.span
            at_once = await source.at_once(part.start, part.length)
            if at_once is None:
                stream = await _begun(_closing(source, part))
                return Answer(None, answer.headers, answer.status, stream, part.length, source.info)
        except BaseException:
            await source.close()
            raise
        await source.close()
        return Answer(None, answer.headers, answer.status, at_once, part.length, source.info)

    async def head_object(self, call: Call, request: HeadObjectRequest) -> Answer:
        """What GET would answer, without the bytes."""
        customer_key = _read_checks(call, request)
        source = await self._objects.open(call.bucket, call.key, customer_key, whole=False)
        try:
            answer = await _describe(call, source, request.part_number, request.checksum_mode, customer_key)
        finally:
            await source.close()
        headers = override_headers(answer.headers, call.request.query)
        return Answer(None, headers, answer.status, b"", answer.span.length, source.info)

    async def delete_object(self, call: Call, request: DeleteObjectRequest) -> Answer:
        """Remove an object; no error if there is none."""
        check_version(request.version_id)
        if any(name in call.request.headers for name in _OTHER_CONDITIONS):
            raise _condition_not_served()
        if call.request.headers.get(_PURGE, "").lower() == "true":
            raise S3Error("NotImplemented", "Only objects are removed, not all that is below a name.")
        await self._objects.delete(call.bucket, call.key, write_precondition(request.if_match, None))
        return Answer()

    async def delete_objects(self, call: Call, request: DeleteObjectsRequest) -> Answer:
        """Remove up to 1,000 objects; the answer has a result for each."""
        headers = call.request.headers
        if "content-md5" not in headers and expected(headers) is None:  # a list that nothing vouches for
            raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
        await self._objects.bucket(call.bucket)
        if not 1 <= len(request.delete.objects) <= MAX_DELETE:
            raise S3Error("MalformedXML")
        room = asyncio.Semaphore(_DELETES_AT_ONCE)

        async def delete(item: ObjectIdentifier) -> DeletedObject | Error:
            async with room:
                return await self._delete_listed(call, item)

        output = DeleteObjectsOutput()
        for result in await asyncio.gather(*map(delete, request.delete.objects)):
            if isinstance(result, Error):
                output.errors.append(result)
            elif not request.delete.quiet:
                output.deleted.append(result)
        return Answer(output)

    async def _delete_listed(self, call: Call, item: ObjectIdentifier) -> DeletedObject | Error:
        try:
            check_key(item.key)
            check_version(item.version_id)
            if item.size is not None or item.last_modified_time is not None:
                raise _condition_not_served()
            await self._objects.delete(call.bucket, item.key, write_precondition(item.etag, None))
        except NoSuchObject:
            return Error(key=item.key, code="NoSuchKey", message="The specified key does not exist.")
        except Exception as error:
            fault = translate(error, call.request, about(call.request_id, "DeleteObjects", call.bucket, item.key))
            return Error(key=item.key, code=fault.code, message=fault.message)
        return DeletedObject(key=item.key, version_id=item.version_id)

    async def get_object_attributes(self, call: Call, request: GetObjectAttributesRequest) -> Answer:
        """The attributes of an object that the request asks for."""
        customer_key = _read_checks(call, request)
        wanted = set(filter(None, request.object_attributes))
        if not wanted:
            raise S3Error(
                "InvalidRequest",
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or"
                " empty",
            )
        if unknown := wanted - _ATTRIBUTES:
            raise S3Error("InvalidArgument", "Invalid attribute name specified.", ArgumentValue=sorted(unknown)[0])
        source = await self._objects.open(call.bucket, call.key, customer_key, whole=False)
        try:
            info = source.info
            check_read(call.request.headers, info.etag, info.modified, time.time())
            parts = await source.parts() if "ObjectParts" in wanted else []
        finally:
            await source.close()
        output = GetObjectAttributesOutput()
        if "ETag" in wanted:
            output.etag = info.etag
        if "ObjectSize" in wanted:
            output.object_size = info.size
        if "StorageClass" in wanted:
            output.storage_class = "STANDARD"
        if "Checksum" in wanted and info.checksum:
            output.checksum = _checksum_shape(info.checksum)
        if parts:
            output.object_parts = _attributes_parts(parts, info, request)
        headers = [("last-modified", http_date(info.modified)), *shown(info, customer_key)]
        return Answer(output, headers, about=info)


_ATTRIBUTES = {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}


class _Described(Answer):
    """An answer without its body yet, with the range of the object that the body is."""

    __slots__ = ("span",)

    def __init__(self, headers: Headers, status: int | None, span: ByteRange) -> None:
        super().__init__(None, headers, status)
        self.span = span


def _read_checks(
    call: Call, request: GetObjectRequest | HeadObjectRequest | GetObjectAttributesRequest
) -> Secret | None:
    """Check what every read checks first. Returns the client's key, if the request brings one. Raises S3Error."""
    check_version(request.version_id)
    if not isinstance(request, GetObjectAttributesRequest) and request.part_number is not None:
        check_part_number(request.part_number)
        if "range" in call.request.headers:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    call.encryption.refuse_method()
    return call.encryption.customer_key()


async def _describe(
    call: Call, source: OpenObject, part_number: int | None, checksum_mode: str | None, customer_key: Secret | None
) -> _Described:
    """The status and headers of a GET or HEAD, and the range of bytes that it asks for. Raises S3Error."""
    info, request = source.info, call.request.headers
    check_read(request, info.etag, info.modified, time.time())
    headers = object_headers(info.headers, info.etag, info.modified, info.tag_count)
    headers.extend(shown(info, customer_key))
    checksum = info.checksum
    if part_number is not None:
        span, checksum, count = await _part_span(source, part_number)
        if count:
            headers.append(("x-amz-mp-parts-count", str(count)))
        ranged = span.length > 0  # no Content-Range can say that there are no bytes
    else:
        counts = range_holds(request.get("if-range"), info.etag, info.modified)
        asked = parse_range(request.get("range"), info.size) if counts else None
        ranged, span = asked is not None, asked or ByteRange(0, info.size)
    if ranged:
        headers.append(("content-range", span.content_range(info.size)))
    if (checksum_mode or "").upper() == "ENABLED" and (part_number is not None or span.length == info.size):
        headers.extend(checksum_headers(checksum))
    return _Described(headers, 206 if ranged else None, span)


async def _part_span(source: OpenObject, number: int) -> tuple[ByteRange, ObjectChecksum | None, int]:
    """The byte range of one part of an object, its checksum, and the number of parts (0: not a multipart object)."""
    info, parts = source.info, await source.parts()
    if number > max(len(parts), 1):
        raise S3Error("InvalidPartNumber", ActualPartCount=str(max(len(parts), 1)), PartNumberRequested=str(number))
    if not parts:
        return ByteRange(0, info.size), info.checksum, 0
    start = sum(sizes_of(parts)[: number - 1])
    part = parts[number - 1]
    checksum = None
    if part.checksum and info.checksum:
        checksum = ObjectChecksum(info.checksum.algorithm, info.checksum.kind, format_value(part.checksum))
    return ByteRange(start, part.size), checksum, len(parts)


async def _closing(source: OpenObject, part: ByteRange) -> AsyncGenerator[Buffer]:
    """The bytes of an open object, which is closed after the last one."""
    try:
        async with aclosing(source.stream(part.start, part.length)) as chunks:  # closed before its source is
            async for chunk in chunks:
                yield chunk
    finally:
        await source.close()


class _Begun:
    """A stream whose first chunk is at hand: an error at its beginning was raised before the headers were sent."""

    def __init__(self, first: Buffer | None, rest: AsyncGenerator[Buffer]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> _Begun:
        return self

    async def __anext__(self) -> Buffer:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._rest.aclose()


async def _begun(stream: AsyncGenerator[Buffer]) -> _Begun:
    return _Begun(await anext(stream, None), stream)


def _condition_not_served() -> S3Error:
    """The error for conditions on time or size, which must not be ignored. S3 has them for directory buckets only."""
    return S3Error("NotImplemented", "Objects are deleted on the condition of their ETag only, not of time or size.")


def _checksum_shape(checksum: ObjectChecksum) -> Checksum:
    """A checksum as GetObjectAttributes shows it: without the "-N" that HeadObject has after a composite one."""
    shape = Checksum()
    set_checksum(shape, replace(checksum, value=checksum.value.partition("-")[0]))
    return shape


def _attributes_parts(
    parts: Sequence[PartEntry], info: ObjectInfo, request: GetObjectAttributesRequest
) -> GetObjectAttributesParts:
    after = part_marker(request.part_number_marker)
    limit = page_size(request.max_parts, "max-parts")
    page = list(enumerate(parts[after : after + limit], after + 1))
    output = GetObjectAttributesParts(
        total_parts_count=len(parts),
        part_number_marker=after,
        max_parts=limit,
        is_truncated=len(parts) > after + len(page),
        next_part_number_marker=page[-1][0] if page else after,
    )
    if info.checksum:  # AWS lists the parts of an object only if they have checksums
        for number, part in page:
            shape = ObjectPart(part_number=number, size=part.size)
            set_part_checksum(shape, info.checksum.algorithm, part.checksum)
            output.parts.append(shape)
    return output
