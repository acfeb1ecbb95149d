"""What whoever holds the disk can do to stored objects, and that no byte of it is ever served as if it were right."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ResponseStreamingError

from tests.customer_keys import SSE_C
from tests.http.raw import error_of, send
from tests.server import Server
from tests.storage import blobs, index, spoil_file, spoil_row

pytestmark = pytest.mark.local

MIB = 1024 * 1024


@pytest.fixture
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of this test's own, so that its data directory can be spoilt."""
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with Server(tmp_path_factory.mktemp("spoilt"), settings, workers=1) as running:
        running.client().create_bucket(Bucket="bucket")
        yield running


def refused(server: Server, key: str, **options: Any) -> bool:
    """Whether a GET ends in an error, before or after its headers; an object that reads as whole is none."""
    try:
        answer = server.client().get_object(Bucket="bucket", Key=key, **options)
        answer["Body"].read()
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] >= 400)
    except (IncompleteReadError, ResponseStreamingError, http.client.IncompleteRead):
        return True
    return False


def put(server: Server, key: str, body: bytes, **options: Any) -> None:
    server.client().put_object(Bucket="bucket", Key=key, Body=body, **options)


@pytest.mark.parametrize(("sse", "step"), [({}, 1), (SSE_C, 5)], ids=["SSE-S3", "SSE-C"])
def test_a_changed_bit_in_a_small_object_or_its_record_is_detected(own_server: Server, sse: Any, step: int) -> None:
    body, metadata = os.urandom(1000), {"who": "me"}
    with closing(index(own_server)) as connection:
        put(own_server, "probe", body, Metadata=metadata, **sse)
        (record,) = connection.execute("SELECT record FROM objects WHERE key = ?", (b"probe",)).fetchone()
        (inline,) = connection.execute("SELECT inline FROM data").fetchone()
    places = [("data", "inline", at) for at in range(0, len(inline), 97)]
    places += [("objects", "record", at) for at in range(0, len(record), step)]
    unharmed = []
    for table, column, at in places:
        key = f"{column}-{at}"
        put(own_server, key, body, Metadata=metadata, **sse)
        where = "key = ?" if table == "objects" else "id = (SELECT data FROM objects WHERE key = ?)"
        spoil_row(own_server, table, column, where, (key.encode(),), at)
        if not refused(own_server, key, **sse):
            unharmed.append((column, at))
    # What listings read of the record is not what counts: where it was altered, they show the same.
    listed = record.index(b":listed") if b":listed" in record else len(record)
    assert {*unharmed} <= {("record", at) for at in range(listed, len(record))}
    shown = {row["Key"]: row["ETag"] for row in own_server.client().list_objects_v2(Bucket="bucket")["Contents"]}
    assert {shown[f"{column}-{at}"] for column, at in unharmed} <= {f'"{hashlib.md5(body).hexdigest()}"'}


