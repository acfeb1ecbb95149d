"""An object that was opened for reading: its bytes (all or a range) and its part table."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from typing import Protocol

from strongroom.buffers import Buffer
from strongroom.sealed.context import object_name
from strongroom.sealed.dare import PAYLOAD
from strongroom.sealed.envelope import EnvelopeInvalid, Header
from strongroom.sealed.keys import ObjectKey, record_key
from strongroom.sealed.legacy import AnyHeader, LegacyHeader
from strongroom.sealed.objects import ObjectInfo
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.reading import Layout, PlainBody, SealedBody, read_package
from strongroom.sealed.record import open_parts, read_parts
from strongroom.store.base import Reader
from strongroom.store.errors import Damaged


class Target(Protocol):
    """Takes bytes of an object, and is told when there are no more."""

    async def write(self, data: Buffer, /) -> None:
        """Take the next bytes."""
        ...

    async def finish(self) -> None:
        """No more comes."""
        ...


class OpenObject:
    """An object that was opened for reading."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        bucket: str,
        reader: Reader,
        info: ObjectInfo,
        sealing: tuple[AnyHeader, ObjectKey] | None,
    ) -> None:
        self._pool = pool
        self._bucket = bucket
        self._parts: Sequence[PartEntry] | None = None
        self.reader = reader
        self.info = info
        self.sealing = sealing

    async def parts(self) -> Sequence[PartEntry]:
        """The part table of a multipart object; empty for others. Raises Damaged."""
        if self._parts is None:
            self._parts = await self._read_parts() if self.info.multipart else []
        return self._parts

    async def body(self) -> PlainBody | SealedBody:
        """Its bytes. Raises Damaged."""
        if self.sealing is None:
            return PlainBody(self._pool, self.reader)
        parts = await self.parts() if self.info.multipart else None
        layout = Layout(self.sealing[1], self.info.size, parts)
        return SealedBody(self._pool, self.reader, layout, object_name(self._bucket, self.info.key))

    async def at_once(self, start: int, length: int) -> Buffer | None:
        """The ``length`` bytes from ``start`` as one buffer, if they are few and in memory; else None. Raises
        Damaged.
        """
        if self.sealing is None or self.info.multipart or self.info.size > PAYLOAD:
            return (await self.body()).at_once(start, length)
        name = object_name(self._bucket, self.info.key)
        plaintext = read_package(self.reader, self.sealing[1], self.info.size, name)
        if plaintext is None or length == len(plaintext):
            return plaintext
        return plaintext[start : start + length]

    async def stream(self, start: int, length: int) -> AsyncGenerator[Buffer]:
        """The ``length`` bytes of plaintext from ``start``, in chunks. Raises Damaged."""
        body = await self.body()
        async with aclosing(body.stream(start, length)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def pour(self, start: int, length: int, target: Target) -> None:
        """Write the ``length`` bytes of plaintext from ``start`` to a target and finish it. Raises Damaged."""
        async with aclosing(self.stream(start, length)) as chunks:
            async for chunk in chunks:
                await target.write(chunk)
        await target.finish()

    async def close(self) -> None:
        """Let go of it."""
        await self.reader.close()

    async def _read_parts(self) -> Sequence[PartEntry]:
        if self.sealing is not None and isinstance(self.sealing[0], LegacyHeader):
            return self.sealing[0].parts or ()
        annex = await self.reader.annex()
        try:
            if self.sealing is None:
                parts = read_parts(annex)
            else:
                header, object_key = self.sealing
                assert isinstance(header, Header)
                opening = partial(open_parts, header, record_key(object_key), annex)
                if len(annex) > PAYLOAD:
                    parts = await asyncio.get_running_loop().run_in_executor(self._pool, opening)
                else:
                    parts = opening()
        except EnvelopeInvalid as error:
            raise Damaged(f"{object_name(self._bucket, self.info.key)!r}: {error}") from error
        if sum(parts.sizes) != self.info.size:
            raise Damaged(f"{object_name(self._bucket, self.info.key)!r}: its parts do not add up to its size")
        return parts
