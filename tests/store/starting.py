"""Processes that open one new directory at the same moment, again and again: ``python -m tests.store.starting DIR``."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

from strongroom.store.local import LocalStore

PROCESSES, ROUNDS = 4, 25


def _open(directory: Path, together: Barrier) -> None:
    async def start() -> None:
        store = LocalStore(directory)
        together.wait()
        await store.start()
        await store.stop()

    asyncio.run(start())


def main(below: Path) -> int:
    """How many of the processes failed."""
    context = multiprocessing.get_context("fork")
    failed = 0
    for number in range(ROUNDS):
        directory = below / str(number)
        directory.mkdir()
        together = context.Barrier(PROCESSES)
        processes = [context.Process(target=_open, args=(directory, together)) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            failed += process.exitcode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
