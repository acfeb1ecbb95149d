"""What is told of each request to whoever keeps count or a record of them."""

from __future__ import annotations

import time
from typing import Protocol

from strongroom.s3.encryption import Encrypted
from strongroom.s3.request import HttpRequest

PAGE = "Page"
"""The operation of what is answered at paths that S3 does not have: health, metrics, MinIO's administration."""

PREFLIGHT = "Preflight"
"""The operation of a browser that asks whether a web page may send a request."""

GONE = "ClientGone"
"""The error of a request whose client went away."""


class Seen:
    """A request, and what became of it.

    ``operation`` is S3's name of it, or "" where it was refused before that was known. ``access_key`` is set where the
    signature was right. ``status`` is 0 where nothing was answered; where an error came after a response had begun, it
    is that of the error. ``error`` is S3's code; ``reason`` is what the KMS says, where it is the KMS that refused.
    ``received`` and ``sent`` count bytes of bodies. ``about`` is the object or upload that the request was about.
    ``begun`` is a time of time.perf_counter.
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
    """Is told of each request, in order of what happens."""

    def begun(self, seen: Seen, /) -> None:
        """A request's head has come."""
        ...

    def ended(self, seen: Seen, /) -> None:
        """It was answered, or will not be."""
        ...


class Unobserved:
    """An observer that does not look."""

    def begun(self, seen: Seen, /) -> None:
        """Nothing."""

    def ended(self, seen: Seen, /) -> None:
        """Nothing."""
