"""One call of an operation: what a handler gets in addition to its typed input, and what it returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from strongroom.buffers import Buffer
from strongroom.s3.auth import Payload
from strongroom.s3.encryption import Encrypted, EncryptionHeaders
from strongroom.s3.model import Response
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import HttpRequest
from strongroom.sealed.pipeline import Hasher
from strongroom.sealed.writing import AnyObjectWriter
from strongroom.threads import Threads

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class Call:
    """A request that was authenticated and routed. ``body`` is for operations that stream it.

    ``signed``: the names of the headers that the client signed. ``request_id``: as in the answer, for log lines.
    """

    request: HttpRequest
    bucket: str
    key: str
    payload: Payload
    signed: frozenset[str]
    body: BodyReceiver
    encryption: EncryptionHeaders
    request_id: str


class Chunks(Protocol):
    """Bytes that come piece by piece. ``aclose`` closes their source."""

    def __aiter__(self) -> AsyncIterator[Buffer]:
        """The pieces."""
        ...

    async def aclose(self) -> None:
        """Close the source, even if not all pieces were read."""
        ...


@dataclass(slots=True)
class Answer:
    """What a handler answers.

    ``output`` is the operation's output shape, None for an empty one; ``headers`` describe an object (see
    :mod:`strongroom.s3.describe`); ``status`` replaces the operation's own. ``body`` is the object's bytes,
    ``length`` of them (None: not known yet); an iterator is closed when it was sent or when the client is gone.
    ``about`` is the object or upload that the request was about, for the access log.
    """

    output: object | None = None
    headers: Headers = field(default_factory=list)
    status: int | None = None
    body: Buffer | Chunks = b""
    length: int | None = 0
    about: Encrypted | None = None


Handler = Callable[[Call, Any], Coroutine[Any, Any, Answer]]
"""Handles an operation: gets a call and the operation's input shape, and answers."""


class Relay(Protocol):
    """Passes requests on to another S3, as they are, instead of serving them here."""

    async def relay(self, call: Call, operation: str) -> tuple[Answer, Response]:
        """What the other S3 answers to a request that was authenticated. Raises S3Error."""
        ...

    def form(
        self, pool: Threads, name: tuple[str, str], headers: Mapping[str, str], md5: bool, hashers: Sequence[Hasher]
    ) -> AnyObjectWriter:
        """A writer for the file of a form. Its object gets this name (bucket, key) and ``headers``; ``md5`` and
        ``hashers`` are those of BodyPipeline. Raises S3Error.
        """
        ...
