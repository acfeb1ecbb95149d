"""Decoding of bodies: however the wire cuts them, the same bytes come out and the same faults are found."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.s3.auth import ChunkedPayload, HashedPayload, Payload, UnsignedPayload
from strongroom.s3.body import BodyDecoder, decoder_for, stored_content_encoding
from strongroom.s3.errors import S3Error
from strongroom.secret import Secret
from strongroom.sigv4 import ChunkSigner, ChunkSigning

SIGNING = ChunkSigning("0" * 64, Secret(b"key"), "20260101T000000Z", "20260101/us-east-1/s3/aws4_request")
DATA = bytes(range(256)) * 100


def encode(signed: bool, trailer: bool) -> tuple[BodyDecoder, bytes]:
    """A decoder, and DATA in chunks as it goes on the wire."""
    signer = ChunkSigner(SIGNING) if signed else None
    out = b""
    for piece in (DATA[:10_000], DATA[10_000:20_000], DATA[20_000:], b""):
        mark = f";chunk-signature={signer.chunk(sha256(piece).hexdigest())}" if signer else ""
        out += f"{len(piece):x}{mark}\r\n".encode() + piece + (b"\r\n" if piece else b"")
    if trailer:
        line = b"x-amz-checksum-crc32:AAAAAA=="
        out += line + b"\r\n"
        if signer:
            signature = signer.trailer(sha256(line + b"\n").hexdigest())
            out += f"x-amz-trailer-signature:{signature}\r\n".encode()
    headers = {"x-amz-decoded-content-length": str(len(DATA))}
    if trailer:
        headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    return decoder_for(ChunkedPayload(SIGNING if signed else None, trailer), headers), out + b"\r\n"


def feed(decoder: BodyDecoder, body: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[first:last] for first, last in pairwise(edges) if first < last]
    fed = b"".join(bytes(part) for piece in pieces for part in decoder.feed(piece))
    if decoder.hasher:
        decoder.hasher.update(fed)
    return fed


@pytest.mark.parametrize(("signed", "trailer"), [(True, False), (True, True), (False, True)])
@given(cuts=st.lists(st.integers(0, 100_000), max_size=12))
def test_chunks_come_out_the_same_however_they_arrive(signed: bool, trailer: bool, cuts: list[int]) -> None:
    decoder, body = encode(signed, trailer)
    assert feed(decoder, body, cuts) == DATA
    assert decoder.finish() == ({"x-amz-checksum-crc32": "AAAAAA=="} if trailer else {})


@given(at=st.integers(0, 26_000), bit=st.integers(0, 7))
def test_a_changed_bit_in_signed_chunks_never_passes(at: int, bit: int) -> None:
    decoder, body = encode(signed=True, trailer=False)
    spoilt = bytearray(body)
    spoilt[at % len(body)] ^= 1 << bit
    try:
        out = feed(decoder, bytes(spoilt), [])
        decoder.finish()
    except S3Error:
        return
    # Only what carries no meaning may differ: the case of a hexadecimal digit in a length.
    assert out == DATA


@given(end=st.integers(0, 26_000))
def test_a_body_that_was_cut_never_passes(end: int) -> None:
    decoder, body = encode(signed=True, trailer=True)
    with pytest.raises(S3Error):
        feed(decoder, body[: end % len(body)], [])
        decoder.finish()


@pytest.mark.parametrize("trailer", [False, True])
def test_a_signed_body_that_was_not_hashed_whole_never_passes(trailer: bool) -> None:
    for seen in (b"", DATA[:10_000], DATA[:-1]):
        decoder, body = encode(signed=True, trailer=trailer)
        decoder.feed(body)
        assert decoder.hasher
        decoder.hasher.update(seen)
        with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
            decoder.finish()


def test_a_hashed_body_has_to_have_its_hash() -> None:
    decoder = decoder_for(HashedPayload(sha256(b"one").hexdigest()), {"content-length": "3"})
    feed(decoder, b"two", [])
    with pytest.raises(S3Error, match="XAmzContentSHA256Mismatch"):
        decoder.finish()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [(None, None), ("aws-chunked", None), ("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), ("br", "br")],
)
def test_content_encoding_is_kept_without_that_of_the_transfer(sent: str | None, kept: str | None) -> None:
    assert stored_content_encoding(sent) == kept


@pytest.mark.parametrize("payload", [UnsignedPayload(), HashedPayload(sha256(b"two").hexdigest())])
def test_a_plain_body_has_to_be_as_long_as_it_said(payload: Payload) -> None:
    for length in ("2", "4"):
        decoder = decoder_for(payload, {"content-length": length})
        with pytest.raises(S3Error, match="IncompleteBody"):
            feed(decoder, b"two", [])
            decoder.finish()
    decoder = decoder_for(payload, {"content-length": "3"})
    assert (feed(decoder, b"two", []), decoder.finish()) == (b"two", {})


@pytest.mark.parametrize("length", ["", "-1", "1.5", "0x10", "\u00b2", "1" * 19])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    for payload, name in (
        (UnsignedPayload(), "content-length"),
        (ChunkedPayload(SIGNING, trailer=False), "x-amz-decoded-content-length"),
    ):
        with pytest.raises(S3Error, match="InvalidArgument"):
            decoder_for(payload, {name: length})


def unsigned(trailers: bytes, declared: str) -> BodyDecoder:
    """A decoder that has seen a whole body of one chunk with these trailers."""
    headers = {"x-amz-decoded-content-length": "1", "x-amz-trailer": declared}
    decoder = decoder_for(ChunkedPayload(None, trailer=True), headers)
    decoder.feed(b"1\r\nx\r\n0\r\n" + trailers)
    return decoder


def test_trailers_are_those_that_were_declared_however_they_are_written() -> None:
    for trailers in (b"a:1\r\nb:2\r\n\r\n", b"B: 2\nA : 1\n\n"):
        assert unsigned(trailers, " A ,,b").finish() == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    "trailers", [b"\r\n", b"a:1\r\n", b"a:1\r\nb:2\r\nc:3\r\n", b"a:1\r\nb:2\r\nA:3\r\n", b"a:1\r\nb\r\n"]
)
def test_trailers_that_were_not_declared_so_are_refused(trailers: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedTrailerError"):
        unsigned(trailers, "a,b").finish()


def test_lines_that_never_end_are_not_read_on() -> None:
    for decoder, code in (
        (encode(signed=True, trailer=False)[0], "IncompleteBody"),
        (unsigned(b"", "a"), "MalformedTrailerError"),
    ):
        with pytest.raises(S3Error) as refused:
            for _ in range(1000):
                decoder.feed(b"0" * 10)
        assert refused.value.code == code


@pytest.mark.parametrize(("signed", "trailer"), [(True, False), (True, True), (False, True)])
def test_chunks_may_come_byte_by_byte(signed: bool, trailer: bool) -> None:
    decoder, body = encode(signed, trailer)
    assert feed(decoder, body, list(range(len(body)))) == DATA
    decoder.finish()
