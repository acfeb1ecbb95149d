"""What every store promises of listings, compared with a model that sorts and cuts a set of keys."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from strongroom.store.base import Page, Store
from tests.store.conftest import Run
from tests.store.kinds import PLAIN, Kind, put

_PART = st.sampled_from(["a", "b", "ab", "a-b", "a0", "a.txt", "é", "日本", "~", "A", " "])
_PARTS = st.lists(_PART, min_size=1, max_size=4)
_KEY = st.builds(lambda parts, end: "/".join(parts) + end, _PARTS, st.sampled_from(["", "", "/"]))
_ANY = st.one_of(st.just(""), _KEY, st.sampled_from(["a/", "b/a/", "a", "a-", "\U0010ffff", "/"]))
_BESIDE = [f"a/b-{number}" for number in range(20)]
_Name = tuple[str, bool]  # and whether it is a common prefix
_numbers = itertools.count(1)


def _fit(keys: list[str]) -> set[str]:
    """Those of the keys that a file system can hold beside each other."""
    chosen: set[str] = set()
    for key in keys:
        above = {key[:at] for at, letter in enumerate(key) if letter == "/"}
        if above & chosen or any(other.startswith(key.rstrip("/") + "/") for other in chosen if key[-1] != "/"):
            continue
        if key.endswith("/") and key[:-1] in chosen:
            continue
        chosen.add(key)
    return chosen


def _model(keys: set[str], prefix: str, delimiter: str, after: str) -> list[_Name]:
    """Names in order, True for a common prefix."""
    found: list[_Name] = []

    def rolled(key: str) -> str | None:
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        return None if at < 0 else key[: at + len(delimiter)]

    passed_over = after if after and rolled(after) == after else None
    for key in sorted(keys, key=str.encode):
        if not key.startswith(prefix) or key.encode() <= after.encode():
            continue
        if passed_over is not None and key.startswith(passed_over):
            continue
        common = rolled(key)
        name = (key, False) if common is None else (common, True)
        if name not in found:
            found.append(name)
    return found


def _names(page: Page) -> list[_Name]:
    names = [(stored.key, False) for stored in page.objects] + [(prefix, True) for prefix in page.prefixes]
    return sorted(names, key=lambda name: name[0].encode())


async def _all(store: Store, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> list[_Name]:
    found: list[_Name] = []
    following: str | None = after
    while following is not None:
        async with asyncio.timeout(60):
            page = await store.list(bucket, prefix, delimiter, following, limit)
        assert len(page.objects) + len(page.prefixes) <= limit
        found += _names(page)
        following = page.next
    return found


def test_listings_are_those_of_the_model(kind: Kind, directory: Path) -> None:
    loop = asyncio.new_event_loop()
    store = kind.make(directory)
    loop.run_until_complete(store.start())

    @settings(max_examples=60, suppress_health_check=list(HealthCheck))
    @example(["a/b", "a-b", "a0", "a/a/b"], [], "", "/", "", 1)
    @example(["a/", "a/b"], [], "", "/", "", 10)
    @example(["a/", "a/b"], [], "a/", "/", "", 1)
    @example(["a/b/a", "a/b/b", "b"], [], "", "/", "a/", 1)
    @example(["a/a"], [], "", "/", "a/a", 1)
    @example(["a/b/a", "a/b/c"], [], "", "/", "a/b/b", 1)
    @example(["a/b/a", "a/b/b", "b"], ["a/b/a", "a/b/b"], "", "/", "", 1)
    @example(["b", "b0", "b1", "b2", "b3", "c"], [], "", "b", "", 1)
    @example([*_BESIDE, "a/b/a", "a/b/b", "a/c"], [], "", "", "a/b-", 1)
    @example([*_BESIDE, "a/b/a", "a/b/b", "a/c"], [], "a/", "/", "a/b-", 1)
    @example(["b", "\U0010ffff", "\U0010ffffa"], [], "", "", "a/", 1)
    @example([".a", "..b", "a/.b/c", "a/.c", "a/0"], [], ".", "", "", 1)
    @example([".a", "..b", "a/.b/c", "a/.c", "a/0", "a/-"], [], "a/.", "/", "", 1)
    @example(["-", ".a", "a/-", "a/.b", "a/0", "b"], [], "", "", "a//b", 1)
    @example(["-", ".a", "a/-", "a/.b", "a/0", "b"], [], "", "/", "a/./b", 1)
    @example([".a", "a/b", "b"], [], "a//", "", "..", 1)
    @example(["a", "b", "b0", "b1", "b2", "b\U0010ffff"], [], "", "b", "b", 1)
    @given(
        st.lists(_KEY, max_size=12), st.lists(_KEY, max_size=4), _ANY, st.sampled_from(["", "/", "-", "b", "/a"]),
        _ANY, st.integers(1, 4),
    )  # fmt: skip
    def compare(keys: list[str], gone: list[str], prefix: str, delimiter: str, after: str, limit: int) -> None:
        async def listed() -> None:
            bucket = f"bucket-{next(_numbers)}"
            await store.create_bucket(bucket)
            there = _fit(keys)
            for key in there:
                await put(store, key, b"x", bucket=bucket)
            for key in dict.fromkeys(gone):
                assert await store.delete(bucket, key) == (key in there)
            there -= set(gone)
            wanted = _model(there, prefix, delimiter, after)
            assert await _all(store, bucket, prefix, delimiter, after, limit) == wanted
            assert await _all(store, bucket, prefix, delimiter, after, 1000) == wanted
            for key in there:
                await store.delete(bucket, key)
            await store.delete_bucket(bucket)

        loop.run_until_complete(listed())

    try:
        compare()
    finally:
        loop.run_until_complete(store.stop())
        loop.close()


def test_a_listing_tells_of_each_object_what_head_tells(run: Run) -> None:
    async def use(store: Store) -> None:
        for number in range(60):
            record = {**PLAIN, "n": b"%d" % number} if number % 2 else {":sse": b"h", "n": b"%d" % number}
            await put(store, f"{number % 7}/{number}", bytes(number), record)
        page = await store.list("bucket", "", "", "", 1000)
        assert len(page.objects) == 60
        for stored in page.objects:
            assert stored == await store.head("bucket", stored.key)

    run(use)
