"""XML documents of clients, as they are read."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from strongroom.s3.errors import S3Error
from strongroom.s3.xml import MAX_LIST, read_document

MIB = 1024**2


@pytest.mark.parametrize("piece", [b"<a>", b"<a/>"], ids=["one in the other", "side by side"])
def test_a_document_of_nothing_but_elements_does_not_fill_the_memory(piece: bytes) -> None:
    document = b"<Delete>" + piece * (2 * MIB)
    tracemalloc.start()
    try:
        with pytest.raises(S3Error) as refused:
            read_document(document, "Delete")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.code == "MalformedXML"
    assert peak < 60 * MIB


def test_a_tag_that_is_longer_than_any_is_not_read() -> None:
    attributes = b" ".join(b"a%x='>'" % number for number in range(100_000))
    began = time.thread_time()
    with pytest.raises(S3Error, match="MalformedXML"):
        read_document(b"<Delete " + attributes + b"/>", "Delete")
    assert time.thread_time() - began < 0.02


def test_the_longest_list_of_parts_that_there_may_be_is_read() -> None:
    part = b"".join(b"<F%d>x</F%d>" % (number, number) for number in range(14))
    document = b"<CompleteMultipartUpload>" + b"<Part>%b</Part>" % part * MAX_LIST + b"</CompleteMultipartUpload>"
    assert len(read_document(document, "CompleteMultipartUpload")) == MAX_LIST
