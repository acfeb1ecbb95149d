"""The floors: what hashing, encrypting, and copying to the disk give on this machine, without any server.

``python -m bench.floors NAME`` measures one and prints what the load generator would print. Each runs in as many
processes as there are clients (in memory: cores), so that nothing waits for Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.outcome import Outcome
from strongroom.store.writeback import Writeback

_FILE, _PIECE, _PACKAGE = 64 * 1024**2, 1024**2, 64 * 1024
_NONCE = bytes(12)

MD5_AND_COPY = "floor: MD5 and a durable copy"
COPY = "floor: a durable copy"
OPEN_AND_SEND = "floor: AES-GCM opened and sent"

OF_PUT = (MD5_AND_COPY, COPY)
OF_GET = (OPEN_AND_SEND,)
IN_MEMORY = ("MD5", "SHA-256", "AES-256-GCM, 64 KiB sealed", "AES-256-GCM, 64 KiB opened")

Steps = Iterator[int]
"""Does a step of work each time it is asked, and says how many bytes that was."""


def _digest(algorithm: str) -> Steps:
    piece = os.urandom(_PIECE)
    digest = hashlib.new(algorithm, usedforsecurity=False)
    while True:
        digest.update(piece)
        yield len(piece)


def _sealed() -> Steps:
    cipher, plaintext = AESGCM(bytes(32)), os.urandom(_PACKAGE)
    while True:
        cipher.encrypt(_NONCE, plaintext, None)
        yield len(plaintext)


def _opened() -> Steps:
    cipher = AESGCM(bytes(32))
    ciphertext = cipher.encrypt(_NONCE, os.urandom(_PACKAGE), None)
    while True:
        cipher.decrypt(_NONCE, ciphertext, None)
        yield _PACKAGE


def _copy(directory: Path, algorithm: str | None) -> Steps:
    """Copies of one file that the kernel has in memory, each synced with its directory, as an upload has to be.

    What is written goes to the disk while more of it comes: a copy that leaves all of that to the sync at its end takes
    a fifth to a third longer.
    """
    source, target = directory / f"source-{os.getpid()}", directory / f"copy-{os.getpid()}"
    source.write_bytes(os.urandom(_FILE))
    buffer = bytearray(_PIECE)
    opened = os.open(directory, os.O_RDONLY)
    while True:
        digest = hashlib.new(algorithm, usedforsecurity=False) if algorithm else None
        writeback, written = Writeback(), 0
        with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
            while count := reading.readinto(buffer):
                piece = memoryview(buffer)[:count]
                if digest:
                    digest.update(piece)
                written += writing.write(piece)
                writeback.reached(writing.fileno(), written)
            os.fdatasync(writing.fileno())
        target.rename(target.with_suffix(".done"))
        os.fsync(opened)
        yield _FILE
        target.with_suffix(".done").unlink()


def _sent(directory: Path) -> Steps:
    """Packages of a file that the kernel has in memory, opened and sent to a socket whose other end discards them."""
    cipher = AESGCM(bytes(32))
    source = directory / f"sealed-{os.getpid()}"
    package = cipher.encrypt(_NONCE, os.urandom(_PACKAGE), None)
    source.write_bytes(package * (_FILE // _PACKAGE))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sending = socket.create_connection(listening.getsockname())
        receiving, _ = listening.accept()
    threading.Thread(target=_discard, args=(receiving,), daemon=True).start()
    while True:
        with source.open("rb", buffering=0) as reading:
            while sealed := reading.read(len(package)):
                sending.sendall(cipher.decrypt(_NONCE, sealed, None))
        yield _FILE


def _discard(receiving: socket.socket) -> None:
    unused = bytearray(_PIECE)
    while receiving.recv_into(unused, len(unused), socket.MSG_TRUNC):
        pass


FLOORS: dict[str, Callable[[Path], Steps]] = {
    "MD5": lambda _: _digest("md5"),
    "SHA-256": lambda _: _digest("sha256"),
    "AES-256-GCM, 64 KiB sealed": lambda _: _sealed(),
    "AES-256-GCM, 64 KiB opened": lambda _: _opened(),
    MD5_AND_COPY: lambda directory: _copy(directory, "md5"),
    COPY: lambda directory: _copy(directory, None),
    OPEN_AND_SEND: _sent,
}


@dataclass(frozen=True, slots=True)
class _Done:
    """What one process has done: bytes, the seconds it took, those of processor time, and those of each step."""

    size: int
    seconds: float
    processor: float
    steps: list[float]


def _repeat(name: str, directory: Path, seconds: float, begin: Barrier, done: Queue[_Done]) -> None:
    """Do one kind of work for a time, in a process of its own."""
    steps, size, taken = FLOORS[name](directory), 0, []
    next(steps)  # which prepares, and is not counted
    begin.wait()
    start, used = time.monotonic(), time.process_time()
    while (now := time.monotonic()) < start + seconds:
        size += next(steps)
        taken.append(time.monotonic() - now)
    done.put(_Done(size, time.monotonic() - start, time.process_time() - used, taken))


def measure(name: str, below: Path, processes: int, seconds: float) -> Outcome:
    """Measure one; files are put below a directory, for the time that it takes."""
    context = multiprocessing.get_context("fork")
    begin, queue = context.Barrier(processes), context.Queue()
    with tempfile.TemporaryDirectory(prefix="floor-", dir=below) as directory:
        arguments = (name, Path(directory), seconds, begin, queue)
        running = [context.Process(target=_repeat, args=arguments) for _ in range(processes)]
        for process in running:
            process.start()
        results: list[_Done] = [queue.get(timeout=seconds + 60) for _ in running]
        for process in running:
            process.join()
    taken = sorted(step * 1000 for done in results for step in done.steps)
    return Outcome(
        ops=len(taken),
        bytes=sum(done.size for done in results),
        seconds=max(done.seconds for done in results),
        p50_ms=median(taken),
        p99_ms=taken[len(taken) * 99 // 100],
        processor_seconds=sum(done.processor for done in results),
    )


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m bench.floors", description=__doc__)
    parser.add_argument("name", choices=FLOORS)
    parser.add_argument("--below", type=Path, default=Path(), help="where files are put (default: here)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="default: one for each core")
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    print(json.dumps(asdict(measure(options.name, options.below, options.processes, options.seconds))))


if __name__ == "__main__":
    main()
