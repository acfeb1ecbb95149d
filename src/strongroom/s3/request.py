"""An HTTP request as the S3 layer sees it, whichever server received it, and what it needs of that server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote_to_bytes

from strongroom.buffers import Buffer
from strongroom.s3.errors import S3Error

Piece = bytes | bytearray
"""A piece of a request's body as it came."""


@dataclass(slots=True)
class HttpRequest:
    """The head of a request.

    ``raw_path`` and ``raw_query`` are as they came on the wire, percent-encoded. ``headers`` has lower-case names;
    values of a header that came several times are joined by ",". Header values are decoded as Latin-1, so that encoding
    them again gives the bytes that came. ``query`` holds the decoded parameters, the first of each name.
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
        """The server by the name that the client used, as the beginning of a URL: ``https://host:port``."""
        return f"{'https' if self.secure else 'http'}://{self.headers.get('host', '')}"


class ClientGone(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


class Exchange(Protocol):
    """A request and the way to answer it, as a server gives them to an application."""

    request: HttpRequest

    @property
    def heard(self) -> float:
        """When bytes last arrived that are not yet a piece for :meth:`receive`, by the event loop's clock; 0.0 if none
        have.
        """
        ...

    @property
    def received(self) -> int:
        """How many bytes of the request's body have arrived."""
        ...

    @property
    def started(self) -> bool:
        """Whether the head of a response has been given."""
        ...

    @property
    def open_ended(self) -> bool:
        """Whether the head of a response of unknown length has been given."""
        ...

    @property
    def ready(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        ...

    async def receive(self) -> Piece:
        """The next piece of the request's body; b"" at its end. Raises ClientGone."""
        ...

    async def respond(self, status: int, headers: Sequence[tuple[str, str]], length: int | None, body: Buffer) -> None:
        """Send a whole response. ``length`` is the value of Content-Length; None to leave it out (204, 304).

        The body is not sent if the request is a HEAD. Raises ValueError for a malformed header.
        """
        ...

    async def begin(self, status: int, headers: Sequence[tuple[str, str]], length: int | None) -> None:
        """Send the head of a response of ``length`` bytes (None: not known yet), which follow with :meth:`write`.

        Raises as :meth:`respond` does.
        """
        ...

    async def write(self, data: Buffer) -> None:
        """Send some of the response's body. Waits while the client does not take what was sent before."""
        ...

    async def end(self) -> None:
        """End the response. Raises ValueError if it is shorter than its head said."""
        ...


def parse_query(raw: str) -> list[tuple[str, str]]:
    """The parameters of a query string, in order and percent-decoded; "+" is a space. Raises InvalidURI."""
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
