"""From a request's method, host, path and query to an operation, a bucket and a key. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from strongroom.s3.errors import S3Error
from strongroom.s3.operations import SERVED, UNSET
from strongroom.s3.request import HttpRequest
from strongroom.s3.service_model import OperationModel, operations

POST_OBJECT = "PostObject"
"""The name of a browser upload, which the service model lacks."""

PREFLIGHT_METHOD = "OPTIONS"
"""The method of preflights, with which browsers ask whether a web page may send a request."""

MAX_KEY = 1024
"""The maximum bytes of a key (S3 User Guide, "Naming Amazon S3 objects")."""

_ADMINISTRATION = "/minio/admin/"
_MAX_BUCKET = 63
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")

# Query parameters that select an operation although the model has them as members of its input.
_SELECTING = ("uploadId", "partNumber")
COPY_SOURCE = "x-amz-copy-source"


@dataclass(slots=True)
class Target:
    """What a request is about; ``key`` is "" for a bucket, and both are "" for the service."""

    bucket: str
    key: str

    @property
    def level(self) -> str:
        """ "service", "bucket" or "object"."""
        return "object" if self.key else "bucket" if self.bucket else "service"


def is_bucket_name(name: str) -> bool:
    """Whether a bucket may have this name. Names that S3 would refuse for a new bucket are allowed if they may exist in
    a folder or on another server, such as MinIO.
    """
    return len(name) <= _MAX_BUCKET and _is_bucket_name(name)


@lru_cache(4096)
def _is_bucket_name(name: str) -> bool:
    return _BUCKET_NAME.fullmatch(name) is not None and ".." not in name


def valid_new_bucket_name(name: str) -> bool:
    """Whether S3 allows this name for a new general purpose bucket (S3 User Guide, "Bucket naming rules")."""
    if not is_bucket_name(name) or "_" in name:
        return False
    if name.startswith(_RESERVED_PREFIXES) or name.endswith(_RESERVED_SUFFIXES):
        return False
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return True
    return False


def target_of(request: HttpRequest, domains: Sequence[str]) -> Target:
    """The bucket and key of a request: from the path, or with the bucket as a host name under one of ``domains``.

    Raises InvalidURI, InvalidBucketName, KeyTooLongError.
    """
    try:
        path = unquote_to_bytes(request.raw_path).decode() if "%" in request.raw_path else request.raw_path
        path = path.removeprefix("/")
        host_bucket = _bucket_of_host(request.headers.get("host", ""), domains) if domains else ""
        bucket, _, key = (host_bucket, "", path) if host_bucket else path.partition("/")
        size = len(key.encode())
    except UnicodeError:
        raise S3Error("InvalidURI") from None
    if size > MAX_KEY:
        raise S3Error("KeyTooLongError", Size=str(size), MaxSizeAllowed=str(MAX_KEY))
    if (bucket or key) and not is_bucket_name(bucket):  # "//key" has no bucket
        raise S3Error("InvalidBucketName", BucketName=bucket[:256])
    return Target(bucket, key)


def administers(request: HttpRequest, domains: Sequence[str]) -> bool:
    """Whether a request is for MinIO's admin API. Its paths are not reachable as objects of a bucket "minio"."""
    if not request.raw_path.startswith(_ADMINISTRATION):
        return False
    return not (domains and _bucket_of_host(request.headers.get("host", ""), domains))


def _bucket_of_host(host: str, domains: Sequence[str]) -> str:
    name = host.lower()
    if not name.endswith("]"):
        name = name.rpartition(":")[0] if ":" in name else name
    for domain in domains:
        if name.endswith(f".{domain}"):
            return name.removesuffix(f".{domain}")
    return ""


@dataclass(frozen=True, slots=True)
class _Candidate:
    operation: OperationModel
    selectors: Mapping[str, str | None]
    needed: tuple[str, ...]
    copies: bool

    def score(self, request: HttpRequest) -> int:
        """How many features of the request select this operation; -1 if one that it needs is missing."""
        query = request.query
        for name, value in self.selectors.items():
            if name not in query or (value is not None and query[name] != value):
                return -1
        if any(name not in query for name in self.needed) or (self.copies and COPY_SOURCE not in request.headers):
            return -1
        return len(self.selectors) + len(self.needed) + self.copies


class Router:
    """Selects the operation of a request from all operations of the service model."""

    def __init__(self) -> None:
        self._candidates: dict[tuple[str, str], list[_Candidate]] = {}
        self._subresources: dict[str, set[str]] = {"service": set(), "bucket": set(), "object": {*_SELECTING}}
        for operation in operations():
            if operation.name in ("WriteGetObjectResponse", "ListDirectoryBuckets"):
                continue  # these have other endpoints
            self._candidates.setdefault((operation.level, operation.method), []).append(_candidate(operation))
            self._subresources[operation.level] |= {k for k, v in operation.selectors.items() if v is None}
        for candidates in self._candidates.values():  # the first of equals wins: prefer served ones
            candidates.sort(key=lambda candidate: _rank(candidate.operation.name))
        # Most requests have no query: their operations are looked up here instead of searched for.
        self._plain: dict[tuple[str, str, bool], OperationModel] = {}
        for level, method in self._candidates:
            for copies in (False, True):
                headers = {COPY_SOURCE: "x"} if copies else {}
                with suppress(S3Error):
                    request = HttpRequest(method, "", "", headers, False, "")
                    self._plain[level, method, copies] = self._select(request, level)

    def select(self, request: HttpRequest, level: str) -> OperationModel:
        """The operation that a request means. Raises MethodNotAllowed."""
        if not request.query:
            plain = self._plain.get((level, request.method, COPY_SOURCE in request.headers))
            if plain is None:
                raise _not_allowed(request, level)
            return plain
        return self._select(request, level)

    def _select(self, request: HttpRequest, level: str) -> OperationModel:
        best, best_score = None, -1
        for candidate in self._candidates.get((level, request.method), ()):
            score = candidate.score(request)
            if score > best_score:
                best, best_score = candidate, score
        if best is None:
            raise _not_allowed(request, level)
        if request.query:
            used = {*best.selectors, *best.needed}
            asked = self._subresources[level].intersection(request.query) - used
            if asked - ({"partNumber"} if request.method in ("GET", "HEAD") else set()):
                raise _not_allowed(request, level)
        return best.operation


def _candidate(operation: OperationModel) -> _Candidate:
    members = operation.input.members if operation.input else []
    needed = tuple(m.wire for m in members if m.location == "querystring" and m.required)
    copies = any(m.required and m.wire == COPY_SOURCE for m in members)
    return _Candidate(operation, operation.selectors, needed, copies)


def _rank(name: str) -> int:
    return 0 if name in SERVED else 1 if name in UNSET else 2


def _not_allowed(request: HttpRequest, level: str) -> S3Error:
    return S3Error("MethodNotAllowed", Method=request.method, ResourceType=level.upper())
