"""The format on disk: the published vectors hold, and an independent reader opens what the product writes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.format import make_vectors, reader

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).with_name("vectors.json").read_text())


def test_the_product_still_writes_what_the_vectors_say() -> None:
    assert make_vectors.vectors() == VECTORS


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_an_independent_reader_opens_every_vector(vector: dict[str, Any]) -> None:
    made = next(again for again in _with_streams() if again["name"] == vector["name"])
    record = {name: bytes.fromhex(value) for name, value in vector["record"].items()}
    stored = bytes.fromhex(made["stored"])
    assert hashlib.sha256(stored).hexdigest() == vector["stored_sha256"]
    external = bytes.fromhex(vector["external_key"])
    body, metadata = reader.read(
        record, bytes.fromhex(vector["annex"]), stored, vector["bucket"], vector["key"], external
    )
    assert body == make_vectors.plaintext(vector["size"])
    assert metadata == vector["metadata"]
    if "listing_key" in vector:
        setting = bytes.fromhex(vector["listing_key"])
        etag = reader.listed_etag(setting, record, vector["bucket"], vector["key"], external)
        assert etag == metadata[":etag"]


def test_the_reader_shares_no_code_with_the_product_and_is_short() -> None:
    source = Path(reader.__file__).read_text()
    assert "strongroom." not in source.replace("Strongroom's", "")
    assert len(source.splitlines()) < 110


def _with_streams() -> list[dict[str, Any]]:
    """The vectors with all stored bytes, which the file leaves out where they are long."""
    made: list[dict[str, Any]] = make_vectors.vectors(all_bytes=True)
    return made
