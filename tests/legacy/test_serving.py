"""What MinIO left in a folder, served where it lies: over HTTP, with the settings that MinIO had."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.http.raw import error_of
from tests.jobs import job, run_job
from tests.legacy import left
from tests.openbao import OpenBao
from tests.server import NAS, SERVER, Server

BUCKET = left.BUCKET
AUTO_OFF: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}


@dataclass(frozen=True)
class Place:
    """A folder that MinIO left, served."""

    name: str
    server: Server

    @property
    def client(self) -> Any:
        return self.server.client()

    def entry(self, key: str) -> left.Entry:
        return next(entry for entry in left.manifest(self.name) if entry.key == key)


def keys_of(entry: left.Entry) -> dict[str, str]:
    return left.sse_c() if entry.is_sse_c else {}


def assert_as_minio_showed(client: Any, name: str) -> None:
    """Every object: bytes, whole and in a range; what HEAD and listings say of it."""
    listed = {row["Key"]: row for row in client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert sorted(listed) == sorted(entry.key for entry in left.manifest(name))
    for entry in left.manifest(name):
        here: dict[str, Any] = {"Bucket": BUCKET, "Key": entry.key, **keys_of(entry)}
        got, head = client.get_object(**here), client.head_object(**here)
        assert hashlib.sha256(got["Body"].read()).hexdigest() == entry.sha256
        for shown in (got, head):
            assert (shown["ContentLength"], shown["ETag"], shown["ContentType"]) == (
                entry.size, f'"{entry.etag}"', entry.content_type,
            )  # fmt: skip
            assert {n.lower(): v for n, v in shown["Metadata"].items()} == entry.metadata
            assert shown.get("ServerSideEncryption") == entry.sse_header
        assert (listed[entry.key]["Size"], listed[entry.key]["ETag"]) == (entry.size, f'"{entry.etag}"')
        if entry.size > 3:
            start, end = entry.size // 3, entry.size - 2
            part = client.get_object(**here, Range=f"bytes={start}-{end}")
            assert part["Body"].read() == entry.plaintext[start : end + 1]


@pytest.fixture(params=left.FOLDERS)
def place(request: pytest.FixtureRequest, tmp_path: Path, certificates: Path) -> Iterator[Place]:
    """A folder that MinIO left, served by a NAS gateway over TLS, so that it takes clients' keys."""
    folder = left.unpack(request.param, tmp_path / "left")
    with Server(tmp_path, AUTO_OFF, workers=1, certs=certificates, command=NAS, data=folder) as server:
        yield Place(request.param, server)


def test_every_object_is_as_minio_showed_it(place: Place) -> None:
    assert_as_minio_showed(place.client, place.name)
    assert [bucket["Name"] for bucket in place.client.list_buckets()["Buckets"]] == [BUCKET]


def test_the_server_serves_such_a_folder_too_and_says_so(tmp_path: Path, certificates: Path) -> None:
    folder = left.unpack("server-fs", tmp_path / "left")
    with Server(tmp_path, AUTO_OFF, workers=1, certs=certificates, command=SERVER, data=folder) as server:
        assert_as_minio_showed(server.client(), "server-fs")
        assert "MinIO left objects here" in server.log


