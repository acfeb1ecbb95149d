"""Which encryption applies, and what envelopes and records detect."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.kms.base import WrappedKey, context_bytes
from strongroom.s3.request import HttpRequest
from strongroom.sealed import metadata as metadata_codec
from strongroom.sealed.context import check_added, context_text, kms_context, read_context
from strongroom.sealed.envelope import EnvelopeInvalid, Header, decode_header, open_box, seal_box
from strongroom.sealed.errors import ContextRefused, NoKMS
from strongroom.sealed.keys import (
    ExternalKey,
    KeyRefused,
    Kind,
    new_iv,
    new_object_key,
    open_object_key,
    record_key,
    seal_object_key,
)
from strongroom.sealed.metadata import Metadata, ObjectChecksum
from strongroom.sealed.policy import PLAIN, SSE_S3, Protection, decide, master_key_name
from strongroom.sealed.record import header_of, open_record, plain_record, read_plain, sealed_record
from strongroom.sealed.uploads import _Opened
from strongroom.secret import Secret
from strongroom.store.base import Upload
from strongroom.store.s3.messages import Request

SSE_C = Protection(Kind.SSE_C, Secret(bytes(32)))
SSE_KMS = Protection(Kind.SSE_KMS, key_id="key", context='{"a":"b"}')
KEY = record_key(new_object_key())
METADATA = Metadata({"x-amz-meta-a": "b", "content-type": "text/plain"}, "etag", ObjectChecksum("CRC32", "X", "y"))


def header() -> Header:
    return Header(Kind.SSE_S3, 12345, new_iv(), bytes(48), WrappedKey("static", "key", bytes(60)))


@pytest.mark.parametrize("asked", [None, SSE_S3, SSE_C, SSE_KMS])
@pytest.mark.parametrize("default", [None, SSE_S3, SSE_KMS])
@pytest.mark.parametrize("auto", [False, True])
def test_what_the_request_asks_stands_above_the_bucket_and_the_bucket_above_nothing(
    asked: Protection | None, default: Protection | None, auto: bool
) -> None:
    expected = asked or default or (SSE_S3 if auto else PLAIN)
    assert decide(asked, default, auto, has_kms=True) == expected


@pytest.mark.parametrize("default", [None, SSE_S3, SSE_KMS])
@pytest.mark.parametrize("auto", [False, True])
def test_who_asks_for_nothing_but_a_bucket_key_asks_for_no_plaintext(default: Protection | None, auto: bool) -> None:
    asked = Protection(Kind.PLAIN, bucket_key=True)
    assert decide(asked, default, auto, has_kms=True) == decide(None, default, auto, has_kms=True)


@pytest.mark.parametrize(
    ("key_id", "name"),
    [
        ("key", "key"),
        ("alias/key", "key"),
        ("arn:aws:kms:key", "key"),
        ("arn:aws:kms:us-east-1:111122223333:key/key", "key"),
        ("arn:aws:kms:us-east-1:111122223333:alias/key", "key"),
        ("other:key", "other:key"),  # no ARN
        ("key/key", "key/key"),
        ("arn:aws:kms:", ""),
    ],
)
def test_a_master_key_is_meant_by_its_name_an_alias_or_an_arn(key_id: str, name: str) -> None:
    assert master_key_name(key_id) == name


@pytest.mark.parametrize(
    ("asked", "default", "auto"),
    [(SSE_S3, None, False), (SSE_KMS, None, False), (None, SSE_S3, False), (None, SSE_KMS, True), (None, None, True)],
)
def test_without_a_kms_nothing_falls_back_to_plaintext(
    asked: Protection | None, default: Protection | None, auto: bool
) -> None:
    with pytest.raises(NoKMS):
        decide(asked, default, auto, has_kms=False)
    assert decide(SSE_C, default, auto, has_kms=False) == SSE_C


def test_an_object_key_opens_only_as_it_was_sealed() -> None:
    external, object_key, iv = ExternalKey(bytes(32)), new_object_key(), new_iv()
    sealed = seal_object_key(external, object_key, Kind.SSE_S3, iv, "bucket/key")
    assert open_object_key(external, sealed, Kind.SSE_S3, iv, "bucket/key") == object_key
    for change in (
        (ExternalKey(b"\1" * 32), sealed, Kind.SSE_S3, iv, "bucket/key"),
        (external, sealed, Kind.SSE_C, iv, "bucket/key"),
        (external, sealed, Kind.SSE_S3, new_iv(), "bucket/key"),
        (external, sealed, Kind.SSE_S3, iv, "bucket/other"),
        (external, bytes(48), Kind.SSE_S3, iv, "bucket/key"),
    ):
        with pytest.raises(KeyRefused):
            open_object_key(*change)


def test_a_header_reads_back_and_no_shorter_or_longer_one_does() -> None:
    encoded = header().encode()
    assert decode_header(encoded).encode() == encoded
    for end in range(len(encoded)):
        with pytest.raises(EnvelopeInvalid):
            decode_header(encoded[:end])
    with pytest.raises(EnvelopeInvalid):
        decode_header(encoded + b"\0")


@given(st.data())
def test_a_damaged_header_is_another_one_or_refused_in_so_many_words(data: st.DataObject) -> None:
    original = data.draw(st.sampled_from([header(), header()._replace(kind=Kind.SSE_KMS, context='{"a":"b"}')]))
    encoded = bytearray(original.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(4, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EnvelopeInvalid):
        assert (decode_header(bytes(encoded)) == original) == (bytes(encoded) == original.encode())


@pytest.mark.parametrize(("size", "etag"), [(2**63, ""), (0, "\x10" + "0" * 31), (0, "\ufffe")])
def test_a_damaged_header_has_no_size_or_etag_that_would_spoil_a_whole_listing(size: int, etag: str) -> None:
    with pytest.raises(EnvelopeInvalid):
        decode_header(header().resized(size, etag).encode())


def test_a_header_without_a_provider_has_no_wrapped_key() -> None:
    sse_c = header()._replace(kind=Kind.SSE_C, wrapped=None, etag="0" * 32, multipart=True)
    assert decode_header(sse_c.encode()) == sse_c


def test_a_header_of_a_named_master_key_ends_with_the_clients_context() -> None:
    named = header()._replace(kind=Kind.SSE_KMS, etag="0" * 32 + "-1", context='{"a":"ü"}')
    encoded = named.encode()
    assert encoded.endswith('{"a":"ü"}'.encode())
    assert decode_header(encoded) == named
    assert decode_header(named._replace(context="").encode()).context == ""
    for end in range(len(encoded) - len('{"a":"ü"}'.encode())):
        with pytest.raises(EnvelopeInvalid):
            decode_header(encoded[:end])


def test_only_what_is_under_a_named_master_key_has_a_key_of_the_bucket() -> None:
    for bucket_key, name in ((True, False), (False, True), (True, True)):
        named = header()._replace(kind=Kind.SSE_KMS, bucket_key=bucket_key, named=name, multipart=True)
        assert decode_header(named.encode()) == named
        assert named.resized(7)._replace(size=named.size) == named
    for flags in (2, 4, 6, 8):
        encoded = bytearray(header().encode())
        encoded[5] = flags
        with pytest.raises(EnvelopeInvalid):
            decode_header(bytes(encoded))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(), max_size=4))
def test_a_clients_context_is_kept_in_one_form(entries: dict[str, str]) -> None:
    try:
        text = context_text(entries)
    except ContextRefused:
        assert any(0xD800 <= ord(c) < 0xE000 for value in entries.values() for c in value)
        return
    assert read_context(text) == entries
    assert kms_context("bucket", "key", text) == {**entries, "bucket": "bucket/key"}


@pytest.mark.parametrize("text", ["[]", "{", '{"a":1}', '{"a": "b"}', '{"b":"","a":""}', "{}", "[" * 10_000])
def test_a_context_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ContextRefused):
        kms_context("bucket", "key", text)


def test_a_clients_context_cannot_speak_for_the_objects_name() -> None:
    with pytest.raises(ContextRefused, match="kept for the object's own"):
        check_added("bucket", '{"bucket":"another"}')
    check_added("bucket", '{"other":"another"}')


def test_a_header_of_a_later_format_is_refused_by_name() -> None:
    with pytest.raises(EnvelopeInvalid, match="not of a format that this release knows"):
        decode_header(b"SRE2" + header().encode()[4:])


def test_a_box_opens_only_for_its_purpose_under_its_header() -> None:
    box = seal_box(KEY, b"metadata", b"header", b"content")
    assert open_box(KEY, b"metadata", b"header", box) == b"content"
    for key, purpose, head, sealed in (
        (record_key(new_object_key()), b"metadata", b"header", box),
        (KEY, b"parts", b"header", box),
        (KEY, b"metadata", b"other", box),
        (KEY, b"metadata", b"header", box[:-1]),
        (KEY, b"metadata", b"header", b""),
    ):
        with pytest.raises(EnvelopeInvalid):
            open_box(key, purpose, head, sealed)


def test_records_read_back() -> None:
    assert open_record(sealed_record(header(), KEY, METADATA), KEY) == METADATA
    assert read_plain(plain_record(METADATA)) == METADATA


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(), max_size=4))
def test_metadata_is_json_as_anybody_writes_it(headers: dict[str, str]) -> None:
    headers = {name: value for name, value in headers.items() if not name.startswith(":")}
    metadata = Metadata(headers, "etag")
    encoded = metadata_codec.encode(metadata)
    assert encoded == json.dumps({**headers, ":etag": "etag"}, separators=(",", ":")).encode()
    assert metadata_codec.decode(encoded) == metadata


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"a"', "1", '{"a":1}', '{"a":null}', '{"a":{}}', '{"a":"b"}{}', "\xff"]
)
def test_metadata_that_is_no_object_of_strings_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        metadata_codec.decode(text.encode("latin-1"))


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])), max_size=4))  # fmt: skip  # noqa: E501
def test_a_context_is_json_with_sorted_names(context: dict[str, str]) -> None:
    expected = json.dumps(context, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert context_bytes(context) == expected.encode()


def test_a_sealed_record_that_lost_a_piece_is_never_a_plain_one() -> None:
    record = sealed_record(header(), KEY, METADATA)
    for name in list(record):
        spoilt = copy.copy(record)
        spoilt[name[:-1] + "x"] = spoilt.pop(name)
        with pytest.raises(EnvelopeInvalid):
            if header_of(spoilt) is None:
                read_plain(spoilt)
            else:
                open_record(spoilt, KEY)
    with pytest.raises(EnvelopeInvalid):
        read_plain({})


def test_secrets_do_not_show_themselves() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in repr(secret) + str(secret) + repr(Protection(Kind.SSE_C, secret))
    assert repr(KEY) not in repr(_Opened(Upload("o", "id", 0, {}), header(), KEY, METADATA))
    assert "hunter2" not in repr(HttpRequest("GET", "/", "a=hunter2", {"b": "hunter2"}, True, "", {"c": "hunter2"}))
    assert "hunter2" not in repr(Request("PUT", headers={"a": "hunter2"}, body=b"hunter2"))
    with pytest.raises(TypeError):
        f"{secret}"
    assert secret == Secret(b"hunter2") and secret != Secret("other") and secret != "hunter2"
