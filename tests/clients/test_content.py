"""The search for plaintext finds it where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import storage
from tests.clients.content import MARKER, marked, plaintext_in
from tests.server import Server

pytestmark = pytest.mark.local


def test_the_search_finds_what_was_stored_in_the_clear(plain_server: Server, plain_bucket: str) -> None:
    before = plaintext_in(plain_server.directory)
    plain_server.client().put_object(Bucket=plain_bucket, Key="large", Body=marked(3_000_000))
    assert len(plaintext_in(plain_server.directory)) == len(before) + 1


def test_every_upload_holds_the_marker_many_times() -> None:
    assert MARKER in marked(100)
    assert marked(1_000_000).count(MARKER) > 200
    assert len(marked(4_100)) == 4_100


def test_a_file_is_searched_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_TICK_NS", -1)
    file = tmp_path / "file"
    file.write_bytes(b"sealed")
    assert plaintext_in(tmp_path) == plaintext_in(tmp_path) == []
    file.write_bytes(MARKER)
    assert plaintext_in(tmp_path) == plaintext_in(tmp_path) == [str(file)]