def test_adopted_objects_are_still_as_minio_showed_them(place: Place, tmp_path: Path) -> None:
    modified = {row["Key"]: row["LastModified"] for row in place.client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    key = tmp_path / "key"
    key.write_bytes(left.CUSTOMER_KEY)
    count = len(left.manifest(place.name))
    assert adopt(place, "--dry-run", "--sse-c-key-file", str(key))["done"] == count
    customers = sum(entry.is_sse_c for entry in left.manifest(place.name))
    for without in (adopt(place, "--dry-run"), adopt(place)):
        assert (without["done"], len(without["failed"])) == (count - customers, customers)
        reasons = {row["reason"] for row in without["failed"]}
        assert reasons == {"it is encrypted with a key of the client's (SSE-C): give --sse-c-key-file"}
    assert adopt(place, "--sse-c-key-file", str(key))["done"] == customers
    assert adopt(place)["done"] == 0
    assert not [path for path in place.server.directory.rglob("fs.json") if "multipart" not in path.parts[-4]]
    assert_as_minio_showed(place.client, place.name)
    again = {row["Key"]: row["LastModified"] for row in place.client.list_objects_v2(Bucket=BUCKET)["Contents"]}
    assert again == modified


@pytest.mark.parametrize("look", [("adopt", "--dry-run"), ("audit",)])
def test_whoever_only_looks_ends_no_upload_of_minio_s_and_claims_nothing_for_its_key(
    look: tuple[str, ...], tmp_path: Path
) -> None:
    folder = left.unpack("gateway-nas", tmp_path / "left")
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    assert any("multipart" in path.parts for path in before), "uploads that nobody completed, years ago"
    wrong = {**AUTO_OFF, "MINIO_SSE_MASTER_KEY": "my-minio-key:" + "00" * 32}
    run_job(Server(tmp_path, wrong, directory=folder), *look)
    after = {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if ".strongroom.sys" not in path.parts}
    assert after == before
    with Server(tmp_path, AUTO_OFF, workers=1, command=NAS, data=folder):
        pass  # under the right key it is not told that the place belongs to another


def test_an_overwrite_replaces_all_that_minio_left_of_an_object(place: Place) -> None:
    client, here = place.client, {"Bucket": BUCKET, "Key": "s3/size-65537.bin"}
    document = place.server.directory / ".minio.sys" / "buckets" / BUCKET / here["Key"] / "fs.json"
    assert document.exists()
    client.put_object(**here, Body=b"plain", ContentType="text/new")
    got = client.get_object(**here)
    assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"plain", "text/new", {})
    assert "ServerSideEncryption" not in got
    assert not document.exists()
    sealed = {"Bucket": BUCKET, "Key": "s3/size-1.bin"}
    client.put_object(**sealed, Body=b"sealed", ServerSideEncryption="AES256")
    assert client.get_object(**sealed)["Body"].read() == b"sealed"


def test_a_document_that_is_left_over_is_of_no_object_of_ours(place: Place) -> None:
    """As after a kill between the rename of a new file and the end of the old document."""
    client, here = place.client, {"Bucket": BUCKET, "Key": "s3/size-65537.bin"}
    folder = place.server.directory / ".minio.sys" / "buckets" / BUCKET / here["Key"]
    kept = (folder / "fs.json").read_bytes()
    for options in ({}, {"ServerSideEncryption": "AES256"}):
        client.put_object(**here, Body=b"new", **options)
        folder.mkdir(parents=True)
        (folder / "fs.json").write_bytes(kept)
        assert client.get_object(**here)["Body"].read() == b"new"
        shutil.rmtree(folder)


def test_deleting_takes_the_document_along(place: Place) -> None:
    client = place.client
    for entry in left.manifest(place.name):
        client.delete_object(Bucket=BUCKET, Key=entry.key)
    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET)
    system = place.server.directory / ".minio.sys" / "buckets"
    assert not list(system.rglob("fs.json"))
    client.delete_bucket(Bucket=BUCKET)


def test_what_minio_left_is_copied_and_encrypted_otherwise(place: Place) -> None:
    client = place.client
    for entry in left.manifest(place.name):
        source = {"CopySource": {"Bucket": BUCKET, "Key": entry.key}}
        opens = left.sse_c("CopySource") if entry.is_sse_c else {}
        for key, options, reads in (
            ("same", keys_of(entry), keys_of(entry)),
            ("sealed", {"ServerSideEncryption": "AES256"}, {}),
        ):
            client.copy_object(Bucket=BUCKET, Key=f"copies/{key}", **source, **opens, **options)
            got = client.get_object(Bucket=BUCKET, Key=f"copies/{key}", **reads)
            assert hashlib.sha256(got["Body"].read()).hexdigest() == entry.sha256
            assert {n.lower(): v for n, v in got["Metadata"].items()} == entry.metadata


