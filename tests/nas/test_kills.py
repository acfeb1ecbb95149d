"""Gateways that are killed at any moment leave nothing half, nothing locked, and nothing in plaintext."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.nas.load import Load, gateways_on, kills_wanted, plaintext_below


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to share: where TEST_NAS_FOLDER says (a mount, say), in a folder of its own there."""
    given = os.environ.get("TEST_NAS_FOLDER")
    made = Path(given, f"killed-{os.getpid()}") if given else tmp_path / "data"
    made.mkdir()
    return made


def test_after_many_kills_all_that_was_acknowledged_is_whole_for_the_other_gateway(
    folder: Path, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        one, two = (stack.enter_context(server) for server in gateways_on(folder, tmp_path))
        one.client().create_bucket(Bucket="bucket")
        load = Load([one, two])
        load.run(kills_wanted(50))
        print(f"{len(load.acknowledged)} keys, {load.conditional} conditional writes")
        assert len(load.acknowledged) > 50 and load.conditional > 5
        for gateway in (one, two):
            assert load.check(gateway) > 30
        assert plaintext_below(folder) == []
        # Nothing is locked: every name can be written at once.
        for key in load.acknowledged:
            two.client().put_object(Bucket="bucket", Key=key, Body=b"")
