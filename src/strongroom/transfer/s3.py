"""A typed S3 client over botocore, with the few operations that copying needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError
from botocore.handlers import validate_ascii_metadata
from urllib3.exceptions import HTTPError

from strongroom.secret import Secret
from strongroom.transfer.place import Access

Encryption = Literal["", "SSE-S3", "SSE-KMS", "SSE-C"]

CHUNK = 1024 * 1024
_CONTENT_HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "WebsiteRedirectLocation",
)
_EXPIRES = "Expires"
_UNREACHABLE = "unreachable"
_PASSING = (502, 503, 504)
"""The statuses of an S3 that is away for a moment, or of a proxy before it."""
_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds to wait for an S3 that is away for a moment, before each further attempt."""
_KINDS: dict[str, Encryption] = {"AES256": "SSE-S3", "aws:kms": "SSE-KMS", "aws:kms:dsse": "SSE-KMS"}


class S3Failed(Exception):
    """The S3 refused an operation or could not be reached.

    ``code`` is S3's code (only the HTTP status if a HEAD was refused), "unreachable", or "" for other failures.
    ``passing``: it may well pass, as when the S3 is started anew.
    """

    def __init__(self, message: str, code: str = "", passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.passing = passing

    @property
    def unavailable(self) -> bool:
        """Whether the S3 is full, or it or its KMS is not available (503: all that a HEAD shows of that)."""
        return self.code in (_UNREACHABLE, "503", "ServiceUnavailable", "XMinioStorageFull", "InsufficientStorage")


class Locked(S3Failed):
    """An object is encrypted with a client's key (SSE-C) that was not given."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "AccessDenied")


class NoKeys(S3Failed):
    """No keys were given, and none found where AWS's tools look."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object, as a listing shows it."""

    bucket: str
    key: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True, slots=True)
class Described:
    """An object, as HEAD shows it. ``headers``: content headers by botocore's names; ``tags``: a query string."""

    size: int
    etag: str
    modified: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""
    encryption: Encryption = ""
    parts: int = 0

    def same_as(self, other: Described) -> bool:
        """Whether two objects have the same size, headers, metadata and tags; ETag, time and encryption may differ."""
        return (self.size, dict(self.headers), dict(self.metadata), self.tags) == (
            other.size, dict(other.headers), dict(other.metadata), other.tags,
        )  # fmt: skip


