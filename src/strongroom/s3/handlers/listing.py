"""Listings of objects: ListObjects, ListObjectsV2, ListObjectVersions."""

from __future__ import annotations

import base64

from strongroom.s3.call import Answer, Call
from strongroom.s3.entries import Entries
from strongroom.s3.errors import S3Error
from strongroom.s3.naming import behind_marker, encode_name, page_size
from strongroom.s3.shapes import (
    ListObjectsOutput,
    ListObjectsRequest,
    ListObjectsV2Output,
    ListObjectsV2Request,
    ListObjectVersionsOutput,
    ListObjectVersionsRequest,
)
from strongroom.sealed.objects import Listing
from strongroom.sealed.store import SealedStore


class ListingHandlers:
    """Operations that list a bucket's objects."""

    def __init__(self, objects: SealedStore) -> None:
        self._objects = objects
        self._entries = Entries()

    async def list_objects(self, call: Call, request: ListObjectsRequest) -> Answer:
        """One page, in version 1 of the API: the marker is a key or a common prefix."""
        encoding, delimiter, prefix = request.encoding_type, request.delimiter or "", request.prefix or ""
        limit = page_size(request.max_keys, "max-keys")
        after = behind_marker(request.marker or "", prefix, delimiter)
        page = await self._page(call.bucket, prefix, delimiter, after, limit)
        output = ListObjectsOutput(
            name=call.bucket,
            prefix=encode_name(prefix, encoding),
            marker=encode_name(request.marker or "", encoding),
            max_keys=limit,
            delimiter=encode_name(delimiter, encoding) if delimiter else None,
            encoding_type=encoding,
            is_truncated=page.next is not None,
            contents=self._entries.objects(page.objects, encoding, with_owner=True),
            common_prefixes=self._entries.prefixes(page.prefixes, encoding),
        )
        if page.next is not None:
            output.next_marker = encode_name(page.next, encoding)
        return Answer(output)

    async def list_objects_v2(self, call: Call, request: ListObjectsV2Request) -> Answer:
        """One page; the continuation token is opaque to clients."""
        encoding, delimiter, prefix = request.encoding_type, request.delimiter or "", request.prefix or ""
        limit = page_size(request.max_keys, "max-keys")
        token = request.continuation_token
        after = _read_token(token) if token is not None else request.start_after or ""
        page = await self._page(call.bucket, prefix, delimiter, after, limit)
        output = ListObjectsV2Output(
            name=call.bucket,
            prefix=encode_name(prefix, encoding),
            max_keys=limit,
            key_count=len(page.objects) + len(page.prefixes),
            delimiter=encode_name(delimiter, encoding) if delimiter else None,
            encoding_type=encoding,
            is_truncated=page.next is not None,
            continuation_token=token,
            start_after=encode_name(request.start_after, encoding) if request.start_after else None,
            contents=self._entries.objects(page.objects, encoding, with_owner=bool(request.fetch_owner)),
            common_prefixes=self._entries.prefixes(page.prefixes, encoding),
        )
        if page.next is not None:
            output.next_continuation_token = _token(page.next)
        return Answer(output)

    async def list_object_versions(self, call: Call, request: ListObjectVersionsRequest) -> Answer:
        """One page; each object has exactly one version."""
        encoding, delimiter, prefix = request.encoding_type, request.delimiter or "", request.prefix or ""
        limit = page_size(request.max_keys, "max-keys")
        if request.version_id_marker and not request.key_marker:
            raise S3Error(
                "InvalidArgument",
                "A version-id marker cannot be specified without a key marker.",
                ArgumentName="version-id-marker",
                ArgumentValue=request.version_id_marker[:256],
            )
        after = behind_marker(request.key_marker or "", prefix, delimiter)
        page = await self._page(call.bucket, prefix, delimiter, after, limit)
        output = ListObjectVersionsOutput(
            name=call.bucket,
            prefix=encode_name(prefix, encoding),
            key_marker=encode_name(request.key_marker or "", encoding),
            version_id_marker=request.version_id_marker or "",
            max_keys=limit,
            delimiter=encode_name(delimiter, encoding) if delimiter else None,
            encoding_type=encoding,
            is_truncated=page.next is not None,
            versions=self._entries.versions(page.objects, encoding),
            common_prefixes=self._entries.prefixes(page.prefixes, encoding),
        )
        if page.next is not None:
            output.next_key_marker, output.next_version_id_marker = encode_name(page.next, encoding), "null"
        return Answer(output)

    async def _page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        if limit == 0:
            await self._objects.bucket(bucket)
            return Listing([], [], None)
        return await self._objects.list(bucket, prefix, delimiter, after, limit)


def _token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _read_token(token: str) -> str:
    try:
        name = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        name = ""
    if not name:
        raise S3Error(
            "InvalidArgument", "The continuation token provided is incorrect", ArgumentName="continuation-token"
        )
    return name
