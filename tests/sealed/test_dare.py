"""The stream format: sizes, sealing, opening, and every way in which a stream can be wrong."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.sealed.dare import (
    HEADER,
    OVERHEAD,
    PACKAGE,
    PAYLOAD,
    Opener,
    Sealer,
    StreamInvalid,
    new_nonce,
    open_whole,
    package_range,
    plaintext_size,
    sealed_size,
)

KEY = bytes(range(32))
SIZES = [0, 1, 100, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 2 * PAYLOAD, 2 * PAYLOAD + 17]


def seal(plaintext: bytes, key: bytes = KEY) -> bytes:
    return bytes(Sealer(key, new_nonce()).seal(plaintext, final=True)) if plaintext else b""


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_opens_and_has_the_size_that_arithmetic_says(size: int) -> None:
    plaintext = os.urandom(size)
    stream = seal(plaintext)
    assert len(stream) == sealed_size(size)
    assert plaintext_size(len(stream)) == size
    assert bytes(Opener(KEY, size).open(stream)) == plaintext


@given(st.integers(0, 3 * PAYLOAD), st.lists(st.integers(1, 2 * PACKAGE), max_size=8))
def test_a_stream_that_arrives_in_pieces_of_any_size_opens_the_same(size: int, cuts: list[int]) -> None:
    plaintext = bytes(size)
    stream, opener, at, opened = seal(plaintext), Opener(KEY, size), 0, b""
    for cut in [*cuts, len(stream)]:
        opened += opener.open(stream[at : at + cut])
        at += cut
    assert opened + bytes(opener.open(stream[at:])) == plaintext


@given(st.integers(1, 4 * PAYLOAD), st.data())
def test_a_range_opens_from_the_packages_that_hold_it(size: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, size - 1))
    length = data.draw(st.integers(1, size - start))
    plaintext = os.urandom(size)
    first, offset, stored = package_range(start, length, size)
    opened = Opener(KEY, size, first).open(seal(plaintext)[offset : offset + stored])
    skip = start - first * PAYLOAD
    assert bytes(opened[skip : skip + length]) == plaintext[start : start + length]
    assert stored <= sealed_size(length) + 2 * PACKAGE


def test_sealing_in_blocks_gives_one_stream() -> None:
    plaintext = os.urandom(3 * PAYLOAD + 5)
    sealer = Sealer(KEY, new_nonce())
    stream = sealer.seal(plaintext[: 2 * PAYLOAD], final=False) + sealer.seal(plaintext[2 * PAYLOAD :], final=True)
    assert bytes(Opener(KEY, len(plaintext)).open(stream)) == plaintext


@pytest.mark.parametrize("position", [0, 1, 2, 3, 4, 10, 15, 16, 500, -17, -1])
def test_a_changed_bit_anywhere_is_detected(position: int) -> None:
    stream = bytearray(seal(os.urandom(PAYLOAD + 1000)))
    stream[position] ^= 1
    with pytest.raises(StreamInvalid):
        Opener(KEY, PAYLOAD + 1000).open(stream)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("position", [*range(HEADER), 500, -1])
def test_a_changed_bit_of_any_package_is_detected(number: int, position: int) -> None:
    stream = bytearray(seal(os.urandom(5 * PAYLOAD + 1000)))
    end = min((number + 1) * PACKAGE, len(stream))
    stream[end + position if position < 0 else number * PACKAGE + position] ^= 0x80
    with pytest.raises(StreamInvalid):
        Opener(KEY, 5 * PAYLOAD + 1000).open(stream)


@given(st.integers(0, 4), st.integers(1, 5), st.sampled_from([AESGCM, ChaCha20Poly1305]))
@settings(max_examples=20)
def test_packages_that_are_sealed_by_the_description_open_at_once_and_one_by_one(
    first: int, count: int, cipher: type[AESGCM | ChaCha20Poly1305]
) -> None:
    plaintext, nonce = os.urandom(4 * PAYLOAD + 17), new_nonce()
    packages = [described(cipher, plaintext, nonce, number) for number in range(5)]
    wanted, size = packages[first : first + count], len(plaintext)
    expected = plaintext[first * PAYLOAD : (first + count) * PAYLOAD]
    out = bytearray(len(expected))
    assert Opener(KEY, size, first, nonce).open_into(b"".join(wanted), out) == len(expected)
    assert out == expected
    opener = Opener(KEY, size, first)
    assert b"".join(opener.open(package) for package in wanted) == expected
    with pytest.raises(StreamInvalid):
        Opener(KEY, size, first, nonce).open_into(b"".join(wanted)[:-1], out)
    if cipher is AESGCM:
        sealer = Sealer(KEY, nonce)
        sealed = sealer.seal(plaintext[: 3 * PAYLOAD], final=False) + sealer.seal(plaintext[3 * PAYLOAD :], final=True)
        assert sealed == b"".join(packages)


def described(cipher: type[AESGCM | ChaCha20Poly1305], plaintext: bytes, nonce: bytes, number: int) -> bytes:
    """Package ``number`` of a stream, as the description of the format has it."""
    payload = plaintext[number * PAYLOAD : (number + 1) * PAYLOAD]
    last = (number + 1) * PAYLOAD >= len(plaintext)
    associated = bytes((0x20, cipher is ChaCha20Poly1305)) + (len(payload) - 1).to_bytes(2, "little")
    shown = bytes((nonce[0] | 0x80 * last,)) + nonce[1:]
    used = shown[:8] + (int.from_bytes(shown[8:], "little") ^ number).to_bytes(4, "little")
    return associated + shown + cipher(KEY).encrypt(used, payload, associated)


def test_a_short_payload_is_sealed_last_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="short"):
        Sealer(KEY, new_nonce()).seal(bytes(PAYLOAD + 1), final=False)


def test_a_stream_of_another_key_does_not_open() -> None:
    with pytest.raises(StreamInvalid):
        Opener(bytes(32), 10).open(seal(b"0123456789"))
    with pytest.raises(StreamInvalid):
        open_whole(bytes(32), 10, seal(b"0123456789"))


@pytest.mark.parametrize("size", [0, 1, 100, PAYLOAD])
def test_a_stream_of_one_package_opens_whole(size: int) -> None:
    plaintext, nonce = os.urandom(size), new_nonce()
    stream = bytes(Sealer(KEY, nonce).seal(plaintext, final=True))
    assert open_whole(KEY, size, stream) == open_whole(KEY, size, stream, nonce) == plaintext
    if size:
        with pytest.raises(StreamInvalid):
            open_whole(KEY, size, stream, new_nonce())
    for other in {size - 1, size + 1, 0, PAYLOAD + 1} - {size, -1}:
        with pytest.raises(StreamInvalid):
            open_whole(KEY, other, stream)


@pytest.mark.parametrize("position", range(OVERHEAD + 10))
def test_a_changed_bit_anywhere_is_detected_of_a_stream_that_opens_whole(position: int) -> None:
    for bit in range(8):
        stream = bytearray(seal(b"0123456789"))
        stream[position] ^= 1 << bit
        with pytest.raises(StreamInvalid):
            open_whole(KEY, 10, bytes(stream))


def test_the_first_package_of_a_longer_stream_is_no_whole_one() -> None:
    stream = seal(bytes(PAYLOAD + 1))
    with pytest.raises(StreamInvalid, match="out of place"):
        open_whole(KEY, PAYLOAD, stream[:PACKAGE])
    with pytest.raises(StreamInvalid):
        open_whole(KEY, PAYLOAD + 1, stream)


def test_a_stream_is_not_sealed_under_a_nonce_that_no_stream_has() -> None:
    for nonce in (b"\x80" + bytes(11), bytes(11), bytes(13)):
        with pytest.raises(ValueError, match="nonce"):
            Sealer(KEY, nonce)


def test_packages_that_change_places_are_detected() -> None:
    stream = seal(os.urandom(3 * PAYLOAD))
    swapped = stream[PACKAGE : 2 * PACKAGE] + stream[:PACKAGE] + stream[2 * PACKAGE :]
    with pytest.raises(StreamInvalid):
        Opener(KEY, 3 * PAYLOAD).open(swapped)


def test_a_stream_cut_at_a_package_does_not_pass_for_a_shorter_one() -> None:
    stream = seal(os.urandom(2 * PAYLOAD))
    with pytest.raises(StreamInvalid):
        Opener(KEY, PAYLOAD).open(stream[:PACKAGE])


def test_a_stream_longer_than_recorded_is_detected() -> None:
    stream = seal(os.urandom(100))
    with pytest.raises(StreamInvalid):
        Opener(KEY, 100).open(stream + stream)


def test_a_package_of_another_stream_under_the_same_key_is_detected() -> None:
    one, other = seal(os.urandom(2 * PAYLOAD)), seal(os.urandom(2 * PAYLOAD))
    with pytest.raises(StreamInvalid):
        Opener(KEY, 2 * PAYLOAD).open(one[:PACKAGE] + other[PACKAGE:])


def test_a_stream_with_another_nonce_than_recorded_is_detected() -> None:
    with pytest.raises(StreamInvalid):
        Opener(KEY, 5, nonce=bytes(12)).open(seal(b"hello"))


def test_sizes_that_no_stream_has_are_refused() -> None:
    for size in (1, OVERHEAD, PACKAGE + 1, PACKAGE + OVERHEAD):
        with pytest.raises(StreamInvalid):
            plaintext_size(size)
