"""Many clients at once, in one event loop: each GETs presigned URLs over a connection of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.server import Server


@dataclass
class Load:
    """``clients`` readers of the objects ``keys``; ``statuses`` are of all answers, ``bodies`` of the good ones."""

    server: Server
    bucket: str
    keys: list[str]
    clients: int = 64
    statuses: list[int] = field(default_factory=list)
    bodies: set[bytes] = field(default_factory=set)
    _stop: bool = False

    def run(self, each: int) -> None:
        """Each client makes so many requests."""
        asyncio.run(self._all(each))

    def stop(self) -> None:
        """No further requests."""
        self._stop = True

    async def _all(self, each: int) -> None:
        client: Any = self.server.client(signature_version="s3v4")
        urls = [
            client.generate_presigned_url("get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=3600)
            for key in self.keys
        ]
        heads = [
            f"GET /{url.split('/', 3)[3]} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n\r\n".encode() for url in urls
        ]
        await asyncio.gather(*(self._client(heads, number, each) for number in range(self.clients)))

    async def _client(self, heads: list[bytes], number: int, each: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        for step in range(each):
            if self._stop:
                break
            writer.write(heads[(number + step) % len(heads)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            self.statuses.append(int(head.split()[1]))
            if self.statuses[-1] == 200:
                self.bodies.add(body)
        writer.close()
