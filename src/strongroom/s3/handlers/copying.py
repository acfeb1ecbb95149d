"""Copies: CopyObject and UploadPartCopy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from strongroom.header_names import REDIRECT
from strongroom.s3 import checksums
from strongroom.s3.call import Answer, Call
from strongroom.s3.checksums import Algorithm
from strongroom.s3.describe import check_upload_headers, moment, quoted, set_checksum, set_part_checksum, stored_headers
from strongroom.s3.encryption import confirmed, key_of_upload, shown
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import check_key, check_part_number, check_version
from strongroom.s3.preconditions import write_precondition
from strongroom.s3.ranges import ByteRange, check_read, parse_copy_range
from strongroom.s3.routing import is_bucket_name
from strongroom.s3.shapes import (
    CopyObjectOutput,
    CopyObjectRequest,
    CopyObjectResult,
    CopyPartResult,
    UploadPartCopyOutput,
    UploadPartCopyRequest,
)
from strongroom.s3.tags import MALFORMED_ESCAPE, format_tags, parse_tagging_header, parse_tags
from strongroom.s3.upload import MAX_PUT
from strongroom.sealed.faults import ObjectChanged
from strongroom.sealed.keys import Kind
from strongroom.sealed.metadata import ObjectChecksum
from strongroom.sealed.objects import ObjectInfo, Precondition
from strongroom.sealed.open_object import OpenObject
from strongroom.sealed.policy import Protection
from strongroom.sealed.resealing import is_shareable, share
from strongroom.sealed.store import SealedStore
from strongroom.sealed.writing import Description

_SOURCE = "x-amz-copy-source-"

_COPIED_AGAIN = 16
"""Attempts to copy an object, after the first, while others write it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a request wants of a copy. Headers or tags that are None are taken from the source."""

    headers: Mapping[str, str] | None
    tags: tuple[str, int] | None
    algorithm: Algorithm | None
    precondition: Precondition


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to make a copy: its encryption, headers, tags and checksum algorithm, and the condition of the write."""

    protection: Protection
    headers: Mapping[str, str]
    tags: tuple[str, int]
    algorithm: Algorithm | None
    precondition: Precondition


