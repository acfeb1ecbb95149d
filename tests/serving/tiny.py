"""A server around a tiny application, run as a program by the tests of the server process."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from strongroom.config import LocalDirectory, Settings, from_process
from strongroom.observe import logs
from strongroom.observe.metrics import Metrics
from strongroom.s3.errors import S3Error
from strongroom.s3.receive import BodyReceiver
from strongroom.s3.request import Exchange
from strongroom.serving import Application, CannotBegin, CannotStart, serve


class Tiny:
    """The application; the environment says what shall fail."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    async def start(self) -> None:
        if os.environ.get("TINY_FAILS") == "start":
            raise CannotBegin("the store is on fire")

    async def look(self) -> None:
        pass

    async def stop(self) -> None:
        print("stopped", os.getpid(), flush=True)

    async def answer(self, exchange: Exchange) -> None:
        request = exchange.request
        path = unquote(request.raw_path)
        if path == "/crash":
            os.kill(os.getpid(), signal.SIGKILL)
        status, answer = 200, b"%d" % os.getpid()
        if path == "/refuse":
            status, answer = 403, b"no"
        elif path == "/digest":
            status, answer = await _digest(BodyReceiver(exchange, 1.0))
        elif path == "/slow":
            print("slow", flush=True)
            await asyncio.sleep(1.5)
        elif path == "/forever":
            print("forever", flush=True)
            await asyncio.sleep(3600)
        elif path == "/request":
            scheme = "https" if request.secure else "http"
            answer = f"{scheme} {request.client} {request.raw_path} {list(request.headers)}".encode()
        else:
            size = 0
            while piece := await exchange.receive():
                size += len(piece)
            if path == "/size":
                answer = b"%d" % size
            elif path == "/much":
                answer = bytes(16 * 1024**2)
        if path != "/much":
            await exchange.respond(status, [], len(answer), answer)
            return
        try:
            await exchange.begin(status, [], len(answer))
            await exchange.write(answer[1:])
            await exchange.write(answer[:1])
            await exchange.end()
        finally:
            print("much is over", flush=True)


async def _digest(body: BodyReceiver) -> tuple[int, bytes]:
    digest = hashlib.sha256()
    try:
        while piece := await body.next():
            digest.update(piece)
    except S3Error as error:
        return 400, error.code.encode()
    return 200, digest.hexdigest().encode()


def make(settings: Settings) -> Application:
    """The application; the environment says what shall fail."""
    if os.environ.get("TINY_FAILS") == "factory":
        raise RuntimeError("boom")
    return Tiny()


def announce(places: Sequence[tuple[str, int]], secure: bool) -> None:
    print("ready", places[0][1], secure, flush=True)
    if os.environ.get("TINY_FAILS") == "announce":
        raise RuntimeError("boom")


def main() -> int:
    flags = dict(argument.split("=", 1) for argument in sys.argv[1:])
    settings = from_process(flags, LocalDirectory(Path("unused")), dev=True)
    logs.configure(settings.log_format)
    try:
        return serve(make, settings, announce)
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
