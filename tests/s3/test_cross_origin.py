"""Which pages the rules of a bucket let in: to the letter of a pattern, and up to the limits of S3."""

from __future__ import annotations

import asyncio
from errno import EMFILE
from types import SimpleNamespace
from typing import cast

import pytest

from strongroom.s3.cors import MAX_DOCUMENT, MAX_NAMES, MAX_RULES, CrossOrigin, Rule, answered, encode, preflight
from strongroom.s3.errors import S3Error
from strongroom.s3.shapes import CORSConfiguration, CORSRule
from strongroom.sealed.store import SealedStore
from strongroom.store.errors import Damaged, NoSuchBucket, Unavailable


@pytest.mark.parametrize(
    ("pattern", "origin", "fits"),
    [
        ("https://ab*bc", "https://abbc", True),
        ("https://ab*bc", "https://ab.x.bc", True),
        ("https://ab*bc", "https://abc", False),  # no letter counts for both ends
        ("https://a*", "https://a", True),
        ("*.example.com", "https://a.example.com", True),
        ("*.example.com", "https://a.example.com.evil.net", False),
        ("https://a.example.com", "https://a.example.com.evil.net", False),
        ("https://a.example.com", "https://A.example.com", False),
    ],
)
def test_a_pattern_stands_for_what_has_both_its_ends(pattern: str, origin: str, fits: bool) -> None:
    assert bool(answered([Rule((pattern,), ("GET",))], origin, "GET")) == fits


def test_an_answer_that_browsers_must_not_remember_says_so() -> None:
    """Without the header they would remember it for five seconds."""
    found = dict(answered([Rule(("*",), ("GET",), max_age=0)], "https://a", "GET"))
    assert found["access-control-max-age"] == "0"


def test_a_page_may_ask_about_as_many_headers_as_a_request_can_have() -> None:
    names = ",".join(f"x-{number}" for number in range(MAX_NAMES))
    asked = {"origin": "https://a", "access-control-request-method": "GET", "access-control-request-headers": names}
    found = dict(preflight([Rule(("*",), ("GET",), ("*",))], asked))
    assert found["access-control-allow-headers"] == names.replace(",", ", ")


def rules(number: int, origin: str) -> CORSConfiguration:
    return CORSConfiguration(cors_rules=[CORSRule(allowed_methods=["GET"], allowed_origins=[origin])] * number)


def test_a_bucket_may_have_as_many_rules_as_s3_says_and_as_long_ones() -> None:
    assert encode(rules(MAX_RULES, "https://a")).count(b"<CORSRule>") == MAX_RULES == 100
    rest = MAX_DOCUMENT - len(encode(rules(1, "")))
    assert len(encode(rules(1, "a" * rest))) == MAX_DOCUMENT
    with pytest.raises(S3Error, match="EntityTooLarge"):
        encode(rules(1, "a" * (rest + 1)))


@pytest.mark.parametrize("origin", ["https://a\x7f", "https://a\tb", "https://\u00fc"], ids=ascii)
def test_an_origin_that_no_browser_sends_is_refused(origin: str) -> None:
    with pytest.raises(S3Error, match="InvalidRequest"):
        encode(rules(1, origin))


class Buckets:
    """Of a sealed store: the rules of its buckets. ``answer`` is the document of each, or what asking for it raises."""

    def __init__(self, answer: bytes | Exception | None) -> None:
        self.answer = answer
        self.asked = 0

    async def cors(self, bucket: str) -> bytes | None:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def knowing(self, seconds: float, of_buckets: bool = True) -> CrossOrigin:
        store = cast(SealedStore, SimpleNamespace(cors=self.cors))
        return CrossOrigin(store, ["https://everywhere"], of_buckets, seconds)


def let_in(known: CrossOrigin, origin: str, bucket: str = "bucket") -> bool:
    return bool(answered(asyncio.run(known.rules(bucket)), origin, "GET"))


@pytest.mark.parametrize(
    "fault",
    [Unavailable("off"), Damaged("spoilt"), OSError(EMFILE, "Too many open files"), b"<CORSConfiguration>"],
    ids=type,
)
def test_no_page_is_let_in_by_rules_that_cannot_be_read(fault: bytes | Exception) -> None:
    """They might let in fewer pages than the server's setting."""
    buckets = Buckets(fault)
    known = buckets.knowing(60)
    assert not let_in(known, "https://everywhere")
    buckets.answer = encode(rules(1, "https://a"))
    assert let_in(known, "https://a")  # nor is remembered that they could not


@pytest.mark.parametrize("answer", [None, NoSuchBucket("none")], ids=["no rules", "no bucket"])
def test_the_server_s_setting_holds_where_there_are_no_rules(answer: Exception | None) -> None:
    known = Buckets(answer).knowing(60)
    assert let_in(known, "https://everywhere")
    assert not let_in(known, "https://a")
    assert let_in(known, "https://everywhere", bucket="")


def test_rules_are_remembered_for_some_time_and_until_they_are_changed_here() -> None:
    for seconds, asked in ((60, 1), (0, 3)):
        buckets = Buckets(encode(rules(1, "https://a")))
        known = buckets.knowing(seconds)
        assert [let_in(known, "https://a") for _ in range(3)] == [True] * 3
        assert buckets.asked == asked
        buckets.answer = encode(rules(1, "https://b"))
        known.forget("bucket")
        assert (let_in(known, "https://a"), let_in(known, "https://b")) == (False, True)


def test_a_gateway_without_a_kms_has_no_rules_of_buckets() -> None:
    buckets = Buckets(encode(rules(1, "https://a")))
    assert let_in(buckets.knowing(0, of_buckets=False), "https://everywhere")
    assert buckets.asked == 0
