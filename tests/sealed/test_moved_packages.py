"""Packages that change places, with headers that say the nonce under which each opens in its new place."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from strongroom.sealed.dare import PACKAGE, PAYLOAD, Sealer, new_nonce
from strongroom.sealed.keys import ObjectKey, only_nonce, part_key
from strongroom.sealed.legacy import with_nonces
from strongroom.sealed.parts import PartEntry
from strongroom.sealed.reading import Layout, SealedBody
from strongroom.store.base import Reader, Stored
from strongroom.store.errors import Damaged

KEY = ObjectKey(os.urandom(32))
PLAINTEXT = os.urandom(4 * PAYLOAD + 17)
NONCES = {"own": only_nonce(KEY), "random": new_nonce()}


def moved(stream: bytes) -> bytes:
    """The stream with the first two packages, and the next two if the last is not one of them, in each other's
    places.
    """
    packages = [bytearray(stream[at : at + PACKAGE]) for at in range(0, len(stream), PACKAGE)]
    pairs = (len(packages) - 1) // 2 * 2
    for package in packages[:pairs]:
        package[12] ^= 1
    return b"".join([packages[place ^ 1 if place < pairs else place] for place in range(len(packages))])


class Held:
    """A Reader: of what is in ``memory``, of a ``file``, or what comes by other ways (``streamed``)."""

    def __init__(self, data: bytes, how: str) -> None:
        self.stored = Stored("o", len(data), 0, {}, "x")
        self.read = None if how == "streamed" else lambda start, length: data[start : start + length]
        self.asked: list[tuple[int, int]] = []
        self._data = data
        self._how = how

    def cached(self, start: int, length: int, room: bytearray | None = None) -> bytes | None:
        return self._data[start : start + length] if self._how == "memory" else None

    async def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        self.asked.append((start, length))
        yield self._data[start : start + length]


def read(
    held: Held, start: int, length: int, parts: Sequence[PartEntry] | None = None, size: int = len(PLAINTEXT)
) -> bytes:
    async def work() -> bytes:
        with ThreadPoolExecutor(1) as pool:
            body = SealedBody(pool, cast(Reader, held), Layout(KEY, size, parts), "o")
            at_once = body.at_once(start, length)
            streamed = b"".join([bytes(piece) async for piece in body.stream(start, length)])
            assert at_once is None or bytes(at_once) == streamed
            return streamed

    return asyncio.run(work())


@pytest.mark.parametrize("how", ["memory", "file", "streamed"])
@pytest.mark.parametrize("nonce", NONCES)
def test_packages_that_changed_places_with_their_nonces_are_detected(nonce: str, how: str) -> None:
    stream = bytes(Sealer(KEY, NONCES[nonce]).seal(PLAINTEXT, final=True))
    for start, length in ((0, 100), (PAYLOAD + 5, 10), (2 * PAYLOAD, 2 * PAYLOAD), (0, len(PLAINTEXT))):
        assert read(Held(stream, how), start, length) == PLAINTEXT[start : start + length]
        with pytest.raises(Damaged):
            read(Held(moved(stream), how), start, length)


@pytest.mark.parametrize("how", ["memory", "file", "streamed"])
@pytest.mark.parametrize("size", [2 * PAYLOAD + 1, 2 * PAYLOAD + 2, 3 * PAYLOAD])
def test_the_shortest_stream_whose_packages_can_change_places_is_no_exception(size: int, how: str) -> None:
    stream = bytes(Sealer(KEY, NONCES["random"]).seal(PLAINTEXT[:size], final=True))
    for start, length in ((0, 1), (PAYLOAD, PAYLOAD), (2 * PAYLOAD - 1, 1), (0, size)):
        assert read(Held(stream, how), start, length, size=size) == PLAINTEXT[start : start + length]
        with pytest.raises(Damaged):
            read(Held(moved(stream), how), start, length, size=size)


def test_a_range_of_what_is_written_here_needs_no_other_package() -> None:
    for nonce, requests in (("own", 1), ("random", 2)):
        held = Held(bytes(Sealer(KEY, NONCES[nonce]).seal(PLAINTEXT, final=True)), "streamed")
        read(held, 0, 100)
        assert len(held.asked) == requests


def test_a_part_that_minio_left_and_whose_packages_changed_places_is_neither_read_nor_sealed_anew() -> None:
    stream = bytes(Sealer(part_key(KEY, 7), new_nonce()).seal(PLAINTEXT, final=True))
    part = PartEntry(7, len(PLAINTEXT), b"", bytes(16))

    async def sealed_anew(held: Held) -> list[PartEntry]:
        return [found async for found in with_nonces(cast(Reader, held), KEY, [part])]

    whole, spoilt, without_end = [Held(data, "streamed") for data in (stream, moved(stream), bytes(len(stream)))]
    found = asyncio.run(sealed_anew(whole))
    assert read(whole, 0, 100, found) == PLAINTEXT[:100]
    for parts in ([part], found):
        with pytest.raises(Damaged):
            read(spoilt, 0, 100, parts)
    assert asyncio.run(sealed_anew(spoilt)) == found  # the nonce is not that which the moved ones say
    with pytest.raises(Damaged):
        asyncio.run(sealed_anew(without_end))
