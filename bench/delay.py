"""A TCP proxy that makes the way to a server longer: ``python -m bench.delay PORT SERVERS_PORT SECONDS``.

Each piece that comes is passed on so many seconds later, either way; pieces on their way do not hold each other up.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

import uvloop

Pieces = asyncio.Queue[tuple[float, bytes]]


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float) -> None:
    pieces: Pieces = asyncio.Queue(256)
    reading = asyncio.create_task(_read(source, pieces, delay))
    clock = asyncio.get_running_loop().time
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(0.0, due - clock()))
            if not piece:
                return
            sink.write(piece)
            await sink.drain()
    except ConnectionError:
        pass
    finally:
        reading.cancel()
        sink.close()


async def _read(source: asyncio.StreamReader, pieces: Pieces, delay: float) -> None:
    clock = asyncio.get_running_loop().time
    piece = b"-"
    while piece:
        piece = b""
        with contextlib.suppress(ConnectionError):
            piece = await source.read(65536)
        await pieces.put((clock() + delay, piece))


async def _serve(port: int, behind: int, delay: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * delay)  # a handshake takes the way there and back
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", behind)
        await asyncio.gather(_pass(reader, there_writer, delay), _pass(there_reader, writer, delay))

    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
