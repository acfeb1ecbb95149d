"""An HTTP request as the S3 layer sees it, apart from the server that received it, and what that server offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote_to_bytes

from strongroom.buffers import Buffer
from strongroom.s3.errors import S3Error

Piece = bytes | bytearray
"""Some of a request's body as it came."""


@dataclass(slots=True)
class HttpRequest:
    """The head of a request.

    ``raw_path`` and ``raw_query`` are as they came on the wire, percent-encoded. ``headers`` has lower-case names; a
    header that came several times is joined by ",". Header values are decoded as Latin-1, so that encoding them again
    gives the bytes that came. ``query`` holds the decoded parameters, the first of each name.
    """

    method: str
    raw_path: str
    raw_query: str = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    secure: bool
    client: str
    query: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """The server, as the client calls it: the beginning of a URL."""
        return f"{'https' if self.secure else 'http'}://{self.headers.get('host', '')}"


class ClientGone(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


class Exchange(Protocol):
    """A request and the way to answer it, as a server gives them to an application."""

    request: HttpRequest

    @property
    def heard(self) -> float:
        """When bytes last came of a piece that :meth:`receive` cannot give yet, by the event loop's clock; 0.0 if none
        did.
        """
        ...

    @property
    def received(self) -> int:
        """The bytes of the request's body that have come."""
        ...

    @property
    def started(self) -> bool:
        """Whether the head of a response was given."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether the head was given of a response whose length nobody knew."""
        ...

    @property
    def ready(self) -> bool:
        """Whether :meth:`receive` would not wait."""
        ...

    async def receive(self) -> Piece:
        """The next of the request's body, b"" at its end. Raises ClientGone."""
        ...

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], length: int | None, body: Buffer) -> None:
        """The whole response. ``length`` is what Content-Length says, None to leave it out (204, 304).

        The body is left out where the request is a HEAD. Raises ValueError for a header that none can be.
        """
        ...

    async def begin(self, status: int, headers: Sequence[tuple[str, str]], length: int | None) -> None:
        """The head of a response of ``length`` bytes, which follow; None: of a length that nobody knows yet.

        Raises as :meth:`respond`.
        """
        ...

    async def write(self, data: Buffer) -> None:
        """Some of the response's body; waits while the client does not take what was sent before."""
        ...

    async def end(self) -> None:
        """The response is complete. Raises ValueError where it is shorter than it said."""
        ...


def parse_query(raw: str) -> list[tuple[str, str]]:
    """The parameters of a query string in order, percent-decoded; "+" is a space. Raises InvalidURI."""
    pairs = []
    for item in raw.split("&") if raw else ():
        name, _, value = item.partition("=")
        pairs.append((_decode(name), _decode(value)))
    return pairs


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ")).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
