"""Which headers and parameters of a request are passed to the backend, and what of its answer to the client. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from strongroom.s3.auth.verify import TO_BE_SIGNED
from strongroom.s3.body import stored_content_encoding
from strongroom.s3.xml import escape
from strongroom.store.errors import Unavailable
from strongroom.store.s3.metadata import OURS
from strongroom.store.s3.names import HIDDEN

# Headers of this connection, of the client's signature, or made anew for the backend.
_NOT_PASSED = frozenset(
    (
        "authorization",
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "origin",  # the gateway decides which web pages may use it
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-security-token",
        "x-amz-trailer",
    )
)
# How the names of headers begin that S3 gives a meaning to. Those in TO_BE_SIGNED were signed, or moved from the URL.
_OF_S3 = ("cache-control", "content-", "expires", "if-", "range", *TO_BE_SIGNED)
# Headers of the connection to the backend, or of its host.
_NOT_ANSWERED = frozenset(
    (
        "alt-svc",
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "server",
        "strict-transport-security",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-amz-id-2",
        "x-amz-request-id",
    )
)
_SIGNATURE_PARAMETERS = frozenset(
    (
        "x-amz-algorithm",
        "x-amz-content-sha256",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-security-token",
        "x-amz-signature",
        "x-amz-signedheaders",
    )
)
_ENTRY = re.compile(rb"<(Contents|CommonPrefixes|Version|DeleteMarker|Upload)>")
_NAME = re.compile(rb"<(?:Key|Prefix)>([^<]*)</")
_COUNT = re.compile(rb"<KeyCount>(\d+)</KeyCount>")
_TRUNCATED = b"<IsTruncated>true</IsTruncated>"
_NEXT = re.compile(rb"<Next\w+>[^<]")
_LOCATION = re.compile(rb"<Location>[^<]*</Location>")
_HIDDEN = (HIDDEN.encode(), HIDDEN.replace("/", "%2F").encode())


def passed_headers(headers: Mapping[str, str], signed: Collection[str]) -> dict[str, str]:
    """The headers of a request that are passed on: those of S3, and others that the client has signed. Anybody who has
    a presigned URL can add unsigned ones, which would be passed on as if the gateway meant them: a backend, or a proxy
    in front of it, may take another method or another source from them.
    """
    passed = {
        name: value
        for name, value in headers.items()
        if name not in _NOT_PASSED and (name in signed or name.startswith(_OF_S3))
    }
    encoding = stored_content_encoding(passed.pop("content-encoding", None))
    return {**passed, "content-encoding": encoding} if encoding else passed


def passed_query(query: Mapping[str, str], headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parameters of a request that are passed on, without those that were moved to ``headers``. ``query`` has the
    first of each name, which is the one that was checked here.
    """
    return [
        (name, value)
        for name, value in query.items()
        if (lower := name.lower()) not in _SIGNATURE_PARAMETERS
        and not (lower.startswith("x-amz-") and lower in headers)
    ]


def answered_headers(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers of the backend's answer that are passed to the client."""
    return [
        (name, value)
        for name, value in headers.items()
        if name not in _NOT_ANSWERED and not name.startswith((OURS, "access-control-"))
    ]


def located(completion: bytes, url: str) -> bytes:
    """The backend's answer to CompleteMultipartUpload, with the object's URL there replaced by its URL here."""
    return _LOCATION.sub(lambda found: f"<Location>{escape(url)}</Location>".encode(), completion, count=1)


def without_hidden(listing: bytes) -> bytes:
    """A listing of the backend without the gateways' own objects. Raises Unavailable if it is cut short."""
    shown, removed, at, last = [], 0, 0, None
    while entry := _ENTRY.search(listing, at):
        end = listing.find(b"</" + entry[1] + b">", entry.end())
        if end < 0:  # give up at once: a search for each entry of a long document would take quadratic time
            raise Unavailable("the backend's listing is cut short")
        end += len(entry[0]) + 1
        name = _NAME.search(listing, entry.end(), end)
        hidden = name is not None and name[1].startswith(_HIDDEN)
        last = name[1] if name is not None and hidden else None
        shown.append(listing[at : entry.start() if hidden else end])
        removed += hidden
        at = end
    shown.append(listing[at:])
    if last is not None and not _NEXT.search(listing):
        # Without a marker, clients go on after the last name that they see, and stop if they see none.
        marker = b"%s<NextMarker>%s</NextMarker>" % (_TRUNCATED, last)
        shown = [b"".join(shown).replace(b"<NextMarker></NextMarker>", b"").replace(_TRUNCATED, marker, 1)]
    return _COUNT.sub(lambda count: b"<KeyCount>%d</KeyCount>" % (int(count[1]) - removed), b"".join(shown))
