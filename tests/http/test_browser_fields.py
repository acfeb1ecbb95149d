"""Fields of browser forms: what no header could hold, and the name of the file in them."""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import Any

import pytest

from tests.http.raw import send
from tests.http.test_browser_uploads import Fields, keys, post, signed, signed_policy
from tests.server import Server


@pytest.mark.parametrize("bad", ["\r\nX-Evil: 1", "\n", "\r", "\0", "\x7f", "\x0b"], ids=ascii)
@pytest.mark.parametrize("name", ["Content-Type", "Cache-Control", "Content-Disposition", "x-amz-meta-note"])
def test_a_value_that_no_header_can_have_is_refused(server: Server, bucket: str, name: str, bad: str) -> None:
    fields = {name: f"before{bad}after"}
    answer = post(server, bucket, signed(server, bucket, "o", fields, [["starts-with", f"${name}", ""]]), b"x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert keys(server, bucket) == []


@pytest.mark.parametrize("name", ["é", "€", "a b", "a:b", "a\tb", "ü/b", ""], ids=ascii)
def test_a_name_of_metadata_that_no_header_can_have_is_refused(server: Server, bucket: str, name: str) -> None:
    field = f"x-amz-meta-{name}"
    answer = post(server, bucket, signed(server, bucket, "o", {field: "v"}, [["starts-with", f"${field}", ""]]), b"x")
    if name:
        assert (answer.status, answer.code) == (400, "InvalidArgument")
        assert keys(server, bucket) == []
    else:
        assert answer.status in (204, 400)
        assert server.client().list_objects_v2(Bucket=bucket)["KeyCount"] == (answer.status == 204)


@pytest.mark.parametrize("value", ["grün\tund €", "grün"])
def test_values_that_are_not_ascii_and_tabs_are_kept(server: Server, bucket: str, value: str) -> None:
    fields = {"x-amz-meta-note": value}
    answer = post(server, bucket, signed(server, bucket, "o", fields, [fields]), b"x")
    assert (answer.status, keys(server, bucket)) == (204, ["o"])
    shown = server.client().head_object(Bucket=bucket, Key="o")["Metadata"]["note"]
    assert shown.encode("latin-1").decode() == value


def policy_of(bucket: str, key: str, condition: list[str], fields: Fields | None = None) -> Fields:
    """A signed form with this key, whose policy holds it to a condition."""
    conditions: list[Any] = [condition, {"bucket": bucket}, *[["starts-with", f"${name}", ""] for name in fields or {}]]
    policy = {"expiration": "2100-01-01T00:00:00Z", "conditions": conditions}
    return {**signed_policy(policy, key), **(fields or {})}


@pytest.mark.parametrize(
    ("key", "condition", "made"),
    [
        ("${filename}", ["starts-with", "$key", "photo-"], "photo-1.jpg"),
        ("u/${filename}", ["starts-with", "$key", "u/"], "u/photo-1.jpg"),
        ("u/${filename}", ["starts-with", "$key", "u/photo-"], "u/photo-1.jpg"),
        ("u/${filename}", ["eq", "$key", "u/photo-1.jpg"], "u/photo-1.jpg"),
        ("u/${filename}", ["eq", "$key", "u/${filename}"], None),
        ("${filename}", ["starts-with", "$key", "paper-"], None),
        ("${filename}", ["starts-with", "$key", "${"], None),
    ],
)
def test_the_policy_is_about_the_key_with_the_name_of_the_file_in_it(
    server: Server, bucket: str, key: str, condition: list[str], made: str | None
) -> None:
    answer = post(server, bucket, policy_of(bucket, key, condition), b"x", file_name="photo-1.jpg")
    assert (answer.status, answer.code) == ((204, "") if made else (403, "AccessDenied"))
    assert keys(server, bucket) == ([made] if made else [])


@pytest.mark.parametrize("file_name", ["/home/me/a.txt", "me/a.txt", "C:\\me\\a.txt", "C:\\me/a.txt"])
def test_of_the_path_of_a_file_only_its_last_name_counts(server: Server, bucket: str, file_name: str) -> None:
    fields = policy_of(bucket, "u/${filename}", ["eq", "$key", "u/a.txt"])
    assert post(server, bucket, fields, b"x", file_name=file_name).status == 204
    assert keys(server, bucket) == ["u/a.txt"]


@pytest.mark.parametrize(("key", "code"), [("", "UserKeyMustBeSpecified"), ("k" * 1025, "KeyTooLongError")])
def test_a_form_with_a_key_that_can_be_none_is_refused(server: Server, bucket: str, key: str, code: str) -> None:
    answer = post(server, bucket, policy_of(bucket, key, ["starts-with", "$key", ""]), b"x")
    assert (answer.status, answer.code, keys(server, bucket)) == (400, code, [])


def test_the_name_of_the_file_is_put_into_other_fields_too(server: Server, bucket: str) -> None:
    fields = policy_of(bucket, "o", ["eq", "$key", "o"], {"x-amz-meta-name": "it was ${filename}"})
    assert post(server, bucket, fields, b"x", file_name="C:\\me\\a.txt").status == 204
    assert server.client().head_object(Bucket=bucket, Key="o")["Metadata"] == {"name": "it was a.txt"}


def test_a_boundary_that_is_too_long_is_refused(server: Server, bucket: str) -> None:
    for length, status in ((9000, 400), (71, 400)):
        headers = {"Content-Type": f"multipart/form-data; boundary={'x' * length}"}
        assert send(server, "POST", f"/{bucket}", headers, b"--x\r\n").status == status
    assert keys(server, bucket) == []


def test_a_form_without_a_key_is_refused(server: Server, bucket: str) -> None:
    fields = policy_of(bucket, "o", ["starts-with", "$x-amz-meta-note", ""], {"x-amz-meta-note": "no name"})
    del fields["key"]
    answer = post(server, bucket, fields, b"x")
    assert (answer.status, answer.code, answer.find("ArgumentName")) == (400, "InvalidArgument", "key")
    assert keys(server, bucket) == []


@pytest.mark.parametrize(
    ("acl", "code"),
    [
        ("private", ""),
        ("public-read", "AccessControlListNotSupported"),
        ("nobody", "InvalidArgument"),
    ],
)
def test_a_form_gives_an_object_to_nobody_else(server: Server, bucket: str, acl: str, code: str) -> None:
    answer = post(server, bucket, signed(server, bucket, "o", {"acl": acl}, [{"acl": acl}]), b"x")
    assert (answer.status, answer.code) == (400 if code else 204, code)
    assert keys(server, bucket) == ([] if code else ["o"])


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"x-amz-storage-class": "GLACIER"}, "InvalidStorageClass"),
        ({"x-amz-website-redirect-location": "elsewhere"}, "InvalidRedirectLocation"),
        ({"x-amz-object-lock-mode": "COMPLIANCE"}, "InvalidRequest"),
        ({"x-amz-grant-read": 'id="1"'}, "AccessControlListNotSupported"),
        ({"x-amz-server-side-encryption": "aws:kms:dsse"}, "NotImplemented"),
        ({"content-md5": base64.b64encode(hashlib.md5(b"y").digest()).decode()}, "BadDigest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_form_that_asks_for_what_is_not_so_or_not_served_is_refused(
    server: Server, bucket: str, fields: Fields, code: str
) -> None:
    answer = post(server, bucket, signed(server, bucket, "o", fields, [fields]), b"x")
    assert answer.code == code
    assert keys(server, bucket) == []


