"""Where no more threads can be had, as in a container whose processes are limited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from strongroom.store.base import Store
from strongroom.store.local import LocalStore
from strongroom.store.nas import NasStore
from strongroom.threads import Threads
from tests.store.kinds import get, put


@contextmanager
def no_more() -> Iterator[None]:
    """Within it no thread can be started. (The limit itself does not hold for root, who may run the tests.)"""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        yield


def test_steps_wait_for_the_threads_that_there_are() -> None:
    with Threads(4, "test") as threads:
        hold, done = threading.Event(), list[int]()
        with no_more():
            first = threads.submit(hold.wait)
            others = [threads.submit(done.append, number) for number in range(3)]
        hold.set()
        assert first.result()
        for other in others:
            other.result()
        assert done == [0, 1, 2]


def test_where_not_even_one_can_be_had_it_is_said_at_once() -> None:
    with no_more(), pytest.raises(OSError, match="no thread can be started"):
        Threads(4, "test")


@pytest.mark.parametrize("make", [LocalStore, NasStore])
def test_a_store_goes_on_writing_and_reading(make: Callable[[Path], Store], tmp_path: Path) -> None:
    """One that was refused a thread between the beginning and the end of a transaction could not write any more."""
    large = bytes(2 * 1024 * 1024)

    async def work() -> None:
        store = make(tmp_path)
        await store.start()
        with no_more():
            await store.create_bucket("bucket")
            await asyncio.gather(*(put(store, f"small{n}", b"x") for n in range(4)), put(store, "large", large))
            assert await get(store, "small3") == b"x"
            assert await get(store, "large") == large
        await store.stop()

    asyncio.run(work())
