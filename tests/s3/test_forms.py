"""Browser uploads: how their forms are read before anybody knows who sends them, and what a policy lets through."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from strongroom.s3.auth import FormDecoder, PostForm, PostIdentity, authenticate_form, is_form
from strongroom.s3.auth.post import MAX_FIELDS
from strongroom.s3.errors import S3Error
from strongroom.s3.handlers import posting
from strongroom.s3.receive import BodyReceiver
from strongroom.sealed.writing import AnyObjectWriter
from strongroom.secret import Secret
from strongroom.sigv4.keys import signature, signing_key

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


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


FILE = part("file", b"content", '; filename="f.txt"')
END = b"--b--\r\n"


def read(body: bytes, content_type: str = "multipart/form-data; boundary=b") -> tuple[PostForm, bytes]:
    """The form and the file of a whole body, which comes byte by byte."""
    decoder = FormDecoder(content_type)
    file = b"".join(piece for at in range(len(body)) for piece in decoder.feed(body[at : at + 1]))
    decoder.finish()
    assert decoder.form is not None
    return decoder.form, file


def test_a_form_is_read_up_to_its_file_and_no_further() -> None:
    body = part("Key", b"o") + FILE + part("acl", b"public-read") + part("key", b"another") + END
    for content_type in ("multipart/form-data; boundary=b", 'Multipart/Form-Data; Boundary="b"'):
        assert is_form(content_type)
        form, file = read(body, content_type)
        assert (form.fields, form.file_name, file) == ({"key": "o"}, "f.txt", b"content")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (part("key", b"o") + part("KEY", b"p") + FILE + END, "InvalidArgument"),
        (part("", b"o") + FILE + END, "MalformedPOSTRequest"),
        (b"--b\r\nContent-Type: text/plain\r\n\r\no\r\n" + FILE + END, "MalformedPOSTRequest"),
        (part("key", b"\xff") + FILE + END, "MalformedPOSTRequest"),
        (part("key", b"o") + END, "IncorrectNumberOfFilesInPostRequest"),
        (part("key", b"o") + FILE, "MalformedPOSTRequest"),
        (b"no form at all", "MalformedPOSTRequest"),
        (b"--b\r\nContent-Disposition: form-data; name=a\r\nX-A: " + b"v" * 4097, "MaxPostPreDataLengthExceededError"),
        (b"--b\r\n" + b"X" * 4097, "MaxPostPreDataLengthExceededError"),
        (part("a", b"v" * MAX_FIELDS) + FILE, "MaxPostPreDataLengthExceededError"),
        (b"".join(part(f"a{n}", b"v" * 4000) for n in range(6)) + FILE, "MaxPostPreDataLengthExceededError"),
        (b"".join(part(f"a{n}", b"") for n in range(600)) + FILE, "MaxPostPreDataLengthExceededError"),
        (FILE + part("a", b"") * 1000 + END, "MalformedPOSTRequest"),
        (FILE + b"--b\r\n\r\n\r\n" * 2000 + END, "MalformedPOSTRequest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_that_is_none_or_too_much_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(S3Error) as refused:
        read(body)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=b",
        "multipart/form-data; boundary=b" + ";a" * 2_040,
    ],
)
def test_a_body_without_a_boundary_is_no_form(content_type: str) -> None:
    with pytest.raises(S3Error, match="MalformedPOSTRequest"):
        FormDecoder(content_type)


def test_the_file_and_what_follows_it_may_be_longer_than_all_that_may_stand_before() -> None:
    long = b"v" * 10 * MAX_FIELDS
    decoder = FormDecoder("multipart/form-data; boundary=b")
    body = part("file", long) + part("more", long) + END
    pieces = [piece for at in range(0, len(body), 65536) for piece in decoder.feed(body[at : at + 65536])]
    decoder.finish()
    assert b"".join(pieces) == long


@pytest.mark.parametrize("headers", [0, 1, 8])
def test_what_follows_a_file_keeps_nobody_busy_for_long(headers: int) -> None:
    """Anybody may send it: who sends it is looked at when the file begins, and by then more may have come."""
    behind = b"--b\r\n" + b"A: b\r\n" * headers + b"\r\n\r\n"
    decoder = FormDecoder("multipart/form-data; boundary=b")
    calls = 0

    def called(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(called)
    try:
        with pytest.raises(S3Error, match="MalformedPOSTRequest"):
            decoder.feed(FILE + behind * (500_000 // len(behind)))
    finally:
        sys.setprofile(None)
    assert calls < 250_000


@given(st.binary(max_size=60), st.lists(st.integers(1, 40), min_size=1))
@example(b"\r\n--", [1])
@example(b"\r\n--b\r", [7])
@example(b"--b--\r\n", [3, 5])
def test_a_file_comes_out_the_same_however_its_form_arrives(content: bytes, counts: list[int]) -> None:
    assume(b"\r\n--b" not in b"\r\n" + content)
    body = part("key", b"o") + part("file", content) + END
    decoder, file, at = FormDecoder("multipart/form-data; boundary=b"), b"", 0
    for count in itertools.cycle(counts):
        file += b"".join(decoder.feed(body[at : at + count]))
        at += count
        if at >= len(body):
            break
    decoder.finish()
    assert decoder.form is not None
    assert (decoder.form.fields, file) == ({"key": "o"}, content)


@given(st.integers(0, 200), st.integers(0, 20), st.binary(max_size=10))
def test_a_form_that_was_altered_is_another_one_or_refused(at: int, length: int, instead: bytes) -> None:
    body = part("key", b"o") + FILE + END
    with suppress(S3Error):
        form, _ = read(body[:at] + instead + body[at + length :])
        assert all(isinstance(text, str) for pair in form.fields.items() for text in pair)


def test_a_form_that_was_cut_is_never_whole() -> None:
    body = part("key", b"o") + FILE + END
    for end in range(len(body) - len(b"--\r\n")):
        with pytest.raises(S3Error):
            read(body[:end])
    assert read(body)[1] == b"content"


# -- the policy ----------------------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET_KEY = Secret("secret")


def signed(document: object, fields: dict[str, str] | None = None) -> PostForm:
    """A form whose policy is this document, rightly signed."""
    policy = base64.b64encode(json.dumps(document).encode()).decode()
    mac = signature(signing_key("access", SECRET_KEY, "20260102", "us-east-1"), policy)
    claim = {
        "policy": policy,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": "access/20260102/us-east-1/s3/aws4_request",
        "x-amz-date": "20260102T000000Z",
        "x-amz-signature": mac,
    }
    return PostForm({"key": "o", **claim, **(fields or {})})


def policy(*conditions: object, expiration: str = "2026-01-02T00:00:01Z") -> dict[str, object]:
    """What lets a form through that has no more than it must."""
    any_value = [
        ["starts-with", f"${name}", ""] for name in ("key", "x-amz-algorithm", "x-amz-credential", "x-amz-date")
    ]
    return {"expiration": expiration, "conditions": [*any_value, {"bucket": "b"}, *conditions]}


def refusal(form: PostForm, region: str = "us-east-1") -> str:
    """The code of the error that a form ends in, or ""."""
    try:
        authenticate_form(form, "b", {"access": SECRET_KEY}, region, NOW)
    except S3Error as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (policy(), ""),
        (policy(expiration="2026-01-02T00:00:00Z"), "AccessDenied"),
        (policy(expiration="2026-01-02T00:00:01"), ""),
        (policy(expiration="2026-01-02T00:00:00"), "AccessDenied"),
        (policy(expiration="2026-01-02T01:00:00+02:00"), "AccessDenied"),
        (policy(expiration="tomorrow"), "InvalidPolicyDocument"),
        ({**policy(), "conditions": {"bucket": "b"}}, "InvalidPolicyDocument"),
        ({"expiration": "2100-01-01T00:00:00Z"}, "InvalidPolicyDocument"),
        ({"conditions": policy()["conditions"]}, "InvalidPolicyDocument"),
        ([], "InvalidPolicyDocument"),
        (policy({"acl": "private", "bucket": "b"}), "InvalidPolicyDocument"),
        (policy({"acl": 1}), "InvalidPolicyDocument"),
        (policy({}), "InvalidPolicyDocument"),
        (policy(["eq", "$key"]), "InvalidPolicyDocument"),
        (policy(["eq", "$key", "o", "o"]), "InvalidPolicyDocument"),
        (policy(["ends-with", "$key", "o"]), "InvalidPolicyDocument"),
        (policy(["eq", 1, "o"]), "InvalidPolicyDocument"),
        (policy(["eq", "$key", 1]), "InvalidPolicyDocument"),
        (policy([1, "$key", "o"]), "InvalidPolicyDocument"),
        (policy("eq"), "InvalidPolicyDocument"),
        (policy("abc"), "InvalidPolicyDocument"),
        (policy(["content-length-range", -1, 1]), "InvalidPolicyDocument"),
        (policy(["content-length-range", 0, "\u00b2"]), "InvalidPolicyDocument"),
        (policy(["content-length-range", 0, True]), "InvalidPolicyDocument"),
        (policy(["content-length-range", 0, 1.5]), "InvalidPolicyDocument"),
        (policy(["content-length-range", 0, None]), "InvalidPolicyDocument"),
        (policy(["content-length-range", 0, "1" * 19]), "InvalidPolicyDocument"),
        (policy(["eq", "$key", "o"]), ""),
        (policy(["EQ", "$KEY", "o"]), ""),
        (policy(["eq", "$key", "O"]), "AccessDenied"),
        (policy({"key": "p"}), "AccessDenied"),
        (policy(["starts-with", "$key", "p"]), "AccessDenied"),
        (policy(["eq", "$acl", "private"]), "AccessDenied"),
        (policy({"bucket": "another"}), "AccessDenied"),
    ],
)  # fmt: skip
def test_a_form_has_to_hold_to_its_policy(document: object, code: str) -> None:
    assert refusal(signed(document)) == code


def test_a_policy_says_how_long_the_file_may_be() -> None:
    for least, most in ((2, 3), ("2", "3")):
        form = signed(policy(["content-length-range", least, most]))
        identity = authenticate_form(form, "b", {"access": SECRET_KEY}, "us-east-1", NOW)
        assert identity == PostIdentity("access", 2, 3)
    assert authenticate_form(signed(policy()), "b", {"access": SECRET_KEY}, "", NOW) == PostIdentity("access", 0, None)


def test_a_field_that_the_policy_does_not_name_is_refused_unless_it_is_to_be_ignored() -> None:
    assert refusal(signed(policy(), {"acl": "public-read"})) == "AccessDenied"
    assert refusal(signed(policy(), {"x-ignore-this": "v"})) == ""
    nothing = {**policy(), "conditions": []}
    assert refusal(signed(nothing)) == "AccessDenied"
    without_bucket = {**policy(), "conditions": policy()["conditions"][:-1]}  # type: ignore[index]
    assert refusal(signed(without_bucket)) == "AccessDenied"


def test_of_a_list_of_content_types_each_has_to_begin_as_the_policy_says() -> None:
    images = policy(["starts-with", "$Content-Type", "image/"])
    assert refusal(signed(images, {"content-type": "image/png, image/jpeg"})) == ""
    assert refusal(signed(images, {"content-type": "image/png, text/html"})) == "AccessDenied"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"x-amz-algorithm": "AWS4-HMAC-SHA512"}, "InvalidArgument"),
        ({"x-amz-credential": "us-east-1/s3/aws4_request"}, "InvalidArgument"),
        ({"x-amz-credential": "access/20260101/us-east-1/s3/aws4_request"}, "InvalidArgument"),
        ({"x-amz-credential": "access/20260102/eu-west-1/s3/aws4_request"}, "InvalidArgument"),
        ({"x-amz-credential": "access/20260102/us-east-1/iam/aws4_request"}, "InvalidArgument"),
        ({"x-amz-credential": "access/20260102/us-east-1/s3/aws3_request"}, "InvalidArgument"),
        ({"x-amz-credential": "nobody/20260102/us-east-1/s3/aws4_request"}, "InvalidAccessKeyId"),
        ({"x-amz-date": "20260103T000000Z"}, "InvalidArgument"),
        ({"x-amz-date": "today"}, "InvalidArgument"),
        ({"x-amz-signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"x-amz-signature": ""}, "InvalidArgument"),
        ({"policy": ""}, "InvalidArgument"),
        ({"policy": "e30="}, "SignatureDoesNotMatch"),
    ],
)
def test_a_form_whose_claim_is_another_is_refused(fields: dict[str, str], code: str) -> None:
    assert refusal(signed(policy(), fields)) == code


def test_a_form_that_nobody_signed_is_refused() -> None:
    assert refusal(PostForm({"key": "o"})) == "AccessDenied"
    assert refusal(PostForm({"key": "o", "x-amz-date": "20260102T000000Z"})) == "InvalidArgument"


class Taking:
    """Takes a file, and counts its bytes."""

    size = 0

    async def write(self, data: bytes) -> None:
        self.size += len(data)

    async def finish(self) -> None:
        self.size += 0


def test_no_policy_lets_a_file_be_longer_than_s3_lets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "MAX_PUT", len(b"content"))

    async def take(most: int | None) -> int:
        decoder, writer = FormDecoder("multipart/form-data; boundary=b"), Taking()
        pieces = decoder.feed(FILE + END)

        async def nothing() -> bytes:
            return b""

        body = cast(BodyReceiver, SimpleNamespace(next=nothing))
        await posting._take(decoder, body, pieces, cast(AnyObjectWriter, writer), PostIdentity("access", 0, most))
        return writer.size

    for most in (None, 7, 1000):
        assert asyncio.run(take(most)) == 7
    monkeypatch.setattr(posting, "MAX_PUT", len(b"content") - 1)
    for most in (None, 7, 1000):
        with pytest.raises(S3Error, match="EntityTooLarge"):
            asyncio.run(take(most))
