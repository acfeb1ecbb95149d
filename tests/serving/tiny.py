"""A server around a tiny application, run as a program by the tests of the server process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from strongroom.config import LocalDirectory, Settings, from_process
from strongroom.observe import logs
from strongroom.serving import CannotStart, serve
from strongroom.serving.worker import App


def make(settings: Settings) -> App:
    """The application; the environment says which start shall fail."""
    if os.environ.get("TINY_FAILS") == "factory":
        raise RuntimeError("boom")
    return tiny


async def tiny(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    path = scope["path"]
    if path == "/crash":
        os.kill(os.getpid(), signal.SIGKILL)
    status, answer = 200, b"%d" % os.getpid()
    if path == "/refuse":
        status, answer = 403, b"no"
    elif path == "/slow":
        await asyncio.sleep(1.5)
    elif path == "/scope":
        client = scope["client"][0]
        names = [name.decode() for name, _ in scope["headers"]]
        answer = f"{scope['scheme']} {client} {scope['raw_path'].decode()} {names}".encode()
    else:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            more = message["more_body"]
        if path == "/size":
            answer = b"%d" % size
        elif path == "/much":
            answer = bytes(16 * 1024**2)
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if path == "/much":
        await send({"type": "http.response.body", "body": answer[1:], "more_body": True})
        answer = answer[:1]
    await send({"type": "http.response.body", "body": answer})
    if path == "/much":
        print("much was taken", flush=True)


async def lifespan(receive: Any, send: Any) -> None:
    await receive()
    if os.environ.get("TINY_FAILS") == "lifespan":
        await send({"type": "lifespan.startup.failed", "message": "the store is on fire"})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    print("stopped", os.getpid(), flush=True)
    await send({"type": "lifespan.shutdown.complete"})


def main() -> int:
    flags = dict(argument.split("=", 1) for argument in sys.argv[1:])
    settings = from_process(flags, LocalDirectory(Path("unused")), dev=True)
    logs.configure(settings.log_format)
    try:
        return serve(make, settings, lambda places, secure: print("ready", places[0][1], secure, flush=True))
    except CannotStart as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
