"""Which master key wrapped a data key: what audits count by, and rewrapping goes by."""

from __future__ import annotations

import pytest

from strongroom.kms.base import WrappedKey
from strongroom.kms.master import MasterKey, master_of


@pytest.mark.parametrize(
    ("wrapped", "master", "called"),
    [
        (WrappedKey("static", "key", b"vault:v7:AAAA"), MasterKey("static", "key", 0), "'key' (static)"),
        (WrappedKey("minio", "key", b"{}"), MasterKey("static", "key", 0), "'key' (static)"),
        (WrappedKey("transit", "key", b"vault:v7:AAAA"), MasterKey("transit", "key", 7), "'key' (transit, version 7)"),
        (
            WrappedKey("transit-context", "key", b"vault:v12:AAAA"),
            MasterKey("transit", "key", 12),
            "'key' (transit, version 12)",
        ),
    ],
)
def test_a_master_key_is_the_same_in_whatever_form_it_wrapped(
    wrapped: WrappedKey, master: MasterKey, called: str
) -> None:
    assert master_of(wrapped) == master
    assert str(master) == called
