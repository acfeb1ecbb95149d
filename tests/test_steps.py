"""Steps in threads: they go on if nobody waits for them any more, and a task that waits is told without a detour."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from strongroom.threads import Step, Steps, Threads


class Gate:
    """Work that takes until it is let through."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.passed = 0

    def work(self, value: str) -> str:
        self._open.wait()
        self.passed += 1
        return value

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def threads() -> Iterator[Threads]:
    with Threads(2, "test") as threads:
        yield threads


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()  # whatever happened: the threads end with their work


async def cancelled(waiting: asyncio.Task[str]) -> None:
    await asyncio.sleep(0)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()


def test_a_step_gives_what_its_work_returns_or_raises(threads: Threads) -> None:
    async def run() -> None:
        assert await threads.start("".join, ["a", "b"]).result() == "ab"
        with pytest.raises(ZeroDivisionError):
            await threads.start(divmod, 1, 0).result()

    asyncio.run(run())


def test_a_step_that_is_over_can_be_asked_again(threads: Threads) -> None:
    async def run() -> None:
        step = threads.start(str, 1)
        assert [await step.result(), await step.result()] == ["1", "1"]
        await step.ended()

    asyncio.run(run())


def test_a_step_goes_on_if_the_task_that_waits_is_cancelled(threads: Threads, gate: Gate) -> None:
    async def run() -> None:
        step = threads.start(gate.work, "done")
        await cancelled(asyncio.create_task(step.result()))
        assert not step.is_over
        gate.open()
        assert await step.result() == "done"
        assert gate.passed == 1

    asyncio.run(run())


def test_a_step_that_fails_with_nobody_waiting_is_no_complaint(threads: Threads) -> None:
    complaints: list[dict[str, object]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        step = threads.start(divmod, 1, 0)
        await step.ended()
        assert isinstance(step.error, ZeroDivisionError)

    asyncio.run(run())
    assert not complaints


def test_who_is_to_be_called_then_is_called_before_the_task_goes_on(threads: Threads, gate: Gate) -> None:
    seen: list[str] = []

    async def run() -> None:
        step: Step[str] = threads.start(gate.work, "done")
        step.then(lambda step: seen.append(f"called: {step.returned}"))
        asyncio.get_running_loop().call_soon(gate.open)
        seen.append(await step.result())
        step.then(lambda step: seen.append("called at once"))

    asyncio.run(run())
    assert seen == ["called: done", "done", "called at once"]


def test_of_several_steps_the_last_can_be_waited_for_when_its_task_was_cancelled(threads: Threads, gate: Gate) -> None:
    async def run() -> None:
        steps = Steps(threads)
        await steps.ended()
        assert await steps.do(str, 1) == "1"
        await cancelled(asyncio.create_task(steps.do(gate.work, "done")))
        assert gate.passed == 0
        gate.open()
        await steps.ended()
        assert gate.passed == 1

    asyncio.run(run())