class S3:
    """A client of one S3; may be shared by threads. If the S3 has answered before, and is away for a moment, it is
    waited for, unless ``stop`` is set.
    """

    def __init__(self, endpoint: str, access: Access, connections: int, stop: threading.Event | None = None) -> None:
        self._stop = stop or threading.Event()
        self._answered = False
        try:
            session = botocore.session.Session(profile=access.profile)
            keys: dict[str, Any] = {}
            if access.access_key is not None and access.secret_key is not None:
                secret = access.secret_key.reveal().decode()
                keys = {"aws_access_key_id": access.access_key, "aws_secret_access_key": secret}
            elif session.get_credentials() is None:
                raise NoKeys("there are no credentials")
            self._client: Any = session.create_client(
                "s3",
                endpoint_url=endpoint,
                region_name=access.region or session.get_config_variable("region") or "us-east-1",
                verify=access.ca if access.ca else None,
                config=Config(
                    max_pool_connections=connections,
                    retries={"mode": "standard", "total_max_attempts": 5},
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                ),
                **keys,
            )
        except BotoCoreError as error:
            raise S3Failed(str(error)) from error
        self.endpoint = endpoint
        events = self._client.meta.events
        for operation in ("PutObject", "CreateMultipartUpload"):
            # Metadata in UTF-8 are sent as UTF-8, and an Expires that is not a date is sent as it came.
            events.unregister(f"before-parameter-build.s3.{operation}", validate_ascii_metadata)
            events.register(f"before-parameter-build.s3.{operation}", _keep_expires)
            events.register(f"before-call.s3.{operation}", _add_expires)

    def buckets(self) -> list[str]:
        """The names of all buckets."""
        return [row["Name"] for row in self._call("list_buckets").get("Buckets", [])]

    def make_bucket(self, bucket: str) -> bool:
        """Make a bucket; False if it already exists."""
        try:
            self._call("head_bucket", Bucket=bucket)
            return False
        except S3Failed as error:
            if error.code != "404":
                raise
        self._call("create_bucket", Bucket=bucket)
        return True

    def list(self, bucket: str, prefix: str) -> Iterator[Listed]:
        """All objects of a bucket whose keys begin with ``prefix``, in order."""
        token: dict[str, str] = {}
        while True:
            page = self._call("list_objects_v2", Bucket=bucket, Prefix=prefix, **token)
            for row in page.get("Contents", []):
                yield Listed(bucket, row["Key"], row["Size"], row.get("ETag", "").strip('"'), row["LastModified"])
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def is_empty(self, bucket: str, prefix: str) -> bool:
        """Whether no key in the bucket begins with ``prefix``, or there is no such bucket."""
        try:
            return next(self.list(bucket, prefix), None) is None
        except S3Failed as error:
            if error.code != "NoSuchBucket":
                raise
            return True

    def describe(self, bucket: str, key: str, customer_key: Secret | None) -> Described:
        """What is known of an object, tags included; ``customer_key`` is used only if the object asks for one."""
        head = self._head(bucket, key, customer_key)
        headers = {name: _text(head[name]) for name in _CONTENT_HEADERS if head.get(name)}
        if head.get("ExpiresString"):
            headers[_EXPIRES] = _text(head["ExpiresString"])
        suffix = head["ETag"].strip('"').rpartition("-")[2] if "-" in head["ETag"] else ""
        return Described(
            size=head["ContentLength"],
            etag=head["ETag"].strip('"'),
            modified=head["LastModified"],
            headers=headers,
            metadata={name: _text(value) for name, value in head.get("Metadata", {}).items()},
            tags=self._tags(bucket, key) if head.get("TagCount", 1) else "",
            encryption=_encryption(head),
            parts=int(suffix) if suffix.isdecimal() else 0,
        )

    def etag(self, bucket: str, key: str, customer_key: Secret | None) -> str | None:
        """The ETag of the object of this name; "" if that needs another client's key, None if there is no object."""
        try:
            return str(self._head(bucket, key, customer_key)["ETag"]).strip('"')
        except Locked:
            return ""
        except S3Failed as error:
            if error.code == "404":
                return None
            raise

    def part_size(self, bucket: str, key: str, customer_key: Secret | None) -> int:
        """Bytes of the first part of a multipart object."""
        return int(
            self._call("head_object", Bucket=bucket, Key=key, PartNumber=1, **_sse_c(customer_key))["ContentLength"]
        )

    def read(self, bucket: str, key: str, etag: str, customer_key: Secret | None) -> Iterator[bytes]:
        """The bytes of the object with this ETag, in chunks."""
        answer = self._call("get_object", Bucket=bucket, Key=key, IfMatch=f'"{etag}"', **_sse_c(customer_key))
        try:
            with answer["Body"] as body:
                yield from iter(lambda: body.read(CHUNK), b"")
        except (BotoCoreError, HTTPError, OSError) as error:  # botocore does not wrap errors of TLS
            raise S3Failed(f"reading it ended early: {error}") from error

    def put(self, bucket: str, key: str, body: bytes, fields: Mapping[str, Any], over: str | None) -> str:
        """Write an object in one request. Returns its ETag. ``over`` says what it may replace: the object with that
        ETag, nothing ("") or whatever is there (None).
        """
        answer = self._call("put_object", Bucket=bucket, Key=key, Body=body, **fields, **_only_over(over))
        return str(answer["ETag"]).strip('"')

    def begin_upload(self, bucket: str, key: str, fields: Mapping[str, Any]) -> str:
        """Open a multipart upload. Returns its id."""
        return str(self._call("create_multipart_upload", Bucket=bucket, Key=key, **fields)["UploadId"])

    def put_part(
        self, bucket: str, key: str, upload: str, number: int, body: bytes, customer_key: Secret | None
    ) -> Mapping[str, Any]:
        """Write a part. Returns what :meth:`complete` needs for it."""
        answer = self._call(
            "upload_part", Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **_sse_c(customer_key)
        )
        return {"PartNumber": number, "ETag": answer["ETag"]}

    def complete(self, bucket: str, key: str, upload: str, parts: Sequence[Mapping[str, Any]], over: str | None) -> str:
        """Make the object of its parts. Returns its ETag. ``over`` as in :meth:`put`."""
        answer = self._call(
            "complete_multipart_upload", Bucket=bucket, Key=key, UploadId=upload,
            MultipartUpload={"Parts": list(parts)}, **_only_over(over),
        )  # fmt: skip
        return str(answer["ETag"]).strip('"')

    def abort_upload(self, bucket: str, key: str, upload: str) -> None:
        """End a multipart upload, if it is still open and its bucket still there."""
        try:
            self._call("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
        except S3Failed as error:
            if error.code not in ("NoSuchUpload", "NoSuchBucket"):
                raise

    def empty_uploads(self, bucket: str, key: str) -> Sequence[str]:
        """The ids of the open uploads of this name that have no parts."""
        rows = self._call("list_multipart_uploads", Bucket=bucket, Prefix=key).get("Uploads", [])
        ids = [row["UploadId"] for row in rows if row["Key"] == key]
        return [id_ for id_ in ids if not self._call("list_parts", Bucket=bucket, Key=key, UploadId=id_).get("Parts")]

    def delete_if_still(self, bucket: str, key: str, etag: str, customer_key: Secret | None) -> None:
        """Remove the object with this ETag, and no other."""
        if self.etag(bucket, key, customer_key) != etag:
            return  # checked here since MinIO ignores If-Match when it deletes
        self._call("delete_object", Bucket=bucket, Key=key, IfMatch=f'"{etag}"')

    def _head(self, bucket: str, key: str, customer_key: Secret | None) -> Any:
        """What HEAD answers; ``customer_key`` is used only if the object asks for one. Raises Locked."""
        try:
            return self._call("head_object", Bucket=bucket, Key=key)
        except S3Failed as error:
            if error.code != "400":
                raise
            if customer_key is None:
                raise Locked("it is encrypted with a key of the client's (SSE-C): give --sse-c-key-file") from error
        try:
            return self._call("head_object", Bucket=bucket, Key=key, **_sse_c(customer_key))
        except S3Failed as error:
            if error.code != "403":
                raise
            raise Locked("it is encrypted with another key of the client's (SSE-C) than the one given") from error

    def _tags(self, bucket: str, key: str) -> str:
        try:
            rows = self._call("get_object_tagging", Bucket=bucket, Key=key)["TagSet"]
        except S3Failed as error:
            if error.code in ("NotImplemented", "NoSuchTagSet", "MethodNotAllowed"):
                return ""  # a server without tags, such as an old gateway
            raise
        return urlencode(sorted((row["Key"], row["Value"]) for row in rows))

    def _call(self, operation: str, **parameters: Any) -> Any:
        for pause in _PAUSES if self._answered else ():
            try:
                return self._ask(operation, **parameters)
            except S3Failed as error:
                if not error.passing or self._stop.wait(pause):
                    raise
        answer = self._ask(operation, **parameters)
        self._answered = True
        return answer

    def _ask(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client, operation)(**parameters)
        except ClientError as error:
            fault = error.response.get("Error", {})
            code, message = str(fault.get("Code", "")), str(fault.get("Message", ""))
            # An answer to HEAD has no body, so botocore knows only its status; MinIO and Strongroom add these headers.
            about = error.response.get("ResponseMetadata", {})
            headers, passing = about.get("HTTPHeaders", {}), about.get("HTTPStatusCode") in _PASSING
            message = headers.get("x-minio-error-desc", "").strip('"') or message
            named = headers.get("x-minio-error-code", "")
            if named.startswith("KMS."):  # a missing master key is a 400, too; a client's key is no help then
                code = named
            raise S3Failed(f"{self.endpoint} answers {code}: {message}".strip(": "), code, passing) from error
        except (ConnectionError, HTTPClientError) as error:
            raise S3Failed(str(error), _UNREACHABLE, passing=True) from error
        except BotoCoreError as error:
            raise S3Failed(str(error)) from error


def upload_fields(described: Described, encryption: Encryption, customer_key: Secret | None) -> dict[str, Any]:
    """The parameters of an upload whose object gets the headers, metadata and tags of ``described``."""
    fields: dict[str, Any] = {**described.headers, "Metadata": dict(described.metadata)}
    if described.tags:
        fields["Tagging"] = described.tags
    if encryption == "SSE-C":
        fields |= _sse_c(customer_key)
    elif encryption:
        fields["ServerSideEncryption"] = "AES256"
    return fields


def _text(value: str) -> str:
    """A header's value as its sender meant it: botocore decodes received headers as Latin-1, but sends UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value  # it is Latin-1


def _keep_expires(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """Take Expires out of the parameters, where botocore allows only a date; "0" and "-1" are in use, too."""
    context[_EXPIRES] = params.pop(_EXPIRES, None)


def _add_expires(params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
    """Put Expires among the headers of the request, as it came."""
    if context.get(_EXPIRES) is not None:
        params["headers"][_EXPIRES] = context[_EXPIRES]


def _only_over(etag: str | None) -> dict[str, str]:
    if etag is None:
        return {}
    return {"IfMatch": f'"{etag}"'} if etag else {"IfNoneMatch": "*"}


def _sse_c(customer_key: Secret | None) -> dict[str, Any]:
    if customer_key is None:
        return {}
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": customer_key.reveal()}


def _encryption(head: Mapping[str, Any]) -> Encryption:
    if head.get("SSECustomerAlgorithm"):
        return "SSE-C"
    return _KINDS.get(head.get("ServerSideEncryption", ""), "")
