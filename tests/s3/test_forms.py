"""Browser uploads, as they are read before anybody knows who sends them."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest

from strongroom.s3.auth import FormDecoder
from strongroom.s3.errors import S3Error

LAST = b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\no\r\n--b--\r\n'


@pytest.mark.parametrize("beginning", [b"", LAST], ids=["before the first field", "behind the last one"])
def test_a_form_whose_file_never_comes_is_not_read_on(beginning: bytes) -> None:
    decoder = FormDecoder("multipart/form-data; boundary=b")
    decoder.feed(beginning)
    with pytest.raises(S3Error) as refused:
        for _ in range(1000):
            decoder.feed(b"\r\n" * 500)
    assert refused.value.code == "MaxPostPreDataLengthExceededError"


def test_nothing_is_kept_of_what_follows_the_file() -> None:
    decoder = FormDecoder("multipart/form-data; boundary=b")
    decoder.feed(b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\no\r\n--b\r\n')
    tracemalloc.start()
    try:
        for number in range(300):
            with suppress(S3Error):  # newer releases of the parser refuse so many headers of a part
                decoder.feed(b"%d: %b\r\n" % (number, b"v" * 1000))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 100_000
