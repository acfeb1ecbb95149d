"""Entries of listings that are written by the page look as the general writers have them."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from strongroom.s3.describe import moment, quoted
from strongroom.s3.entries import Entries
from strongroom.s3.model import compile_model
from strongroom.s3.naming import OWNER, encode_name
from strongroom.s3.shapes import (
    CommonPrefix,
    ListObjectsOutput,
    ListObjectsV2Output,
    ListObjectVersionsOutput,
    Object,
    ObjectVersion,
)
from strongroom.sealed.objects import Summary

ENTRIES = Entries()
SERIALIZE = {operation.name: operation.serialize for operation in compile_model().served}

# Keys are any text that has UTF-8; some are like the marks and the markup that entries are put together from.
hostile = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text("&<>\"'%+ ~@/\0\t\r\n\x7f\u0085\u2028\ufffe\uffff\U0001f5dd@keyetagsiz{}sa0", max_size=30),
    st.sampled_from(["@key@", "@etag@", "9223372036854775807", "9999-12-31T23:59:59.999Z", "%s", "{key}", "</Key>"]),
)
etags = st.one_of(st.from_regex(r"[0-9a-f]{32}(-[1-9])?", fullmatch=True), hostile)
times = st.one_of(
    st.integers(0, 2**62), st.integers(-(2**40), 2**40), st.integers(1, 10**6).map(lambda count: count * 10**9 - 1)
)
pages = st.lists(st.builds(Summary, hostile, st.integers(0, 2**63), times, etags), max_size=6)
encodings = st.sampled_from([None, "url"])


def objects(page: list[Summary], encoding: str | None, with_owner: bool) -> list[Object]:
    return [
        Object(
            key=encode_name(item.key, encoding),
            last_modified=moment(item.modified),
            etag=quoted(item.etag),
            size=item.size,
            storage_class="STANDARD",
            owner=OWNER if with_owner else None,
        )
        for item in page
    ]


def versions(page: list[Summary], encoding: str | None) -> list[ObjectVersion]:
    return [
        ObjectVersion(
            key=encode_name(item.key, encoding),
            version_id="null",
            is_latest=True,
            last_modified=moment(item.modified),
            etag=quoted(item.etag),
            size=item.size,
            storage_class="STANDARD",
            owner=OWNER,
        )
        for item in page
    ]


@given(pages, st.lists(hostile, max_size=4), encodings, st.booleans())
def test_a_page_of_objects_is_that_of_the_general_writer(
    page: list[Summary], names: list[str], encoding: str | None, with_owner: bool
) -> None:
    prefixes = [CommonPrefix(prefix=encode_name(name, encoding)) for name in names]
    general = ListObjectsV2Output(
        name="bucket", contents=objects(page, encoding, with_owner), common_prefixes=prefixes, max_keys=7
    )
    written = ListObjectsV2Output(
        name="bucket",
        contents=ENTRIES.objects(page, encoding, with_owner),
        common_prefixes=ENTRIES.prefixes(names, encoding),
        max_keys=7,
    )
    assert SERIALIZE["ListObjectsV2"](written) == SERIALIZE["ListObjectsV2"](general)


@given(pages, encodings)
def test_the_first_operation_of_its_kind_has_the_same_entries(page: list[Summary], encoding: str | None) -> None:
    general = ListObjectsOutput(name="bucket", contents=objects(page, encoding, with_owner=True))
    written = ListObjectsOutput(name="bucket", contents=ENTRIES.objects(page, encoding, with_owner=True))
    assert SERIALIZE["ListObjects"](written) == SERIALIZE["ListObjects"](general)


@given(pages, st.lists(hostile, max_size=4), encodings)
def test_a_page_of_versions_is_that_of_the_general_writer(
    page: list[Summary], names: list[str], encoding: str | None
) -> None:
    prefixes = [CommonPrefix(prefix=encode_name(name, encoding)) for name in names]
    general = ListObjectVersionsOutput(name="bucket", versions=versions(page, encoding), common_prefixes=prefixes)
    written = ListObjectVersionsOutput(
        name="bucket", versions=ENTRIES.versions(page, encoding), common_prefixes=ENTRIES.prefixes(names, encoding)
    )
    assert SERIALIZE["ListObjectVersions"](written) == SERIALIZE["ListObjectVersions"](general)


@given(hostile)
def test_a_name_is_encoded_whether_or_not_it_needs_it(name: str) -> None:
    assert encode_name(name, "url") == quote(name, safe="/*-._").replace("%20", "+")
