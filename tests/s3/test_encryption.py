"""Which encryption headers ask for, or the fields of a form: nothing that was asked for is passed over."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from itertools import combinations

import pytest

from strongroom.s3.encryption import SOURCE_SSE, SSE, EncryptionHeaders
from strongroom.s3.errors import S3Error
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import Protection
from strongroom.secret import Secret

KEY = bytes(range(32))
CUSTOMER = {
    "algorithm": "AES256",
    "key": base64.b64encode(KEY).decode(),
    "key-md5": base64.b64encode(hashlib.md5(KEY).digest()).decode(),
}
Read = Callable[[EncryptionHeaders], Secret | None]
READS: list[tuple[str, Read]] = [
    (SSE, EncryptionHeaders.customer_key),
    (SOURCE_SSE, EncryptionHeaders.source_customer_key),
]
PARTS = [subset for count in (1, 2) for subset in combinations(CUSTOMER, count)]


def key_in(prefix: str, read: Read, fields: dict[str, str], secure: bool = True) -> bytes | str:
    """The client's key, or the code of the error."""
    headers = {f"{prefix}-customer-{name}": value for name, value in fields.items()}
    try:
        key = read(EncryptionHeaders(headers, secure))
    except S3Error as error:
        return error.code
    return key.reveal() if key else b""


@pytest.mark.parametrize(("prefix", "read"), READS, ids=["target", "source"])
@pytest.mark.parametrize("there", PARTS, ids="-and-".join)
def test_a_part_of_what_belongs_to_a_clients_key_is_not_passed_over(
    prefix: str, read: Read, there: tuple[str, ...]
) -> None:
    assert key_in(prefix, read, CUSTOMER) == KEY
    assert key_in(prefix, read, {name: CUSTOMER[name] for name in there}) == "InvalidArgument"
    if read is EncryptionHeaders.customer_key:
        headers = {f"{prefix}-customer-{name}": CUSTOMER[name] for name in there}
        with pytest.raises(S3Error):
            EncryptionHeaders(headers, secure=True).protection()


@pytest.mark.parametrize(("prefix", "read"), READS, ids=["target", "source"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
        ({"algorithm": ""}, "InvalidEncryptionAlgorithmError"),
        ({"key": CUSTOMER["key"][:-4]}, "InvalidArgument"),
        ({"key": "AAAA" + CUSTOMER["key"]}, "InvalidArgument"),
        ({"key": "!" + CUSTOMER["key"]}, "InvalidArgument"),
        ({"key": ""}, "InvalidArgument"),
        ({"key-md5": ""}, "InvalidArgument"),
        ({"key-md5": "€"}, "InvalidArgument"),
        ({"key-md5": CUSTOMER["key-md5"].swapcase()}, "InvalidArgument"),
    ],
)
def test_a_clients_key_that_is_none_is_refused(prefix: str, read: Read, change: dict[str, str], code: str) -> None:
    assert key_in(prefix, read, {**CUSTOMER, **change}) == code


@pytest.mark.parametrize(("prefix", "read"), READS, ids=["target", "source"])
def test_no_client_s_key_is_taken_that_anybody_on_the_way_could_read(prefix: str, read: Read) -> None:
    assert key_in(prefix, read, CUSTOMER, secure=False) == "InvalidRequest"
    assert key_in(prefix, read, {}, secure=False) == b""


@pytest.mark.parametrize(("text", "wanted"), [("true", True), ("True", True), ("false", False)])
def test_a_bucket_key_is_asked_for_or_refused_in_so_many_words(text: str, wanted: bool) -> None:
    name = f"{SSE}-bucket-key-enabled"
    for method, kind in (({}, Kind.PLAIN), ({SSE: "aws:kms"}, Kind.SSE_KMS)):
        asked = EncryptionHeaders({**method, name: text}, secure=False).protection()
        assert asked == Protection(kind, bucket_key=wanted)
        with pytest.raises(S3Error) as caught:  # forms bring it as it is
            EncryptionHeaders({**method, name: "maybe"}, secure=False).protection()
        assert caught.value.code == "InvalidArgument"
