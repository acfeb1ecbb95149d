"""What observers of requests (metrics, the access log) learn of each one."""

from __future__ import annotations

import time
from typing import Protocol

from strongroom.s3.encryption import Encrypted
from strongroom.s3.request import HttpRequest

PAGE = "Page"
"""The operation of requests for paths that are not S3's: health, metrics, MinIO's admin API."""

PREFLIGHT = "Preflight"
"""The operation of a browser's question whether a web page may send a request."""

GONE = "ClientGone"
"""The error of a request whose client went away."""


class Seen:
    """A request, and what became of it.

    ``operation`` is its name in S3, or "" if the request was refused before that was known. ``access_key`` is set if
    the signature was right. ``status`` is 0 if there was no answer; after an error in the middle of a response, it is
    the error's. ``error`` is S3's code; ``reason`` is the KMS's own message, if the error is the KMS's. ``received``
    and ``sent`` count bytes of bodies. ``about`` is the object or upload that the request was about. ``begun`` is a
    time of time.perf_counter.
    """

    __slots__ = (
        "about",
        "access_key",
        "begun",
        "bucket",
        "error",
        "key",
        "operation",
        "reason",
        "received",
        "request",
        "request_id",
        "sent",
        "status",
    )

    def __init__(self, request: HttpRequest, request_id: str) -> None:
        self.begun = time.perf_counter()
        self.request = request
        self.request_id = request_id
        self.operation = self.bucket = self.key = self.access_key = self.error = self.reason = ""
        self.status = self.received = self.sent = 0
        self.about: Encrypted | None = None


class Observer(Protocol):
    """Is called for each request, when it begins and when it ends."""

    def begun(self, seen: Seen, /) -> None:
        """A request's head has arrived."""
        ...

    def ended(self, seen: Seen, /) -> None:
        """The request was answered, or never will be."""
        ...


class Unobserved:
    """An observer that does nothing."""

    def begun(self, seen: Seen, /) -> None:
        """Do nothing."""

    def ended(self, seen: Seen, /) -> None:
        """Do nothing."""
