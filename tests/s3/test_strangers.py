"""What strangers send, before anybody knows who they are, is not remembered."""

from __future__ import annotations

import asyncio
import gc
from typing import cast

import pytest

from strongroom.s3 import routing
from strongroom.s3.cors import CrossOrigin, Rule
from strongroom.sealed.faults import NoSuchBucket
from strongroom.sealed.store import SealedStore
from strongroom.sigv4 import keys


def test_names_that_no_bucket_can_have_are_not_remembered() -> None:
    assert routing.is_bucket_name("a-bucket")
    before = routing._is_bucket_name.cache_info()
    for name in ("a" * 60_000, "a" * 64, "\0" * 1000):
        assert not routing.is_bucket_name(name)
    assert routing._is_bucket_name.cache_info() == before


def test_dates_that_are_none_are_not_remembered() -> None:
    assert keys.parse_timestamp("20130524T000000Z") is not None
    before = keys._parse_timestamp.cache_info()
    for text in ("", "2" * 60_000, "20130524T000000Z" + " " * 60_000, "20130524T000000"):
        assert keys.parse_timestamp(text) is None
    assert keys._parse_timestamp.cache_info() == before


class _Buckets:
    """Of a sealed store, the buckets' CORS rules: one bucket is there, and has none."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def cors(self, bucket: str) -> bytes | None:
        self.asked.append(bucket)
        if bucket != "there":
            raise NoSuchBucket(bucket)
        return None


@pytest.mark.parametrize("seconds", [0.0, 3600.0])
def test_names_of_buckets_that_are_not_there_are_not_remembered(seconds: float) -> None:
    buckets = _Buckets()
    cross_origin = CrossOrigin(cast(SealedStore, buckets), ("*",), of_buckets=True, seconds=seconds)

    async def ask() -> None:
        for name in ("there", "not-there", "neither-there") * 3:
            assert await cross_origin.rules(name) == await cross_origin.rules("")

    asyncio.run(ask())
    assert [buckets.asked.count(name) for name in ("not-there", "neither-there")] == [3, 3]
    assert buckets.asked.count("there") == (1 if seconds else 3)


class _Rules:
    """Of a sealed store, the buckets' CORS rules: each bucket has one of its own."""

    async def cors(self, bucket: str) -> bytes | None:
        rule = f"<AllowedMethod>GET</AllowedMethod><AllowedOrigin>https://{bucket}</AllowedOrigin>"
        return f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>".encode()


def test_rules_of_many_buckets_are_not_remembered_for_longer_than_they_hold() -> None:
    cross_origin = CrossOrigin(cast(SealedStore, _Rules()), ("*",), of_buckets=True, seconds=0.001)

    async def ask() -> None:
        for number in range(300):
            (rule,) = await cross_origin.rules(f"bucket-{number}")
            assert rule.allows(f"https://bucket-{number}", "GET")
            await asyncio.sleep(0.002)

    asyncio.run(ask())
    assert sum(isinstance(found, Rule) for found in gc.get_objects()) < 100
