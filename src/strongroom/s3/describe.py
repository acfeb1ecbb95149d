"""How S3's headers and documents describe an object, in one place for all operations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from strongroom.dates import http_date, utc
from strongroom.header_names import CONTENT_HEADERS, META, REDIRECT
from strongroom.s3.body import stored_content_encoding
from strongroom.s3.call import Headers
from strongroom.s3.checksums import Algorithm, format_value
from strongroom.s3.encryption import ASKING, SOURCE_SSE, SSE
from strongroom.s3.errors import S3Error
from strongroom.s3.routing import COPY_SOURCE
from strongroom.sealed.metadata import ObjectChecksum

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
MAX_USER_METADATA = 2048
"""The maximum bytes of all names and values of user metadata (S3 User Guide, "Working with object metadata")."""
MAX_CONTENT_HEADERS = 8192

_OVERRIDES = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A token as defined in RFC 9110."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
NO_OBJECT_LOCK = "Bucket is missing Object Lock Configuration"
"""The message of the InvalidRequest with which S3 answers whatever has to do with locks, in a bucket without them."""
_LOCK = "x-amz-object-lock-"
_ACLS = ("private", "bucket-owner-full-control", "bucket-owner-read")
_OTHER_ACLS = ("authenticated-read", "aws-exec-read", "public-read", "public-read-write")
_GRANT = "x-amz-grant-"
_STORAGE_CLASSES = ("STANDARD", "REDUCED_REDUNDANCY")
_WRITES = ("PutObject", "CreateMultipartUpload", "CopyObject")
_WRITES_PARTS = ("UploadPart", "UploadPartCopy")
_MOVED = {
    REDIRECT,
    "x-amz-acl",
    "x-amz-metadata-directive",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    *ASKING,
}
_MOVED_STARTS = (META, _LOCK, _GRANT)
"""Headers that may be in a presigned URL instead (some only to be refused, as they are in a header). Checksums are not
among them: SDKs presign that of an empty body, and AWS ignores it."""


def quoted(etag: str) -> str:
    """An ETag as it is on the wire."""
    return f'"{etag}"'


def moment(nanoseconds: int) -> datetime:
    """A time as XML has it, to the millisecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return utc(seconds).replace(microsecond=rest // 1_000_000 * 1000)


def stored_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The content headers and user metadata of an upload, as they are stored. Raises MetadataTooLarge."""
    kept: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        if name.startswith(META):
            kept[name] = value
            size += len(name) - len(META) + len(value)
    if size > MAX_USER_METADATA:
        raise S3Error("MetadataTooLarge", Size=str(size), MaxSizeAllowed=str(MAX_USER_METADATA))
    for name in CONTENT_HEADERS:
        value = headers.get(name, "")
        if name == "content-encoding":
            value = stored_content_encoding(value) or ""
        if value:
            kept[name] = value
            size += len(value)
    if size > MAX_USER_METADATA + MAX_CONTENT_HEADERS:
        raise S3Error("MetadataTooLarge")
    return kept


def check_header(name: str, value: str) -> None:
    """Refuse what cannot be sent as a header, and so must not be stored as one. Raises InvalidArgument."""
    if not HEADER_NAME.fullmatch(name) or _UNPRINTABLE.search(value):
        raise S3Error(
            "InvalidArgument",
            "A field holds characters that no header can.",
            ArgumentName=ascii(name)[1:-1][:256],
        )


def moved_headers(operation: str, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a write that a presigned URL has in its query, where SDKs move them. Real headers take precedence.

    Raises InvalidArgument for what cannot be a header, for the source of a copy, which AWS does not look for in the
    query, and for a client's key: URLs end up in logs.
    """
    moved: dict[str, str] = {}
    if operation not in _WRITES and operation not in _WRITES_PARTS:
        return moved
    for parameter, value in query.items():
        name = parameter.lower()
        copies = name == COPY_SOURCE and name not in headers  # it would become an empty object, not a copy
        if copies or (name.startswith((SSE, SOURCE_SSE)) and name not in ASKING):
            raise S3Error("InvalidArgument", "This does not belong in a URL.", ArgumentName=ascii(name)[1:-1][:256])
        if operation in _WRITES and name not in headers and (name in _MOVED or name.startswith(_MOVED_STARTS)):
            check_header(name, value)
            moved.setdefault(name, value.encode().decode("latin-1"))
    return moved


def check_upload_headers(headers: Mapping[str, str]) -> None:
    """Refuse an upload that asks for something that is not served, instead of ignoring that. Raises S3Error."""
    if any(name.startswith(_LOCK) for name in headers):
        raise S3Error("InvalidRequest", NO_OBJECT_LOCK)
    check_acl_headers(headers)
    if REDIRECT in headers and not headers[REDIRECT].startswith(("/", "http://", "https://")):
        raise S3Error("InvalidRedirectLocation")
    if headers.get("x-amz-storage-class", "STANDARD") not in _STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass")
    if "x-amz-write-offset-bytes" in headers:
        raise S3Error("NotImplemented")


def check_acl_headers(headers: Mapping[str, str]) -> None:
    """Accept ACLs that leave everything to the owner. Raises AccessControlListNotSupported, InvalidArgument."""
    acl = headers.get("x-amz-acl")
    if acl in _OTHER_ACLS or any(name.startswith(_GRANT) for name in headers):
        raise S3Error("AccessControlListNotSupported")
    if acl is not None and acl not in _ACLS:
        raise S3Error("InvalidArgument", ArgumentName="x-amz-acl", ArgumentValue=acl[:256])


def object_headers(stored: Mapping[str, str], etag: str, modified: int, tag_count: int) -> Headers:
    """The headers that GET and HEAD answer with for every object."""
    headers = [
        ("etag", quoted(etag)),
        ("last-modified", http_date(modified)),
        ("accept-ranges", "bytes"),
    ]
    headers.extend(stored.items())
    if "content-type" not in stored:
        headers.append(("content-type", DEFAULT_CONTENT_TYPE))
    if tag_count:
        headers.append(("x-amz-tagging-count", str(tag_count)))
    return headers


def override_headers(headers: Headers, query: Mapping[str, str]) -> Headers:
    """Replace stored headers by the ``response-…`` parameters of a GET or HEAD. Raises InvalidArgument."""
    wanted = {header: query[name] for name, header in _OVERRIDES.items() if name in query}
    if not wanted:
        return headers
    for value in wanted.values():
        if not value.isprintable():  # a line break here would let the client add headers
            raise S3Error("InvalidArgument", "A response header override holds characters that no header can.")
    return [(name, value) for name, value in headers if name not in wanted] + list(wanted.items())


def checksum_headers(checksum: ObjectChecksum | None) -> Headers:
    """The headers that show a checksum; none for None."""
    if checksum is None:
        return []
    return [
        (Algorithm(checksum.algorithm).header, checksum.value),
        ("x-amz-checksum-type", checksum.kind),
    ]


def set_checksum(shape: object, checksum: ObjectChecksum | None) -> None:
    """Set the checksum of an object, and its type, in a shape that has members for them. Does nothing for None."""
    if checksum is not None:
        setattr(shape, "checksum_type", checksum.kind)  # noqa: B010 - several shapes have it
        setattr(shape, Algorithm(checksum.algorithm).member, checksum.value)


def set_part_checksum(shape: object, algorithm: str, digest: bytes) -> None:
    """Set the checksum of a part, given as a raw digest, in a shape that has a member for it."""
    setattr(shape, Algorithm(algorithm).member, format_value(digest))
