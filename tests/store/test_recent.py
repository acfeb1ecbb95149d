"""What stores remember is bounded in bytes: clients choose how long names and records are."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from typing import cast

import pytest

from strongroom.store.base import Stored, Upload
from strongroom.store.nas.walk import Entries
from strongroom.store.recent import Recent, weight_of
from strongroom.store.s3 import listing, uploads
from strongroom.store.s3.backend_listing import Listed
from strongroom.store.s3.client import Client
from strongroom.store.s3.known import KnownBuckets

MOST = 2 * 1024**2
LONG = "n" * 1018


def taken(fill: Callable[[], object]) -> int:
    """The bytes of memory that what is made takes."""
    tracemalloc.start()
    try:
        kept = fill()
        size, _ = tracemalloc.get_traced_memory()
        del kept
        return size
    finally:
        tracemalloc.stop()


def test_what_was_used_lately_stays() -> None:
    recent: Recent[int, str] = Recent(100_000)
    for number in range(1000):
        recent.keep(number, "value", weight_of("name", {"field": b"value"}))
        assert recent.get(0) == "value"
    assert 50 < len(recent) < 200 and recent.get(999) == "value" and recent.get(500) is None
    recent.forget(0)
    assert recent.get(0) is None


@pytest.mark.parametrize("size", [100, 9000])
def test_objects_of_a_backend_with_long_records_are_remembered_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(listing, "_REMEMBERED", MOST)

    async def find(bucket: str, key: str) -> Stored:
        return Stored(key, 10, 1, {":sse": bytes(200), ":sealed": bytes(size)}, "etag id")

    async def listed() -> listing.Listings:
        listings = listing.Listings(cast(Client, None), find)
        for number in range(4000):
            metadata = {"meta": "é" * size}
            await listings._stored("bucket", Listed(f"{number:06}{LONG}", 10, "etag", 1, metadata))
        return listings

    assert MOST // 3 < taken(lambda: asyncio.run(listed())) < 1.5 * MOST


def test_open_uploads_with_long_records_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "_REMEMBERED", MOST)

    def fill() -> uploads.Uploads:
        known = uploads.Uploads(cast(Client, None), cast(KnownBuckets, None))
        for number in range(1000):
            upload = Upload(LONG, str(number), 1, {":sealed": bytes(9000)})
            known._remember("bucket", uploads.OpenUpload(upload, "id"))
        return known

    assert MOST // 3 < taken(fill) < 1.5 * MOST


def test_names_in_large_folders_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.store.nas.walk._REMEMBERED", MOST)

    def fill() -> Entries:
        entries = Entries(None)
        for folder in range(10):
            names = [f"{number:06}".encode().ljust(255, b"n") for number in range(2000)]
            entries._remember((1, folder), (0, 0), names, 1 << 62)
        return entries

    assert MOST // 3 < taken(fill) < 1.5 * MOST
