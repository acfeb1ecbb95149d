"""Requests to the backend and its answers, as the client takes and returns them. Knows nothing of how they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.buffers import Buffer
from strongroom.store.errors import StoreError, Unavailable
from strongroom.store.s3.response import Response
from strongroom.store.s3.streaming import StreamedBody

MAX_ANSWER = 16 * 1024**2
"""Bytes of the longest document that is accepted from the backend: a page of 1,000 names of 1,024 bytes, escaped."""

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the backend. Names of ``headers`` are in lower case, values are Latin-1 text standing for bytes.

    ``again``: whether it may be sent twice if the first answer is lost.
    """

    method: str
    bucket: str = ""
    key: str = ""
    query: Query = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # clients' keys, passed on
    body: Buffer | StreamedBody = field(default=b"", repr=False)
    again: bool = True

    @property
    def takes_long(self) -> bool:
        """Whether the backend may work on it for minutes without sending anything: it copies, or joins parts."""
        completes = self.method == "POST" and any(name == "uploadId" for name, _ in self.query)
        return completes or "x-amz-copy-source" in self.headers

    @property
    def puts_object(self) -> bool:
        """Whether it brings a whole object: its answer says how that is encrypted. MinIO's says it of nothing else."""
        return self.method == "PUT" and bool(self.key) and not self.query and "x-amz-copy-source" not in self.headers

    def without_keys(self, said: str) -> str:
        """What the backend says of it, in which no client's key is repeated that it brings."""
        for name, value in self.headers.items():
            if value and name.endswith("-customer-key"):
                said = said.replace(value, "[redacted]")
        return said

    def __str__(self) -> str:
        return f"{self.method} {f'{self.bucket}/{self.key}' if self.key else self.bucket or '/'}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. Header names are in lower case. ``earlier``: the error of an earlier attempt that may have been,
    or may yet be, carried out all the same.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    earlier: StoreError | None = None


class Untold(Unavailable):
    """The backend does not say how long an object is, or which ETag it has."""


def length_in(headers: Mapping[str, str], what: str) -> int:
    """The length that the answer to ``what`` announces. Raises Untold."""
    length = headers.get("content-length")
    if length is None:
        raise Untold(f"{what}: the backend does not say how long its answer is")
    return int(length)


class Download:
    """An answer whose body is still to be read. ``seconds``: how long :meth:`whole` may take."""

    def __init__(self, response: Response, request: Request, seconds: float) -> None:
        self._response = response
        self._request = request
        self._seconds = seconds
        self.status = response.status
        self.headers = response.headers

    @property
    def length(self) -> int:
        """Bytes of the body. Raises Untold if the backend does not say."""
        return length_in(self.headers, str(self._request))

    async def read(self, most: int, least: int | None = None) -> bytes:
        """The next ``most`` bytes, or all that are left; with ``least``, those that have come as soon as they are at
        least so many. Raises Unavailable.
        """
        try:
            return await self._response.read(most, least)
        except OSError as error:
            raise Unavailable(f"{self._request}: the backend's answer broke off") from error

    async def whole(self, most: int) -> bytes:
        """All of it, up to ``most`` bytes; nothing is left to be closed. Raises Unavailable."""
        try:
            async with asyncio.timeout(None if self._response.whole else self._seconds):  # mostly whole: no timer then
                document = await self._response.read(most + 1)
        except OSError as error:  # TimeoutError is one
            raise Unavailable(f"{self._request}: the backend's answer broke off") from error
        finally:
            self.close()
        if len(document) > most:
            raise Unavailable(f"{self._request}: the backend's answer is longer than {most} bytes")
        return document

    def close(self) -> None:
        """Release the connection; it is used again if the body has come to its end."""
        self._response.close()


class Refusal(Exception):
    """An answer that refuses, as it came, for callers that pass it on."""

    def __init__(self, status: int, headers: Mapping[str, str], document: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers
        self.document = document
