"""A request as a connection sends it. Pure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from strongroom.buffers import Buffer


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The body of a request that is sent in ``pieces``, ``length`` bytes in all. ``asked``: the server is asked first
    whether it wants it (``expect: 100-continue``). ``pieces`` is called anew each time that the request is sent.
    """

    length: int
    pieces: Callable[[], AsyncIterator[Buffer]]
    asked: bool = False


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Request line and headers; values are Latin-1 text standing for bytes.

    Raises ValueError if something in them would end a line, or the target in the request line: so nothing in them can
    begin another header or another request.
    """
    lines = [f"{method} {target} HTTP/1.1", *[f"{name}: {value}" for name, value in headers.items()], "", ""]
    head = "\r\n".join(lines)
    ends = len(lines) - 1
    if head.count("\r") != ends or head.count("\n") != ends or "\0" in head or " " in target:
        raise ValueError("a header or the target of a request holds a character that it cannot have")
    return head.encode("latin-1")