@pytest.mark.on_disk
def test_of_a_file_that_is_another_than_its_form_says_nothing_is_left(server: Server, bucket: str) -> None:
    fields = {"x-amz-checksum-crc32": "AAAAAA=="}
    answer = post(server, bucket, signed(server, bucket, "o", fields, [fields]), bytes(3_000_000))
    assert (answer.status, answer.code, keys(server, bucket)) == (400, "BadDigest", [])
    assert server.unfinished_files() == []


def test_a_checksum_in_a_form_is_kept(server: Server, bucket: str) -> None:
    digest = base64.b64encode(zlib.crc32(b"x").to_bytes(4, "big")).decode()
    fields = {
        "x-amz-checksum-crc32": digest,
        "content-md5": base64.b64encode(hashlib.md5(b"x").digest()).decode(),
    }
    answer = post(server, bucket, signed(server, bucket, "o", fields, [{name: fields[name]} for name in fields]), b"x")
    assert (answer.status, answer.headers["x-amz-checksum-crc32"]) == (204, digest)
    head = server.client().head_object(Bucket=bucket, Key="o", ChecksumMode="ENABLED")
    assert head["ChecksumCRC32"] == digest


@pytest.mark.parametrize(("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("302", 204), ("x", 204)])
def test_a_form_says_with_which_status_it_is_answered(server: Server, bucket: str, asked: str, status: int) -> None:
    fields = {"success_action_status": asked}
    answer = post(server, bucket, signed(server, bucket, "a&b<c", fields, [fields]), b"x")
    assert answer.status == status
    assert answer.find("Key") == ("a&b<c" if status == 201 else "")


@pytest.mark.parametrize(
    ("field", "target", "status"),
    [
        ("redirect", "https://example.com/done", 303),
        ("success_action_redirect", "http://example.com/done", 303),
        ("success_action_redirect", "javascript:alert(1)", 204),
        ("success_action_redirect", "//example.com/done", 204),
        ("success_action_redirect", "https://example.com/\r\nx-evil: 1", 204),
        ("success_action_redirect", "https://example.com/\x7f", 204),
    ],
    ids=ascii,
)
def test_a_browser_is_sent_on_to_web_pages_only(
    server: Server, bucket: str, field: str, target: str, status: int
) -> None:
    fields = {field: target}
    answer = post(server, bucket, signed(server, bucket, "a b", fields, [["starts-with", f"${field}", ""]]), b"x")
    assert (answer.status, keys(server, bucket)) == (status, ["a b"])
    if status == 303:
        assert answer.headers["location"].startswith(f"{target}?bucket={bucket}&key=a+b&etag=%22")
    assert "x-evil" not in answer.headers


def test_the_shortest_and_the_longest_file_that_a_policy_allows_are_taken(server: Server, bucket: str) -> None:
    fields = signed(server, bucket, "o", None, [["content-length-range", 10, 100]])
    assert [post(server, bucket, fields, b"x" * size).status for size in (9, 10, 100, 101)] == [400, 204, 204, 400]
