"""Check values: the KMS that a place belongs to is told from every other."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.kms.static import StaticKMS
from strongroom.sealed.check import CheckDamaged, ForeignKMS, make_check, verify_check
from strongroom.secret import Secret

OURS = StaticKMS("ours", Secret(bytes(32)))


def test_the_same_kms_opens_it() -> None:
    asyncio.run(verify_check(OURS, "place", asyncio.run(make_check(OURS, "place"))))


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (StaticKMS("theirs", Secret(bytes(32))), "'ours' .*master key 'theirs'"),
        (StaticKMS("ours", Secret(b"\1" * 32)), "'ours' .*its key of that name is another"),
    ],
)
def test_another_kms_is_told_how_it_differs(other: StaticKMS, says: str) -> None:
    document = asyncio.run(make_check(OURS, "place"))
    with pytest.raises(ForeignKMS, match=says):
        asyncio.run(verify_check(other, "place", document))


def test_a_check_value_of_another_place_does_not_open() -> None:
    document = asyncio.run(make_check(OURS, "place"))
    with pytest.raises(ForeignKMS):
        asyncio.run(verify_check(OURS, "elsewhere", document))


@pytest.mark.parametrize("document", [b"", b"{}", b"[1]", b"\xff", b'{"format": 2}', b"x" * 200_000])
def test_what_is_no_check_value_is_said_to_be_damaged(document: bytes) -> None:
    with pytest.raises(CheckDamaged):
        asyncio.run(verify_check(OURS, "place", document))
