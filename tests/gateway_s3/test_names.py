"""The names in which a gateway keeps what is recorded of parts."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from strongroom.store.s3.names import PartName, decode_part, new_id, part_folder

SHA512_RECORD = 155
"""Bytes of the record of a part with the longest checksum."""


@given(
    number=st.integers(1, 10_000),
    etag=st.text(string.hexdigits + '"-', max_size=34),
    size=st.integers(0, 5 * 1024**3),
    milliseconds=st.integers(0, 4_000_000_000_000),
    record=st.binary(max_size=SHA512_RECORD),
)
def test_the_name_of_a_part_says_all_and_fits_a_file_system(
    number: int, etag: str, size: int, milliseconds: int, record: bytes
) -> None:
    part = PartName(number, etag, size, milliseconds * 1_000_000, record)
    upload_id = new_id()
    name = part.encode(upload_id)
    assert decode_part(name) == part
    assert name.startswith(part_folder(upload_id))
    assert not name.endswith("/")
    assert max(map(len, name.split("/"))) <= 255


def test_other_names_are_none_of_a_part() -> None:
    assert decode_part(f"{part_folder(new_id())}1.x") is None
    assert decode_part("00001....") is None
    assert decode_part(f"{part_folder(new_id())}00001.YQ.{'9' * 5000}.1.") is None
