"""What is counted of the calls to a KMS: each data key by how it ended, and each call once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import pytest

from strongroom.kms import metered
from strongroom.kms.base import (
    Context,
    KeyDisabled,
    KMSDenied,
    KMSError,
    KMSUnavailable,
    NoSuchKey,
    WrappedKey,
    WrappedKeyInvalid,
)
from strongroom.kms.metered import MeteredKMS
from tests.kms.elsewhere import KMSElsewhere

HERE: Context = {"b": "b/o"}
RESULTS = {
    KeyDisabled: "disabled",
    KMSDenied: "denied",
    NoSuchKey: "no such key",
    WrappedKeyInvalid: "invalid",
    KMSUnavailable: "unavailable",
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], float]]:
    """What was told of each call, each of which takes a second."""
    now = iter(range(1000, 1100))
    monkeypatch.setattr(metered, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))
    return []


def counting(told: list[tuple[str, list[str], float]]) -> Callable[[str, Iterable[str], float], None]:
    return lambda operation, results, seconds: told.append((operation, list(results), seconds))


def test_every_data_key_is_counted_and_every_call_is_timed(told: list[tuple[str, list[str], float]]) -> None:
    async def main() -> None:
        kms = MeteredKMS(KMSElsewhere(), counting(told))
        one, two = await kms.generate([HERE, HERE])
        answers = await kms.unwrap([(one.wrapped, HERE), (two.wrapped, {"b": "b/other"})])
        assert answers[0] == one.plaintext and isinstance(answers[1], WrappedKeyInvalid)

    asyncio.run(main())
    assert told == [("generate", ["ok", "ok"], 1.0), ("unwrap", ["ok", "invalid"], 1.0)]


@pytest.mark.parametrize("error", RESULTS)
def test_an_error_is_counted_as_what_it_is_and_handed_on(
    told: list[tuple[str, list[str], float]], error: type[KMSError]
) -> None:
    async def main() -> None:
        behind = KMSElsewhere()
        (made,) = await behind.generate([HERE])
        behind.refusal = error("no")
        kms = MeteredKMS(behind, counting(told))
        with pytest.raises(error):
            await kms.generate([HERE] * 3)
        assert list(map(type, await kms.unwrap([(made.wrapped, HERE)]))) == [error]

    asyncio.run(main())
    assert told == [("generate", [RESULTS[error]] * 3, 1.0), ("unwrap", [RESULTS[error]], 1.0)]


def test_all_else_is_that_of_the_kms_behind() -> None:
    class Behind(KMSElsewhere):
        lives = ""

        def in_memory(self, wrapped: WrappedKey) -> bool:
            return wrapped.key_id == "here"

        async def start(self) -> None:
            self.lives += "started "

        async def stop(self) -> None:
            self.lives += "stopped"

    async def main() -> None:
        told: list[tuple[str, list[str], float]] = []
        behind = Behind("name")
        kms = MeteredKMS(behind, counting(told))
        await kms.start()
        status = await kms.status()
        assert (kms.key_id, status.key_id, status.error) == ("name", "name", None)
        assert [kms.in_memory(WrappedKey("static", name, b"")) for name in ("here", "there")] == [True, False]
        with pytest.raises(NoSuchKey):
            await kms.generate([HERE], "another")
        await kms.stop()
        assert behind.lives == "started stopped"

    asyncio.run(main())
