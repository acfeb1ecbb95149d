"""Records that whoever holds the disk replaces by ones that say that there is nothing to encrypt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom.store.local.schema import decode_mapping, encode_mapping
from tests.backends import Backend, served_by
from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.server import Server
from tests.storage import files_with, index
from tests.uploads import upload_of_one_part

NEEDLE = b"a sentence that must not be found in plaintext "
SMALL, LARGE = NEEDLE, NEEDLE * 20_000
SSE_S3: dict[str, Any] = {"ServerSideEncryption": "AES256"}
SSE_KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}
DAMAGED = ("InternalError", 500)
TAGS = [{"Key": "classification", "Value": "secret"}]


def own(home: Path, auto: str | None) -> Iterator[Server]:
    settings: dict[str, str | None] = {
        "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
        "MINIO_SSE_AUTO_ENCRYPTION": auto,
    }
    with Server(home, settings, workers=1) as running:
        running.client().create_bucket(Bucket="bucket")
        yield running


@pytest.fixture
def encrypting(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own that encrypts everything."""
    yield from own(tmp_path, "on")


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own that encrypts what asks for it."""
    yield from own(tmp_path, None)


def make_plain(server: Server, upload: str) -> None:
    """Have the record of an open upload say that it is not encrypted."""
    with closing(index(server)) as connection, connection:
        plain = encode_mapping({":etag": b""})
        assert connection.execute("UPDATE uploads SET record = ? WHERE id = ?", (plain, upload)).rowcount == 1


@pytest.mark.parametrize("when", ["encrypting", "asked"])
@pytest.mark.parametrize("encryption", [SSE_S3, SSE_KMS, SSE_C], ids=["SSE-S3", "SSE-KMS", "SSE-C"])
def test_parts_of_an_upload_whose_record_was_made_plain_are_not_stored_in_plaintext(
    request: pytest.FixtureRequest, when: str, encryption: dict[str, Any]
) -> None:
    server: Server = request.getfixturevalue(when)
    client = server.client()
    key = encryption if "SSECustomerKey" in encryption else {}
    target, parts = upload_of_one_part(client, "bucket", "o", LARGE, **encryption)
    make_plain(server, target["UploadId"])
    for body in (SMALL, LARGE):
        for keys in ({}, key):
            assert error_of(client.upload_part, **target, PartNumber=2, Body=body, **keys) == DAMAGED
    source = {"Bucket": "bucket", "Key": "source"}
    client.put_object(**source, Body=LARGE, **SSE_S3)
    assert error_of(client.upload_part_copy, **target, PartNumber=2, CopySource=source) == DAMAGED
    assert error_of(client.list_parts, **target) == DAMAGED
    assert error_of(client.complete_multipart_upload, **target, MultipartUpload=parts) == DAMAGED
    assert error_of(client.head_object, Bucket="bucket", Key="o")[1] == 404
    assert files_with(server.directory, NEEDLE) == []
    client.abort_multipart_upload(**target)


def test_a_plain_upload_that_another_key_s_id_is_given_to_is_none(asked: Server) -> None:
    client = asked.client()
    plain = client.create_multipart_upload(Bucket="bucket", Key="plain")["UploadId"]
    sealed = client.create_multipart_upload(Bucket="bucket", Key="sealed", **SSE_S3)["UploadId"]
    with closing(index(asked)) as connection, connection:
        connection.execute("DELETE FROM uploads WHERE id = ?", (sealed,))
        assert connection.execute("UPDATE uploads SET key = ? WHERE id = ?", (b"sealed", plain)).rowcount == 1
    target: Any = {"Bucket": "bucket", "Key": "sealed", "UploadId": plain, "PartNumber": 1}
    assert error_of(client.upload_part, **target, Body=LARGE) == DAMAGED
    assert files_with(asked.directory, NEEDLE) == []


def test_a_plain_upload_goes_on_in_every_worker(plain_server: Server, plain_bucket: str) -> None:
    target: Any = {"Bucket": plain_bucket, "Key": "o"}
    target["UploadId"] = plain_server.client().create_multipart_upload(**target)["UploadId"]
    bodies = [b"a" * 5 * 1024**2, *[b"b" * 5 * 1024**2] * 3, b"the last one"]
    parts = []
    for number, body in enumerate(bodies, 1):  # a connection each
        etag = plain_server.client().upload_part(**target, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": etag})
    assert len(plain_server.client().list_parts(**target)["Parts"]) == len(bodies)
    done = plain_server.client().complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    assert "ServerSideEncryption" not in done
    assert plain_server.client().get_object(Bucket=plain_bucket, Key="o")["Body"].read() == b"".join(bodies)


def test_an_upload_that_was_begun_plain_is_refused_once_everything_is_encrypted(
    plain_backend: Backend | None, command: tuple[str, ...], tmp_path: Path, bucket_name: str
) -> None:
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
    with served_by(plain_backend, tmp_path, settings, command=command, workers=1) as server:
        server.client().create_bucket(Bucket=bucket_name)
        target, parts = upload_of_one_part(server.client(), bucket_name, "o", b"begun")
        assert server.stop() == 0
        server.settings["MINIO_SSE_AUTO_ENCRYPTION"] = "on"
        server.start()
        client = server.client()
        refused = ("InvalidRequest", 400)
        assert error_of(client.upload_part, **target, PartNumber=2, Body=LARGE) == refused
        assert error_of(client.complete_multipart_upload, **target, MultipartUpload=parts) == refused
        assert files_with(server.directory, NEEDLE) == []
        client.abort_multipart_upload(**target)
        assert error_of(client.head_object, Bucket=bucket_name, Key="o")[1] == 404


@pytest.mark.parametrize("encryption", [SSE_S3, SSE_KMS], ids=["SSE-S3", "SSE-KMS"])
def test_tags_that_were_replaced_by_ones_in_plaintext_are_not_told(
    encrypting: Server, encryption: dict[str, Any]
) -> None:
    client = encrypting.client()
    client.put_object(Bucket="bucket", Key="o", Body=b"x", Tagging="classification=secret", **encryption)
    assert client.get_object_tagging(Bucket="bucket", Key="o")["TagSet"] == TAGS
    with closing(index(encrypting)) as connection, connection:
        (stored,) = connection.execute("SELECT record FROM objects").fetchone()
        record = decode_mapping(stored)
        del record[":tags-sse"]
        record[":tags"] = b"classification=public"
        connection.execute("UPDATE objects SET record = ?", (encode_mapping(record),))
    assert error_of(client.get_object_tagging, Bucket="bucket", Key="o") == DAMAGED
    copy = {"Bucket": "bucket", "CopySource": "bucket/o"}
    assert error_of(client.copy_object, **copy, Key="copy") == DAMAGED
    assert error_of(client.head_object, Bucket="bucket", Key="copy")[1] == 404
    client.copy_object(**copy, Key="tagged", TaggingDirective="REPLACE", Tagging="classification=secret")
    assert client.get_object_tagging(Bucket="bucket", Key="tagged")["TagSet"] == TAGS
    client.put_object_tagging(Bucket="bucket", Key="o", Tagging={"TagSet": TAGS})
    assert client.get_object_tagging(Bucket="bucket", Key="o")["TagSet"] == TAGS


@pytest.mark.local
def test_tags_of_plain_objects_and_of_those_with_clients_keys_are_told(plain_server: Server, plain_bucket: str) -> None:
    client = plain_server.client()
    for key, encryption in (("plain", {}), ("c", SSE_C)):
        client.put_object(Bucket=plain_bucket, Key=key, Body=b"x", Tagging="classification=secret", **encryption)
        assert client.get_object_tagging(Bucket=plain_bucket, Key=key)["TagSet"] == TAGS


@pytest.mark.parametrize(
    ("name", "value"), [("x-amz-server-side-encryption", "AES256"), ("content-length", "3"), ("set-cookie", "a=b")]
)
def test_a_header_that_a_record_of_a_plain_object_was_given_and_is_none_of_an_object_s_own_is_not_shown(
    asked: Server, name: str, value: str
) -> None:
    client, here = asked.client(), {"Bucket": "bucket", "Key": "o"}
    client.put_object(**here, Body=b"forged")
    with closing(index(asked)) as connection, connection:
        (record,) = connection.execute("SELECT record FROM objects").fetchone()
        forged = encode_mapping({**decode_mapping(record), name: value.encode()})
        connection.execute("UPDATE objects SET record = ?", (forged,))
    assert error_of(client.get_object, **here) == DAMAGED