def test_a_damaged_index_is_named_in_the_log_and_is_no_bug_of_the_program(own_server: Server) -> None:
    for number in range(200):
        put(own_server, f"o{number}", bytes(1000))
    own_server.stop()
    file = own_server.directory / ".strongroom" / "index.db"
    with closing(sqlite3.connect(file)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'objects'").fetchone()
        (page,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as index_file:
        index_file.seek((root - 1) * page)
        index_file.write(b"\xff" * page)
    own_server.start()
    assert error_of(own_server.client().list_objects_v2, Bucket="bucket") == ("InternalError", 500)
    assert "WARNING strongroom.s3" in own_server.log and "Traceback" not in own_server.log
    assert "the index is damaged (database disk image is malformed): restore the whole from a back-up" in own_server.log


def test_a_damaged_record_takes_no_condition_on_its_etag_and_spoils_no_other_s(own_server: Server) -> None:
    client = own_server.client()
    etags = {key: client.put_object(Bucket="bucket", Key=key, Body=b"x")["ETag"] for key in ("good", "damaged")}
    with closing(index(own_server)) as connection:
        (record,) = connection.execute("SELECT record FROM objects WHERE key = ?", (b"damaged",)).fetchone()
    spoil_row(own_server, "objects", "record", "key = ?", (b"damaged",), record.index(b":sealed") + 30)
    named = [{"Key": key, "ETag": etag} for key, etag in etags.items()]
    answer = client.delete_objects(Bucket="bucket", Delete={"Objects": named})
    assert [row["Key"] for row in answer["Deleted"]] == ["good"]
    assert [(row["Key"], row["Code"]) for row in answer["Errors"]] == [("damaged", "InternalError")]
    name = {"Bucket": "bucket", "Key": "damaged"}
    assert error_of(client.put_object, **name, Body=b"y", IfMatch=etags["damaged"]) == ("InternalError", 500)
    client.put_object(**name, Body=b"y", IfMatch="*")
    assert client.get_object(**name)["Body"].read() == b"y"


def test_a_large_object_with_a_changed_bit_is_cut_short_not_ended(own_server: Server) -> None:
    body = os.urandom(5 * MIB)
    for at in (0, 3, 4, 20, 65_000, 3 * MIB, -1, -17):
        put(own_server, "o", body)
        (blob,) = blobs(own_server)
        spoil_file(blob, at % blob.stat().st_size)
        assert refused(own_server, "o"), at
        own_server.client().delete_object(Bucket="bucket", Key="o")
        while blobs(own_server):
            pass
    put(own_server, "o", body)
    (blob,) = blobs(own_server)
    spoil_file(blob, 4 * MIB)
    got = own_server.client().get_object(Bucket="bucket", Key="o", Range=f"bytes=0-{MIB}")
    assert got["Body"].read() == body[: MIB + 1]  # what is not touched can still be read
    assert refused(own_server, "o", Range=f"bytes={4 * MIB - 100}-{4 * MIB}")


def test_packages_that_changed_places_with_their_nonces_are_not_given_out_as_a_range(own_server: Server) -> None:
    body, package = os.urandom(5 * MIB), 65_568
    put(own_server, "o", body)
    (blob,) = blobs(own_server)
    stored = bytearray(blob.read_bytes())
    first, second = stored[:package], stored[package : 2 * package]
    first[12] ^= 1  # the number of the package is XORed into what stands here
    second[12] ^= 1
    stored[: 2 * package] = second + first
    blob.write_bytes(stored)
    for asked in ("bytes=0-99", "bytes=0-131071", "bytes=70000-70001"):
        assert refused(own_server, "o", Range=asked)
    assert refused(own_server, "o")
    ahead = own_server.client().get_object(Bucket="bucket", Key="o", Range=f"bytes={MIB}-{2 * MIB}")
    assert ahead["Body"].read() == body[MIB : 2 * MIB + 1]


@pytest.mark.parametrize("how", ["cut", "cut at a package", "emptied", "extended", "missing"])
def test_a_file_of_another_length_is_detected(own_server: Server, how: str) -> None:
    put(own_server, "o", os.urandom(5 * MIB))
    (blob,) = blobs(own_server)
    size = blob.stat().st_size
    if how == "missing":
        blob.unlink()
    else:
        os.truncate(blob, {"cut": size - 1, "cut at a package": 65_568, "emptied": 0, "extended": size + 1}[how])
    assert refused(own_server, "o") == (how != "extended")  # what lies behind the end is never looked at


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_what_is_no_file_in_the_place_of_one_is_neither_followed_nor_waited_for(
    plain_server: Server, what: str
) -> None:
    body, client = os.urandom(5 * MIB), plain_server.client()
    client.create_bucket(Bucket=f"a-{what}")
    client.put_object(Bucket=f"a-{what}", Key="o", Body=body)
    (blob,) = [blob for blob in blobs(plain_server) if blob.read_bytes() == body]
    moved = blob.rename(plain_server.directory / what)
    blob.symlink_to(moved) if what == "link" else os.mkfifo(blob)
    try:
        assert error_of(client.get_object, Bucket=f"a-{what}", Key="o") == ("InternalError", 500)
    finally:
        moved.rename(blob)


@pytest.mark.parametrize("kept", [0, 20, 65_568])
def test_bytes_in_the_index_that_were_cut_are_neither_read_nor_copied(own_server: Server, kept: int) -> None:
    client = own_server.client()
    upload = client.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
    put(own_server, "o", os.urandom(100_000))
    with closing(index(own_server)) as connection, connection:
        connection.execute("UPDATE data SET inline = substr(inline, 1, ?)", (kept,))
    source = {"Bucket": "bucket", "Key": "o"}
    assert error_of(client.get_object, **source, Range="bytes=70000-70099") == ("InternalError", 500)
    assert refused(own_server, "o")
    copied = error_of(client.copy_object, Bucket="bucket", Key="copy", CopySource=source, ChecksumAlgorithm="SHA256")
    part = error_of(
        client.upload_part_copy, Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, CopySource=source
    )
    assert (copied, part) == (("InternalError", 500), ("InternalError", 500))


def test_objects_that_change_places_are_detected(own_server: Server) -> None:
    put(own_server, "a", b"one body")
    put(own_server, "b", b"another!")
    put(own_server, "c", b"a third!")
    with closing(index(own_server)) as connection, connection:
        rows = dict(connection.execute("SELECT key, data FROM objects").fetchall())
        connection.execute("UPDATE objects SET data = ? WHERE key = ?", (rows[b"b"], b"a"))
        (record,) = connection.execute("SELECT record FROM objects WHERE key = ?", (b"c",)).fetchone()
        connection.execute("UPDATE objects SET record = ?, data = ? WHERE key = ?", (record, rows[b"c"], b"b"))
    assert refused(own_server, "a")  # the bytes of another object
    assert refused(own_server, "b")  # another object whole, record and bytes, under this name
    assert not refused(own_server, "c")


def multipart(server: Server, key: str, parts: list[bytes]) -> list[str]:
    client = server.client()
    upload = client.create_multipart_upload(Bucket="bucket", Key=key)["UploadId"]
    done = []
    for number, part in enumerate(parts, 1):
        etag = client.upload_part(Bucket="bucket", Key=key, UploadId=upload, PartNumber=number, Body=part)["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    client.complete_multipart_upload(Bucket="bucket", Key=key, UploadId=upload, MultipartUpload={"Parts": done})
    return [part["ETag"] for part in done]


def test_parts_that_are_mixed_are_detected(own_server: Server) -> None:
    first, second = os.urandom(5 * MIB), os.urandom(5 * MIB)
    multipart(own_server, "o", [first, second])
    with closing(index(own_server)) as connection, connection:
        (extents,) = connection.execute("SELECT extents FROM data").fetchone()
        half = len(extents) // 2
        connection.execute("UPDATE data SET extents = ?", (extents[half:] + extents[:half],))
    assert refused(own_server, "o")
    assert refused(own_server, "o", PartNumber=1)


def test_an_earlier_upload_of_a_part_is_detected(own_server: Server) -> None:
    client = own_server.client()
    upload = client.create_multipart_upload(Bucket="bucket", Key="o")["UploadId"]
    part: Any = {"Bucket": "bucket", "Key": "o", "UploadId": upload, "PartNumber": 1}
    client.upload_part(**part, Body=b"the first try")
    (old,) = blobs(own_server)
    kept = old.with_name("kept")
    shutil.copy(old, kept)
    etag = client.upload_part(**part, Body=b"the later try")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    client.complete_multipart_upload(Bucket="bucket", Key="o", UploadId=upload, MultipartUpload=parts)
    (new,) = [blob for blob in blobs(own_server) if blob not in (kept, old)]
    shutil.copy(kept, new)
    assert refused(own_server, "o")


def test_a_part_of_a_length_that_no_stream_has_is_said_to_be_damaged(own_server: Server) -> None:
    client = own_server.client()
    here: Any = {"Bucket": "bucket", "Key": "o"}
    upload = client.create_multipart_upload(**here)["UploadId"]
    client.upload_part(**here, UploadId=upload, PartNumber=1, Body=b"part")
    with closing(index(own_server)) as connection, connection:
        connection.execute("UPDATE parts SET size = 10")
    assert error_of(client.list_parts, **here, UploadId=upload) == ("InternalError", 500)
    assert "part 1 of the upload of 'bucket/o': no stream has 10 bytes" in own_server.log


def test_a_changed_part_table_is_detected(own_server: Server) -> None:
    multipart(own_server, "o", [os.urandom(5 * MIB), b"end"])
    spoil_row(own_server, "annexes", "content", "1", (), 40)
    assert refused(own_server, "o")


def test_a_record_without_encryption_in_the_place_of_one_with_it_does_not_give_the_ciphertext_a_name(
    own_server: Server,
) -> None:
    put(own_server, "o", b"secret")
    with closing(index(own_server)) as connection, connection:
        (record,) = connection.execute("SELECT record FROM objects").fetchone()
        at = record.index(b":sse")
        connection.execute("UPDATE objects SET record = ?", (record[:at] + b":xxx" + record[at + 4 :],))
    assert error_of(own_server.client().get_object, Bucket="bucket", Key="o")[1] == 500


def test_listings_and_deletes_still_work_beside_damage(own_server: Server) -> None:
    put(own_server, "bad", b"x")
    put(own_server, "good", b"y")
    spoil_row(own_server, "objects", "record", "key = ?", (b"bad",), 30)
    client = own_server.client()
    listed = client.list_objects_v2(Bucket="bucket")["Contents"]
    assert [item["Key"] for item in listed] == ["bad", "good"]
    client.delete_object(Bucket="bucket", Key="bad")
    put(own_server, "bad", b"new")
    assert client.get_object(Bucket="bucket", Key="bad")["Body"].read() == b"new"


def test_damaged_settings_of_a_bucket_are_its_own_trouble(own_server: Server) -> None:
    client = own_server.client()
    client.create_bucket(Bucket="spoilt")
    default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    client.put_bucket_encryption(Bucket="spoilt", ServerSideEncryptionConfiguration={"Rules": [default]})
    spoil_row(own_server, "buckets", "settings", "name = ?", ("spoilt",), 0)
    assert {"bucket", "spoilt"} <= {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    assert send(own_server, "GET", "/minio/health/ready").status == 200
    assert error_of(client.create_bucket, Bucket="another") == ("", 200)
    assert error_of(client.put_object, Bucket="spoilt", Key="o", Body=b"x") == ("InternalError", 500)