class CopyHandlers:
    """Operations whose bytes come from another object."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects

    async def copy_object(self, call: Call, request: CopyObjectRequest) -> Answer:
        """Copy an object, also onto itself to change its metadata or its encryption."""
        check_upload_headers(call.request.headers)
        wish = _wish(call, request)
        source = copy_source(request.copy_source)
        asked = call.encryption.protection()
        attempts_left = _COPIED_AGAIN
        while True:
            try:
                info = await self._copied(call, request, wish, asked, source)
                break
            except ObjectChanged:  # nothing has been written yet, so what is there now will do as well
                if not attempts_left:
                    raise
                attempts_left -= 1
        result = CopyObjectResult(etag=quoted(info.etag), last_modified=moment(info.modified))
        set_checksum(result, info.checksum)
        return Answer(CopyObjectOutput(copy_object_result=result), confirmed(info, asked), about=info)

    async def _copied(
        self, call: Call, request: CopyObjectRequest, wish: _Wish, asked: Protection | None, name: tuple[str, str]
    ) -> ObjectInfo:
        """Copy the object of this bucket and key. Raises ObjectChanged if somebody writes it meanwhile, and the copy is
        one onto itself, or the storage does not keep the bytes that were there.
        """
        bucket, key = name
        source = await self._objects.open(bucket, key, call.encryption.source_customer_key(), whole=False)
        try:
            check_read(call.request.headers, source.info.etag, source.info.modified, time.time(), _SOURCE)
            if source.info.size > MAX_PUT:
                raise S3Error(
                    "InvalidRequest",
                    "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120",
                )
            if name == (call.bucket, call.key):
                _check_changes(call, request, asked, await self._objects.default_encryption(call.bucket))
            plan = await self._plan(call, wish, asked, bucket, source)
            return await self._copy(call, source, plan)
        finally:
            await source.close()

    async def upload_part_copy(self, call: Call, request: UploadPartCopyRequest) -> Answer:
        """Store a part whose bytes are a range of another object."""
        bucket, key = copy_source(request.copy_source)
        number = check_part_number(request.part_number)
        customer_key = call.encryption.customer_key()
        source = await self._objects.open(bucket, key, call.encryption.source_customer_key(), whole=False)
        try:
            check_read(call.request.headers, source.info.etag, source.info.modified, time.time(), _SOURCE)
            span = parse_copy_range(request.copy_source_range, source.info.size) or ByteRange(0, source.info.size)
            if span.length > MAX_PUT:
                raise S3Error("EntityTooLarge")
            with key_of_upload():
                upload, writer = await self._objects.uploads.begin_part(
                    call.bucket, call.key, request.upload_id, number, span.length, customer_key
                )
            algorithm = Algorithm(upload.checksum.algorithm) if upload.checksum else None
            hasher = checksums.hasher(algorithm) if algorithm else None
            try:
                writer.watch(False, [hasher] if hasher else [])
                await source.pour(span.start, span.length, writer)
                entry, part = await writer.commit(hasher.digest() if hasher else b"")
            except BaseException:
                await writer.abort()
                raise
        finally:
            await source.close()
        result = CopyPartResult(etag=quoted(entry.etag), last_modified=moment(part.modified))
        if algorithm:
            set_part_checksum(result, algorithm, entry.checksum)
        output = UploadPartCopyOutput(copy_part_result=result)
        return Answer(output, shown(upload, customer_key), about=upload)

    async def _plan(self, call: Call, wish: _Wish, asked: Protection | None, bucket: str, source: OpenObject) -> _Plan:
        headers, tags = wish.headers, wish.tags
        if headers is None:
            redirect = call.request.headers.get(REDIRECT)  # never copied from the source
            headers = {name: value for name, value in source.info.headers.items() if name != REDIRECT}
            headers |= {REDIRECT: redirect} if redirect else {}
        if tags is None:
            tags = format_tags(parse_tags(await self._objects.tags_of(bucket, source.reader.stored)))
        protection = await self._objects.protection(call.bucket, asked)
        precondition, is_itself = wish.precondition, (bucket, source.info.key) == (call.bucket, call.key)
        comparable = source.reader.comparable and not self._objects.outer.keyed(protection.kind)
        if is_itself and comparable and not precondition.if_none_match:
            precondition = replace(precondition, identity=source.info.identity)
        return _Plan(protection, headers, tags, wish.algorithm, precondition)

    async def _copy(self, call: Call, source: OpenObject, plan: _Plan) -> ObjectInfo:
        objects, kept = self._objects, source.info.checksum
        same_checksum = plan.algorithm is None or (kept is not None and plan.algorithm == kept.algorithm)
        if same_checksum and is_shareable(objects, source, call.encryption.source_customer_key(), plan.protection):
            tags = await objects.seal_tags(call.bucket, call.key, plan.protection, *plan.tags)
            description = Description(plan.headers, kept, tags)
            return await share(objects, source, call.bucket, call.key, plan.protection, description, plan.precondition)
        algorithm = plan.algorithm or (Algorithm(kept.algorithm) if kept else None)
        hasher = checksums.hasher(algorithm) if algorithm else None
        size = source.info.size
        writer = await objects.begin(call.bucket, call.key, plan.protection, size, hashers=[hasher] if hasher else [])
        try:
            await source.pour(0, size, writer)
            checksum = None
            if algorithm and hasher:
                checksum = ObjectChecksum(algorithm, "FULL_OBJECT", checksums.format_value(hasher.digest()))
            tags = await objects.seal_tags(call.bucket, call.key, writer.protection, *plan.tags)
            return await writer.commit(Description(plan.headers, checksum, tags), plan.precondition)
        except BaseException:
            await writer.abort()
            raise


def _wish(call: Call, request: CopyObjectRequest) -> _Wish:
    """Raises InvalidArgument, InvalidRequest, InvalidTag, MetadataTooLarge."""
    headers = call.request.headers
    given, tags = stored_headers(headers), parse_tagging_header(headers.get("x-amz-tagging"))
    return _Wish(
        given if _directive(request.metadata_directive, "metadata") == "REPLACE" else None,
        tags if _directive(request.tagging_directive, "tagging") == "REPLACE" else None,
        checksums.wanted(headers),
        write_precondition(request.if_match, request.if_none_match),
    )


def copy_source(text: str) -> tuple[str, str]:
    """The bucket and key of ``x-amz-copy-source``. Raises InvalidArgument, NoSuchVersion, KeyTooLongError.

    A plus is read as a space, as AWS does: some clients (s5cmd) escape the source like a query.
    """
    path, _, query = text.partition("?")
    path = path.replace("+", " ")
    try:
        name = "" if MALFORMED_ESCAPE.search(path) else unquote_to_bytes(path.encode("latin-1")).decode()
    except UnicodeError:
        name = ""
    if not name:
        raise _invalid_source("Invalid copy source encoding", text)
    bucket, slash, key = name.removeprefix("/").partition("/")
    if not bucket or not slash or not key:
        raise _invalid_source("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", text)
    if not is_bucket_name(bucket):
        raise _invalid_source("Invalid copy source bucket name", text)
    if query:
        check_version(query.removeprefix("versionId="))
    check_key(key)
    return bucket, key


def _invalid_source(message: str, text: str) -> S3Error:
    return S3Error("InvalidArgument", message, ArgumentName="x-amz-copy-source", ArgumentValue=text[:256])


def _directive(value: str | None, about: str) -> str:
    if value not in (None, "COPY", "REPLACE"):
        raise S3Error(
            "InvalidArgument",
            f"Unknown {about} directive.",
            ArgumentName=f"x-amz-{about}-directive",
            ArgumentValue=value[:256],
        )
    return value or "COPY"


def _check_changes(call: Call, request: CopyObjectRequest, *wanted: Protection | None) -> None:
    """Raises InvalidRequest for a copy of an object onto itself that changes nothing, as S3 does. An encryption that
    is ``wanted``, by the request or as the bucket's default, is a change, even if the object has it already.
    """
    headers = call.request.headers
    changes = (
        request.metadata_directive == "REPLACE"
        or request.tagging_directive == "REPLACE"
        or any(protection is not None and protection.kind is not Kind.PLAIN for protection in wanted)
        or call.encryption.source_customer_key() is not None
        or any(name in headers for name in ("x-amz-storage-class", "x-amz-checksum-algorithm", REDIRECT))
    )
    if not changes:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the"
            " object's metadata, storage class, website redirect location or encryption attributes.",
        )
