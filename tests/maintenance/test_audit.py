"""``strongroom audit``: what it finds, and that nothing which is not so passes for encrypted."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.jobs import job, run_job
from tests.legacy import left
from tests.maintenance.conftest import Serve
from tests.maintenance.test_rewrap import BOTH, NEW, NEW_KEY, OBJECTS, OLD, fill
from tests.server import MASTER_KEY, NAS, Server
from tests.storage import index

SOME_PLAIN: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
TAKES_KEYS: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}


@pytest.fixture
def bucket(bucket_name: str) -> str:
    return bucket_name


def audit(server: Server, bucket: str, *arguments: str) -> Any:
    """Audit all there is; of a backend, which other tests share, one bucket."""
    return job(server, "audit", *(("--bucket", bucket) if server.backend else ()), *arguments)


def counts(report: Any) -> dict[tuple[str, tuple[str, ...], bool], int]:
    """How many objects, by encryption, names of master keys, and whether they were opened."""
    found: dict[tuple[str, tuple[str, ...], bool], int] = {}
    for row in report["found"]:
        names = tuple(master["key_id"] for master in row["master_keys"])
        kind = (row["encryption"], names, row["opened"])
        found[kind] = found.get(kind, 0) + row["objects"]
    return found


def test_what_is_encrypted_and_what_is_not(serve: Serve, bucket: str, tmp_path: Path) -> None:
    server = serve(OLD)
    fill(server.client(), bucket)
    server = serve({**BOTH, **SOME_PLAIN})
    server.client().put_object(Bucket=bucket, Key="newer", Body=b"new", ServerSideEncryption="AES256")
    report = audit(server, bucket)
    sealed = {
        ("SSE-S3", ("my-minio-key",), True): 6,
        ("SSE-S3", ("new-key",), True): 1,
        ("SSE-C", (), False): 1,
        ("SSE-C", ("my-minio-key",), False): 1,  # for its tags
    }
    assert counts(report) == sealed
    assert (report["done"], report["failed"], report["finished"]) == (len(OBJECTS) + 2, [], True)

    key = tmp_path / "key"
    key.write_bytes(SSE_C["SSECustomerKey"])
    report = audit(server, bucket, "--read", "--sse-c-key-file", str(key))
    assert sum(counts(report).values()) == len(OBJECTS) + 2
    assert all(row["opened"] for row in report["found"])

    client = server.client()
    client.put_object(Bucket=bucket, Key="plain", Body=b"plain")
    here = {"Bucket": bucket, "Key": "open"}
    upload = client.create_multipart_upload(**here)["UploadId"]
    report = audit(server, bucket)
    assert counts(report) == {**sealed, ("none", (), True): 1}
    reasons = {failed["key"]: failed["reason"] for failed in report["failed"]}
    assert reasons == {"plain": "it is not encrypted", "open": f"the open upload {upload} is not encrypted"}
    client.abort_multipart_upload(**here, UploadId=upload)

    plain = {"Bucket": bucket, "Key": "plain"}
    client.copy_object(**plain, CopySource=plain, ServerSideEncryption="AES256")
    assert audit(server, bucket)["failed"] == []


def test_what_does_not_open_is_named(tmp_path: Path, bucket: str) -> None:
    with Server(tmp_path, {**OLD, **TAKES_KEYS}, workers=1) as server:
        fill(server.client(), bucket)
    with Server(tmp_path, NEW, workers=1) as server:
        report = audit(server, bucket)
    assert len(report["failed"]) == 6 + 1
    assert all("no master key 'my-minio-key'" in failed["reason"] for failed in report["failed"])


def test_an_open_upload_under_a_key_that_is_not_there_any_more_is_named(serve: Serve, bucket: str) -> None:
    client = serve(NEW).client()
    client.create_bucket(Bucket=bucket)
    client.put_object(Bucket=bucket, Key="new", Body=b"new")
    server = serve({"MINIO_SSE_MASTER_KEY": MASTER_KEY, "STRONGROOM_READ_KEYS": NEW_KEY})  # one that was left behind
    client = server.client()
    upload = client.create_multipart_upload(Bucket=bucket, Key="open", ServerSideEncryption="AES256")["UploadId"]
    client.create_multipart_upload(Bucket=bucket, Key="of-client", **SSE_C)
    assert audit(server, bucket)["failed"] == []
    server.settings = {**server.settings, **NEW, "STRONGROOM_READ_KEYS": None}  # of the job
    (failed,) = audit(server, bucket)["failed"]
    assert (failed["key"], failed["reason"].split(": ")[0]) == ("open", f"the open upload {upload}")
    assert "no master key 'my-minio-key'" in failed["reason"]


def test_a_damaged_upload_of_a_shared_folder_is_named_and_ends_no_job(tmp_path: Path, bucket: str) -> None:
    with Server(tmp_path, OLD, command=NAS, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket=bucket)
        spoilt, other = (client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for key in ("a", "b"))
        (server.directory / ".strongroom.sys" / "uploads" / bucket / spoilt / "upload").write_bytes(b"nothing")
        listed = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
        assert [upload["UploadId"] for upload in listed] == [other]
        for name in ("audit", "rewrap", "encrypt"):
            report = job(server, name)
            assert report["finished"]
            assert [f"the upload {spoilt} is damaged" in failed["reason"] for failed in report["failed"]] == [True]


def test_bytes_that_are_none_of_ours_are_found_when_they_are_read(tmp_path: Path, bucket: str) -> None:
    with Server(tmp_path, {**OLD, **TAKES_KEYS}, workers=1) as server:
        fill(server.client(), bucket)
        with closing(index(server)) as connection, connection:
            (row,) = connection.execute("SELECT data, record FROM objects WHERE key = CAST('small' AS BLOB)").fetchall()
            stored = connection.execute("SELECT length(inline) FROM data WHERE id = ?", row[:1]).fetchone()[0]
            connection.execute("UPDATE data SET inline = ? WHERE id = ?", (b"plain" * (stored // 5 + 1), row[0]))
            connection.execute("UPDATE data SET inline = substr(inline, 1, ?) WHERE id = ?", (stored, row[0]))
        assert audit(server, bucket)["failed"] == []  # the record says nothing of it
        (failed,) = audit(server, bucket, "--read")["failed"]
        assert failed["key"] == "small"
        damaged = bytearray(row[1])
        damaged[damaged.index(b":sealed") + 30] ^= 1
        with closing(index(server)) as connection, connection:
            connection.execute("UPDATE objects SET record = ? WHERE key = CAST('small' AS BLOB)", (bytes(damaged),))
        (failed,) = audit(server, bucket)["failed"]
        assert "altered" in failed["reason"]


def test_objects_in_damaged_pages_of_the_index_are_named_and_the_others_counted(tmp_path: Path, bucket: str) -> None:
    with Server(tmp_path, OLD, workers=1) as server:
        server.client().create_bucket(Bucket=bucket)
        for number in range(20):
            server.client().put_object(Bucket=bucket, Key=f"{number:02}", Body=bytes(3000))
        server.stop()
        with closing(index(server)) as connection, connection:
            connection.execute("UPDATE data SET inline = x'' WHERE id = 20")
            first = connection.execute("SELECT inline FROM data WHERE id = 1").fetchone()[0]
            page = connection.execute("PRAGMA page_size").fetchone()[0]
        with closing(index(server)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with (server.directory / ".strongroom" / "index.db").open("r+b") as file:
            at = file.read().index(first)
            file.seek(at - at % page)
            file.write(b"\xff" * page)
        report = audit(server, bucket)
    reasons = {failed["key"]: failed["reason"] for failed in report["failed"]}
    assert report["done"] == 20 - len(reasons) and "00" in reasons and "19" in reasons
    assert all("index is damaged" in reason or key == "19" for key, reason in reasons.items())
    assert "another length than was recorded" in reasons["19"]


def test_tags_in_the_clear_are_named(tmp_path: Path, bucket: str) -> None:
    """Those of SSE-C objects, where there is no KMS."""
    with Server(tmp_path, {"MINIO_SSE_MASTER_KEY": None, **SOME_PLAIN, **TAKES_KEYS}, workers=1) as server:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(Bucket=bucket, Key="k", Body=b"k", Tagging="a=b", **SSE_C)
        (failed,) = audit(server, bucket)["failed"]
        assert failed["reason"] == "its tags are not encrypted"


def test_a_server_without_a_kms_stores_no_tags_of_encrypted_objects(tmp_path: Path, bucket: str) -> None:
    """They would lie in the clear where sealed ones lay."""
    here, tags = {"Bucket": bucket, "Key": "o"}, [{"Key": "colour", "Value": "blue"}]
    with Server(tmp_path, OLD, workers=1) as server:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(**here, Body=b"x", Tagging="colour=blue")
    other = {"TagSet": [{"Key": "colour", "Value": "red"}]}
    with Server(tmp_path, {"MINIO_SSE_MASTER_KEY": None, **SOME_PLAIN}, workers=1) as server:
        assert error_of(server.client().put_object_tagging, **here, Tagging=other) == ("NotImplemented", 501)
    with Server(tmp_path, OLD, workers=1) as server:
        assert server.client().get_object_tagging(**here)["TagSet"] == tags
        assert audit(server, bucket)["failed"] == []


def test_what_minio_left_is_opened_and_named_where_it_is_plain(tmp_path: Path) -> None:
    folder = left.unpack("server-fs", tmp_path / "left")
    with Server(tmp_path, OLD, workers=1, command=NAS, data=folder) as server:
        report = job(server, "audit", "--read")
    assert {row["format"] for row in report["found"]} == {"minio"}
    assert report["done"] == len(left.manifest("server-fs"))
    plain = {entry.key for entry in left.manifest("server-fs") if entry.sse_header is None and not entry.is_sse_c}
    assert {failed["key"] for failed in report["failed"]} == plain


def test_it_is_told_to_people_too(tmp_path: Path, bucket: str) -> None:
    with Server(tmp_path, {**OLD, **SOME_PLAIN}, workers=1) as server:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(Bucket=bucket, Key="plain", Body=b"plain")
        server.client().put_object(Bucket=bucket, Key="sealed", Body=b"sealed", ServerSideEncryption="AES256")
        server.client().put_object(Bucket=bucket, Key="ü\nall is well\x1b[2J", Body=b"")
        process = run_job(server, "audit")
    assert process.returncode == 3
    assert "2 objects (5 bytes): not encrypted\n" in process.stdout
    assert "SSE-S3; master key 'my-minio-key' (static)\n" in process.stdout
    assert f"failed: {bucket}/plain: it is not encrypted\n" in process.stdout
    assert f"failed: {bucket}/ü\\nall is well\\x1b[2J: it is not encrypted\n" in process.stdout