def test_tags_can_be_set_and_removed(place: Place) -> None:
    client = place.client
    for key in ("s3/size-65536.bin", "auto/size-1.bin"):
        here = {"Bucket": BUCKET, "Key": key}
        client.put_object_tagging(**here, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
        assert client.get_object_tagging(**here)["TagSet"] == [{"Key": "a", "Value": "b"}]
        assert client.get_object(**here)["Body"].read() == place.entry(key).plaintext
        client.delete_object_tagging(**here)
        assert client.get_object_tagging(**here)["TagSet"] == []


def test_tags_of_later_releases_are_shown_and_adopted(place: Place) -> None:
    client, here = place.client, {"Bucket": BUCKET, "Key": "s3/size-1.bin"}
    path = place.server.directory / ".minio.sys" / "buckets" / BUCKET / here["Key"] / "fs.json"
    document = json.loads(path.read_bytes())
    document["meta"]["X-Amz-Tagging"] = "a=b&c=d"
    path.write_text(json.dumps(document))
    expected = [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]
    assert client.get_object_tagging(**here)["TagSet"] == expected
    assert client.get_object(**here)["TagCount"] == 2
    adopt(place)
    assert client.get_object_tagging(**here)["TagSet"] == expected


@pytest.mark.parametrize("context", [{}, {"department": "ledger"}])
def test_objects_under_a_named_master_key_are_shown_and_adopted_as_such(place: Place, context: dict[str, str]) -> None:
    """SSE-KMS of later releases, after their sources."""
    client, key = place.client, "s3/size-65537.bin"
    here, path = {"Bucket": BUCKET, "Key": key}, left.document_path(place.server.directory, key)
    path.write_bytes(left.under_sse_kms(place.entry(key), path.read_bytes(), context))

    def assert_shown() -> None:
        got = client.get_object(**here)
        assert (got["Body"].read(), got["ETag"]) == (place.entry(key).plaintext, f'"{place.entry(key).etag}"')
        assert (got["ServerSideEncryption"], got["SSEKMSKeyId"]) == ("aws:kms", left.MASTER_KEY_NAME)
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"][0]
        assert (listed["ETag"], listed["Size"]) == (got["ETag"], place.entry(key).size)

    assert_shown()
    copied = client.copy_object(Bucket=BUCKET, Key="copy", CopySource=here)
    assert "ServerSideEncryption" not in copied
    assert client.get_object(Bucket=BUCKET, Key="copy")["Body"].read() == place.entry(key).plaintext
    assert adopt(place)["done"]
    assert not path.exists()
    assert_shown()
    assert not any(
        hashlib.md5(place.entry(key).plaintext).hexdigest().encode() in file.read_bytes()
        for file in (place.server.directory / BUCKET / "s3").iterdir()
    )


def test_what_was_altered_is_not_given_out(place: Place) -> None:
    client, directory = place.client, place.server.directory
    stream = directory / BUCKET / "s3" / "size-65535.bin"
    data = bytearray(stream.read_bytes())
    data[100] ^= 1
    stream.write_bytes(data)
    assert error_of(client.get_object, Bucket=BUCKET, Key="s3/size-65535.bin")[1] == 500
    (directory / BUCKET / "s3" / "size-1.bin").write_bytes((directory / BUCKET / "auto" / "size-1.bin").read_bytes())
    assert error_of(client.get_object, Bucket=BUCKET, Key="s3/size-1.bin")[1] == 500
    reasons = {row["key"]: row["reason"] for row in adopt(place)["failed"]}
    assert reasons.keys() >= {"s3/size-65535.bin", "s3/size-1.bin"}
    assert not [key for key, reason in reasons.items() if key in reason]


def test_ciphertext_whose_document_is_lost_is_not_given_out(place: Place) -> None:
    system = place.server.directory / ".minio.sys" / "buckets" / BUCKET
    for entry in left.manifest(place.name):
        sealed = entry.sse_header is not None or entry.is_sse_c
        document = system / entry.key / "fs.json"
        document.unlink()
        if entry.size == 5_313_004:
            document.symlink_to("/etc/hostname")
        status = error_of(place.client.get_object, Bucket=BUCKET, Key=entry.key)[1]
        assert status == (500 if sealed and entry.size else 200), entry


def test_another_master_key_is_named_in_the_error(tmp_path: Path) -> None:
    folder = left.unpack("gateway-nas", tmp_path / "left")
    settings: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": "my-minio-key:" + "11" * 32}
    with Server(tmp_path, settings, workers=1, command=NAS, data=folder) as server:
        got = error_of(server.client().get_object, Bucket=BUCKET, Key="s3/size-1.bin")
        assert got == ("AccessDenied", 403)
        assert "another key of the same name" in server.log
        listed = server.client().list_objects_v2(Bucket=BUCKET)["Contents"]
        assert {row["Key"]: row["Size"] for row in listed}["s3/size-1000003.bin"] == 1_000_003


def test_the_key_that_vault_held_opens_them_restored_into_another(tmp_path: Path, certificates: Path) -> None:
    folder, key = left.unpack("server-fs-vault", tmp_path / "left"), left.MASTER_KEY_NAME
    with OpenBao(tmp_path / "bao") as bao:
        bao.prepare()
        bao.restore(key, (left.FIXTURES / "vault-transit-key.backup").read_text().strip())
        settings = bao.role("minio", key).settings(MINIO_SSE_AUTO_ENCRYPTION=None)
        with Server(tmp_path, settings, workers=1, certs=certificates, command=NAS, data=folder) as server:
            place = Place("server-fs-vault", server)
            assert_as_minio_showed(place.client, place.name)
            bao.write_policy("minio", "another-key")
            assert error_of(place.client.get_object, Bucket=BUCKET, Key="s3/size-1.bin") == ("AccessDenied", 403)
            bao.write_policy("minio", key)
            customer_key = tmp_path / "key"
            customer_key.write_bytes(left.CUSTOMER_KEY)
            assert adopt(place, "--sse-c-key-file", str(customer_key))["done"] == len(left.manifest(place.name))
            assert_as_minio_showed(place.client, place.name)


def test_a_key_in_vault_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    folder = left.unpack("server-fs-vault", tmp_path / "left")
    with Server(tmp_path, workers=1, command=NAS, data=folder) as server:
        got = error_of(server.client().get_object, Bucket=BUCKET, Key="s3/size-1.bin")
        assert got == ("KMS.NotFoundException", 400)


def test_objects_are_whole_when_adopting_is_killed(place: Place) -> None:
    for delay in (0.8, 1.2, 1.6):
        arguments = [sys.executable, "-m", "strongroom", "adopt", str(place.server.directory), "--tasks", "1"]
        with subprocess.Popen(arguments, env=place.server.environment, stdout=subprocess.DEVNULL) as process:
            time.sleep(delay)
            process.kill()
        assert_as_minio_showed(place.client, place.name)
    assert not [row for row in adopt(place)["failed"] if "SSE-C" not in row["reason"]]
    assert_as_minio_showed(place.client, place.name)


def test_an_object_in_a_form_that_is_not_covered_says_what_to_do(place: Place) -> None:
    client, key = place.client, "s3/size-65537.bin"
    path = place.server.directory / ".minio.sys" / "buckets" / BUCKET / key / "fs.json"
    document = json.loads(path.read_bytes())
    document["meta"]["X-Minio-Internal-Server-Side-Encryption-Seal-Algorithm"] = "DARE-SHA256"
    path.write_text(json.dumps(document))
    with pytest.raises(client.exceptions.ClientError, match=r"DARE 1\.0.*strongroom import") as refused:
        client.get_object(Bucket=BUCKET, Key=key)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert key in {row["Key"] for row in client.list_objects_v2(Bucket=BUCKET)["Contents"]}


def test_unfinished_uploads_are_swept_after_the_set_age(tmp_path: Path) -> None:
    folder = left.unpack("gateway-nas", tmp_path / "left")
    unfinished = folder / ".minio.sys" / "multipart"
    for path in unfinished.rglob("*"):
        os.utime(path)
    assert list(unfinished.iterdir())
    with Server(tmp_path, workers=1, command=NAS, data=folder):
        pass
    assert list(unfinished.iterdir())
    for path in unfinished.rglob("*"):
        os.utime(path, (0, 0))
    with Server(tmp_path, workers=1, command=NAS, data=folder):
        pass
    assert not list(unfinished.iterdir())


@pytest.mark.parametrize(("layout", "reason"), [("xl", "several drives"), ("xl-single", "xl.meta")])
@pytest.mark.parametrize("command", [NAS, SERVER])
def test_the_layouts_of_drives_are_refused_with_a_way_out(
    tmp_path: Path, layout: str, reason: str, command: tuple[str, ...]
) -> None:
    (tmp_path / ".minio.sys").mkdir()
    (tmp_path / ".minio.sys" / "format.json").write_text(json.dumps({"version": "1", "format": layout}))
    server = Server(tmp_path / "home", command=command)
    process = run([*command, str(tmp_path)], server)
    assert (process.returncode, process.stderr.count("\n")) == (2, 1)
    assert reason in process.stderr
    assert "strongroom import" in process.stderr


def adopt(place: Place, *arguments: str) -> Any:
    """Run ``strongroom adopt`` beside the gateway; its report."""
    return job(place.server, "adopt", *arguments)


def run(arguments: list[str], server: Server) -> subprocess.CompletedProcess[str]:
    server.home.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "strongroom", *arguments], env=server.environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
