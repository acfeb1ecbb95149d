"""Signs requests to a backend, and presigns URLs: the counterpart of ``s3.auth.verify``, in the same canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote

from strongroom.secret import Secret
from strongroom.sigv4.canonical import canonical_pairs, request_digest
from strongroom.sigv4.chunks import UNSIGNED_PAYLOAD, ChunkSigning
from strongroom.sigv4.keys import (
    ALGORITHM,
    DEFAULT_REGION,
    SERVICE,
    TERMINATOR,
    Scope,
    signature,
    signing_key,
    timestamp,
)


class Request(Protocol):
    """The head of a request: path and query percent-encoded as on the wire, headers with lower-case names."""

    @property
    def method(self) -> str:
        """GET, PUT, …"""
        ...

    @property
    def raw_path(self) -> str:
        """The path."""
        ...

    @property
    def raw_query(self) -> str:
        """The query, without its "?"."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers."""
        ...


@dataclass(frozen=True, slots=True)
class SigningCredential:
    """The credentials that sign a request; ``token`` is the session token of temporary ones."""

    access_key: str
    secret: Secret
    token: Secret | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """Headers to add to the request that was signed, and what the signatures of its chunks (if any) start from."""

    headers: dict[str, str]
    chunks: ChunkSigning


# Hop-by-hop headers, and those that proxies and HTTP clients alter on the way.
_NEVER_SIGNED = frozenset(
    ("authorization", "connection", "expect", "keep-alive", "te", "transfer-encoding", "upgrade", "user-agent")
)


def sign(
    request: Request,
    credential: SigningCredential,
    region: str,
    now: datetime,
    content_sha256: str = UNSIGNED_PAYLOAD,
) -> Signed:
    """Sign ``request`` with an Authorization header. Its headers must include ``host``.

    ``content_sha256`` is the body's SHA-256 in hexadecimal, or one of the names in ``chunks`` (unsigned, streaming).
    All headers of the request are signed, except for those that may change on the way.
    """
    stamp = _stamp(now.replace(microsecond=0))
    added = {"x-amz-date": stamp, "x-amz-content-sha256": content_sha256}
    if credential.token is not None:
        added["x-amz-security-token"] = credential.token.reveal().decode()
    headers = {name: value for name, value in request.headers.items() if name not in _NEVER_SIGNED} | added
    names = ";".join(sorted(headers))
    digest = request_digest(
        request.method,
        request.raw_path,
        canonical_pairs(request.raw_query),
        headers,
        names,
        content_sha256,
    )
    scope, key = _scope(stamp[:8], region), _key(credential, region, stamp)
    mac = signature(key, f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}")
    added["authorization"] = (
        f"{ALGORITHM} Credential={credential.access_key}/{scope}, SignedHeaders={names}, Signature={mac}"
    )
    return Signed(added, ChunkSigning(mac, key, stamp, scope))


def presign(request: Request, credential: SigningCredential, region: str, now: datetime, expires: int) -> str:
    """The query string of a presigned URL, valid for ``expires`` seconds. All headers of the request are signed."""
    stamp = timestamp(now)
    scope = _scope(stamp[:8], region)
    names = ";".join(sorted(request.headers))
    parameters = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credential.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": names,
    }
    if credential.token is not None:
        parameters["X-Amz-Security-Token"] = credential.token.reveal().decode()
    added = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    query = f"{request.raw_query}&{added}" if request.raw_query else added
    digest = request_digest(
        request.method, request.raw_path, canonical_pairs(query), request.headers, names, UNSIGNED_PAYLOAD
    )
    mac = signature(_key(credential, region, stamp), f"{ALGORITHM}\n{stamp}\n{scope}\n{digest}")
    return f"{query}&X-Amz-Signature={mac}"


def _key(credential: SigningCredential, region: str, stamp: str) -> Secret:
    return signing_key(credential.access_key, credential.secret, stamp[:8], region or DEFAULT_REGION)


@lru_cache(64)
def _scope(day: str, region: str) -> str:
    return str(Scope("", day, region or DEFAULT_REGION, SERVICE, TERMINATOR))


@lru_cache(64)  # requests of the same second share it
def _stamp(second: datetime) -> str:
    return timestamp(second)
