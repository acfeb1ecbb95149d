"""Browser uploads, as they are read before anybody knows who sends them."""

from __future__ import annotations

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
