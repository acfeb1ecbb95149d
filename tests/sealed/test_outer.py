"""What the storage behind the store encrypts once more, under which key, and with which it is asked for an object."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from strongroom.sealed.errors import CustomerKeyNeeded
from strongroom.sealed.keys import Kind, backend_key
from strongroom.sealed.outer import Outer
from strongroom.sealed.policy import PLAIN, SSE_S3, Protection
from strongroom.secret import Secret
from strongroom.store.base import EncryptingStore, Store
from strongroom.store.errors import NoSuchObject, Refused

KEY = Secret(bytes(32))
SSE_C, SSE_KMS = Protection(Kind.SSE_C, KEY), Protection(Kind.SSE_KMS)
S3, C = frozenset((Kind.SSE_S3, Kind.SSE_KMS)), frozenset((Kind.SSE_C,))
NAME = "bucket", "o"
DERIVED = backend_key(KEY, *NAME).reveal()


class Behind:
    """A store, by what its storage is told: "" for nothing, "S3" for a key of its own, or a client's key."""

    def __init__(self, told: str | bytes = "") -> None:
        self.told = told

    def encrypted(self, *, sse_s3: bool = False, customer_key: Secret | None = None) -> Behind:
        return Behind("S3" if sse_s3 else customer_key.reveal() if customer_key else "")


def outer(kinds: frozenset[Kind], encrypting: bool = True) -> Outer:
    store = Behind()
    return Outer(cast(Store, store), cast(EncryptingStore, store) if encrypting else None, kinds)


@pytest.mark.parametrize(
    ("kinds", "protection", "told"),
    [
        (S3 | C, PLAIN, ""),
        (S3 | C, SSE_S3, "S3"),
        (S3 | C, SSE_KMS, "S3"),
        (S3 | C, SSE_C, DERIVED),
        (S3, SSE_C, ""),
        (C, SSE_S3, ""),
        (C, SSE_KMS, ""),
        (frozenset(), SSE_C, ""),
    ],
)
def test_a_new_object_is_encrypted_once_more_if_its_kind_is_to_be(
    kinds: frozenset[Kind], protection: Protection, told: str | bytes
) -> None:
    assert cast(Any, outer(kinds).writing(*NAME, protection)).told == told
    assert outer(kinds).keyed(protection.kind) == (told == DERIVED)
    assert cast(Any, outer(kinds, encrypting=False).writing(*NAME, protection)).told == ""
    assert not outer(kinds, encrypting=False).keyed(protection.kind)
    assert KEY.reveal() != DERIVED


def test_what_is_to_be_encrypted_under_a_client_s_key_is_not_written_without_it() -> None:
    with pytest.raises(CustomerKeyNeeded):
        outer(C).writing(*NAME, Protection(Kind.SSE_C))


def reading(
    given: Outer, key: Secret | None, answers: dict[str | bytes, Exception | None], name: str = "o"
) -> Sequence[str | bytes]:
    """What the storage is told, one attempt after the other, until it gives out the object."""
    tried: list[str | bytes] = []

    async def ask(store: Store) -> None:
        tried.append(cast(Behind, store).told)
        if (error := answers[tried[-1]]) is not None:
            raise error

    asyncio.run(given.read("bucket", name, key, ask))
    return tried


def refused(status: int, code: str) -> Refused:
    return Refused(status, code, "", "GET")


NEEDED = refused(400, "InvalidRequest")


@pytest.mark.parametrize(
    ("kinds", "key", "answers", "tried"),
    [
        (S3, None, {"": None}, [""]),
        (C, None, {"": None}, [""]),
        (C, KEY, {DERIVED: None}, [DERIVED]),
        (C, KEY, {DERIVED: NEEDED, "": None}, [DERIVED, ""]),  # it was written in another mode
        (S3, KEY, {"": None}, [""]),
        (S3, KEY, {"": NEEDED, DERIVED: None}, ["", DERIVED]),
        (S3, KEY, {"": refused(400, "BadRequest"), DERIVED: None}, ["", DERIVED]),
    ],
)
def test_an_object_is_found_however_it_was_written(
    kinds: frozenset[Kind], key: Secret | None, answers: dict[str | bytes, Exception | None], tried: list[str | bytes]
) -> None:
    assert reading(outer(kinds), key, answers) == tried


def test_an_object_that_is_not_given_out_needs_its_key() -> None:
    for key in (None, KEY):
        with pytest.raises(CustomerKeyNeeded):
            reading(outer(C), key, {"": NEEDED, DERIVED: NEEDED})
    at_minio = refused(400, "InvalidArgument")
    with pytest.raises(CustomerKeyNeeded):
        reading(outer(C), None, {"": at_minio}, name="folder/")
    with pytest.raises(Refused):
        reading(outer(C), None, {"": at_minio}, name="o")


@pytest.mark.parametrize(
    "error", [refused(403, "AccessDenied"), refused(409, "InvalidRequest"), refused(400, "SlowDown"), NoSuchObject("o")]
)
def test_another_error_is_told_and_no_further_attempt_made(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        reading(outer(C), KEY, {DERIVED: error})
    assert raised.value is error


def test_a_storage_that_encrypts_nothing_is_asked_once() -> None:
    with pytest.raises(Refused):
        reading(outer(C, encrypting=False), KEY, {"": NEEDED})
