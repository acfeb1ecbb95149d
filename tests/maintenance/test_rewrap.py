"""``strongroom rewrap``: from one master key to another, while clients go on; then the old one can be taken away."""

from __future__ import annotations

import base64
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.customer_keys import SSE_C
from tests.gateway_s3.test_data_that_was_there import ID, RECORD, spoil
from tests.jobs import job, run_job
from tests.kms.test_transit import raise_version
from tests.legacy import left
from tests.maintenance.conftest import Serve
from tests.openbao import OpenBao
from tests.server import MASTER_KEY, NAS, Server
from tests.storage import index

NEW_KEY = "new-key:" + "5a" * 32
OLD: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": MASTER_KEY}
BOTH: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": NEW_KEY, "STRONGROOM_READ_KEYS": MASTER_KEY}
NEW: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": NEW_KEY}
PART = 5 * 1024**2


@dataclass
class Put:
    """An object that was put: how, and what it is."""

    body: bytes
    how: dict[str, Any] = field(default_factory=dict)
    tags: str = ""

    @property
    def keys(self) -> dict[str, str]:
        return {name: value for name, value in self.how.items() if name in SSE_C}


OBJECTS = {
    "empty": Put(b""),
    "small": Put(b"small" * 100, {"Metadata": {"of": "the client"}, "ContentType": "text/small"}),
    "tagged": Put(b"tagged", tags="colour=green&size=1"),
    "a/folder/": Put(b"", {"Metadata": {"of": "the client"}}, "colour=red"),
    "large": Put(bytes(range(256)) * 8192, {"ChecksumAlgorithm": "SHA256"}),
    "of-a-client/with-tags": Put(b"the client's", SSE_C, "colour=blue"),
    "of-a-client/without": Put(b"the client's", SSE_C),
}
PARTS = [bytes([number]) * PART for number in range(2)] + [b"the end"]
WRAPPED = len(OBJECTS) + 1 - 1  # and the one in parts, but for the one that no key of ours is needed for


def fill(client: Any, bucket: str) -> None:
    client.create_bucket(Bucket=bucket)
    for key, put in OBJECTS.items():
        client.put_object(Bucket=bucket, Key=key, Body=put.body, Tagging=put.tags, **put.how)
    here = {"Bucket": bucket, "Key": "in/parts"}
    upload = client.create_multipart_upload(**here, Metadata={"in": "parts"})["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**here, UploadId=upload, PartNumber=n, Body=part)["ETag"]}
        for n, part in enumerate(PARTS, 1)
    ]
    client.complete_multipart_upload(**here, UploadId=upload, MultipartUpload={"Parts": parts})


def seen(client: Any, bucket: str) -> dict[str, Any]:
    """All that clients see of each object, but for the time that a backend gives it anew."""
    listed = {row["Key"]: (row["ETag"], row["Size"]) for row in client.list_objects_v2(Bucket=bucket)["Contents"]}
    found: dict[str, Any] = {}
    for key in listed:
        here = {"Bucket": bucket, "Key": key, **(OBJECTS[key].keys if key in OBJECTS else {})}
        got = client.get_object(**here)
        tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        shown = [got.get(name) for name in ("ETag", "ContentType", "ChecksumSHA256", "ServerSideEncryption")]
        found[key] = (got["Body"].read(), shown, got["Metadata"], tags, listed[key])
    return found


def rewrap(server: Server, bucket: str, *arguments: str) -> Any:
    """Rewrap all there is; of a backend, which other tests share, one bucket."""
    return job(server, "rewrap", *(("--bucket", bucket) if server.backend else ()), *arguments)


@pytest.fixture
def bucket(bucket_name: str) -> str:
    return bucket_name


def denied(client: Any, bucket: str, key: str) -> bool:
    try:
        client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError:
        return True
    return False


@pytest.mark.every_backend
def test_the_old_key_can_be_taken_away_after_it(serve: Serve, bucket: str) -> None:
    server = serve(OLD)
    fill(server.client(), bucket)
    before = seen(server.client(), bucket)
    modified = {row["Key"]: row["LastModified"] for row in server.client().list_objects(Bucket=bucket)["Contents"]}

    server = serve(BOTH)
    assert rewrap(server, bucket, "--dry-run")["done"] == WRAPPED
    server = serve(OLD)  # for which that changed nothing
    assert seen(server.client(), bucket) == before
    server.client().put_object(Bucket=bucket, Key="more", Body=b"x")
    server.client().delete_object(Bucket=bucket, Key="more")

    server = serve(BOTH)
    report = rewrap(server, bucket)
    assert (report["done"], report["failed"], report["finished"]) == (WRAPPED, [], True)
    assert any("'new-key' (static)" in note for note in report["notes"])
    assert rewrap(server, bucket)["done"] == 0
    assert seen(server.client(), bucket) == before

    server = serve(NEW)
    assert seen(server.client(), bucket) == before
    if not server.backend:
        rows = server.client().list_objects(Bucket=bucket)["Contents"]
        assert {row["Key"]: row["LastModified"] for row in rows} == modified
    server.client().put_object(Bucket=bucket, Key="new", Body=b"new")

    if server.command != NAS and not server.backend:  # others refuse to start, or to write, with another KMS's key
        assert denied(serve(OLD).client(), bucket, "small")


@pytest.mark.every_backend
def test_clients_write_and_tag_meanwhile(request: pytest.FixtureRequest, serve: Serve, bucket: str) -> None:
    # versitygw looks at conditions a moment before it completes (docs/gateway-s3.md): there, these are other objects.
    apart = request.node.callspec.params["serve"] == "versitygw"
    client = serve(OLD).client()
    client.create_bucket(Bucket=bucket)
    keys = [f"{number:03}" for number in range(60)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"old " + key.encode(), Tagging="n=0")
    server = serve(BOTH)
    over = threading.Event()
    wrong: list[Exception] = []

    def work(write: Any) -> None:
        client, number = server.client(), 0
        try:
            while not over.is_set():
                write(client, keys[number % len(keys)], number)
                number += 1
        except Exception as error:
            wrong.append(error)

    def put(client: Any, key: str, number: int) -> None:
        client.put_object(Bucket=bucket, Key=f"{key}-{apart}", Body=f"put {number}".encode(), Tagging="n=1")
        if not apart:
            client.put_object(Bucket=bucket, Key=key, Body=f"put {number}".encode(), Tagging="n=1")

    def tag(client: Any, key: str, number: int) -> None:
        tags = {"TagSet": [{"Key": "n", "Value": str(number)}]}
        try:
            client.put_object_tagging(Bucket=bucket, Key=keys[-1 - keys.index(key)], Tagging=tags)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ConditionalRequestConflict", error.response

    threads = [threading.Thread(target=work, args=(write,)) for write in (put, tag)]
    for thread in threads:
        thread.start()
    try:
        report = rewrap(server, bucket)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert report["failed"] == []
    rewrap(server, bucket)  # what was put since it began: workers remember the former listing key for some minutes
    assert rewrap(server, bucket)["done"] == 0
    server = serve(NEW)
    for key in keys:
        assert server.client().get_object(Bucket=bucket, Key=key)["Body"].read()[:4] in (b"old ", b"put ")
        assert server.client().get_object_tagging(Bucket=bucket, Key=key)["TagSet"]


def test_whoever_could_read_a_file_of_a_shared_folder_still_can(tmp_path: Path, bucket: str) -> None:
    """Gateways of another user in the same group, say, and back-ups."""
    with Server(tmp_path, OLD, workers=1, command=NAS) as server:
        client = server.client()
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="o", Body=b"content")
        file = server.directory / bucket / "o"
        file.chmod(0o640)
        server.settings = BOTH
        assert rewrap(server, bucket)["done"] == 1
        assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.every_backend
def test_that_of_a_shared_folder_more_than_its_buckets_needs_the_old_key_is_said(tmp_path: Path, bucket: str) -> None:
    def notes(server: Server, *arguments: str) -> bool:
        report = job(server, "rewrap", *arguments)
        assert report["failed"] == []
        return any("the check value of the whole place is still under" in note for note in report["notes"])

    with Server(tmp_path, OLD, command=NAS, workers=1) as server:
        server.client().create_bucket(Bucket=bucket)
        server.client().put_object(Bucket=bucket, Key="o", Body=b"o")
        server.settings = {**server.settings, **BOTH}  # of the job
        assert notes(server, "--bucket", bucket)
        assert not notes(server)
        assert not notes(server, "--bucket", bucket)


def test_an_open_upload_is_told_of_and_can_be_completed(serve: Serve, bucket: str) -> None:
    client = serve(OLD).client()
    client.create_bucket(Bucket=bucket)
    here = {"Bucket": bucket, "Key": "open"}
    upload = client.create_multipart_upload(**here)["UploadId"]
    part = client.upload_part(**here, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]

    server = serve(BOTH)
    report = rewrap(server, bucket)
    (failed,) = report["failed"]
    assert (failed["bucket"], failed["key"]) == (bucket, "open")
    assert "is open, under 'my-minio-key' (static)" in failed["reason"]
    server = serve(OLD)  # which goes on until all is done
    server.client().put_object(Bucket=bucket, Key="more", Body=b"more")

    server = serve(BOTH)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    server.client().complete_multipart_upload(**here, UploadId=upload, MultipartUpload=parts)
    report = rewrap(server, bucket)
    assert (report["done"], report["failed"]) == (2, [])
    assert server.client().get_object(**here)["Body"].read() == b"part"


def test_what_a_client_put_under_a_key_by_its_name_goes_elsewhere_only_on_purpose(serve: Serve, bucket: str) -> None:
    client, named = serve(OLD).client(), {"Bucket": bucket, "Key": "named"}
    client.create_bucket(Bucket=bucket)
    context = base64.b64encode(b'{"department":"ledger"}').decode()
    kms: dict[str, Any] = {
        "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/my-minio-key", "SSEKMSEncryptionContext": context,
    }  # fmt: skip
    put = client.put_object(**named, Body=b"named", Tagging="colour=green", **kms)
    parts = {"Bucket": bucket, "Key": "parts"}
    upload = client.create_multipart_upload(**parts, **kms)["UploadId"]
    part = client.upload_part(**parts, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    client.complete_multipart_upload(
        **parts, UploadId=upload, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]}
    )
    client.put_object(Bucket=bucket, Key="other", Body=b"other", ServerSideEncryption="aws:kms")

    server = serve(BOTH)
    report = rewrap(server, bucket)
    assert (report["done"], sorted(row["key"] for row in report["failed"])) == (1, ["named", "parts"])
    assert all("'my-minio-key'" in row["reason"] for row in report["failed"])
    report = rewrap(server, bucket, "--key", "alias/my-minio-key=new-key")
    assert (report["done"], report["failed"]) == (2, [])

    client = serve(NEW).client()
    got = client.get_object(**named)
    assert (got["Body"].read(), got["ETag"], got["SSEKMSKeyId"]) == (b"named", put["ETag"], "new-key")
    assert client.get_object_tagging(**named)["TagSet"] == [{"Key": "colour", "Value": "green"}]
    assert client.get_object(**parts)["Body"].read() == b"part"


@pytest.mark.parametrize("key", ["old", "=new", "old=", "alias/=new"])
def test_a_key_is_renamed_from_something_to_something(tmp_path: Path, key: str) -> None:
    process = run_job(Server(tmp_path, OLD, directory=tmp_path), "rewrap", "--key", key)
    assert process.returncode == 2
    assert "is not OLD=NEW" in process.stderr


@pytest.fixture
def vault(bao: OpenBao) -> Iterator[dict[str, str | None]]:
    yield bao.role("rewrap", "rewrap-key").settings()


def test_from_a_static_key_to_the_kms_and_from_one_version_to_the_next(
    tmp_path: Path, bao: OpenBao, vault: dict[str, str | None], bucket: str
) -> None:
    settings = {**vault, "STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with Server(tmp_path, {**OLD, "STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}, workers=1) as server:
        fill(server.client(), bucket)
        before = seen(server.client(), bucket)
    with Server(tmp_path, {**settings, "STRONGROOM_READ_KEYS": MASTER_KEY}, workers=1) as server:
        assert job(server, "rewrap")["done"] == WRAPPED
    with Server(tmp_path, settings, workers=1) as server:
        assert seen(server.client(), bucket) == before
        raise_version(bao, "rewrap-key")
        assert denied(server.client(), bucket, "small")
        bao.api("POST", "transit/keys/rewrap-key/config", {"min_decryption_version": 1})
        report = job(server, "rewrap")
        assert (report["done"], report["failed"]) == (WRAPPED, [])
        assert any("'rewrap-key' (transit, version 2)" in note for note in report["notes"])
        bao.api("POST", "transit/keys/rewrap-key/config", {"min_decryption_version": 2})
        assert seen(server.client(), bucket) == before


def test_what_minio_left_is_to_be_adopted(tmp_path: Path, certificates: Path) -> None:
    folder = left.unpack("server-fs", tmp_path / "left")
    encrypted = [e for e in left.manifest("server-fs") if e.sse_header == "AES256"]
    with Server(tmp_path, BOTH, workers=1, certs=certificates, command=NAS, data=folder) as server:
        report = job(server, "rewrap")
        assert len(report["failed"]) == len(encrypted)
        assert all("adopting it seals it anew" in failed["reason"] for failed in report["failed"])
        assert job(server, "adopt")["done"]
        assert (job(server, "rewrap")["failed"], job(server, "rewrap")["done"]) == ([], 0)
    with Server(tmp_path, NEW, workers=1, certs=certificates, command=NAS, data=folder) as server:
        got = server.client().get_object(Bucket=left.BUCKET, Key=encrypted[0].key)
        assert got["Body"].read() == encrypted[0].plaintext


@pytest.mark.parametrize(
    ("settings", "place", "said"),
    [
        ({"MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None}, "", "needs a KMS"),
        ({}, "nothing-here", "nothing that Strongroom serves is in"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, settings: dict[str, str | None], place: str, said: str
) -> None:
    server = Server(tmp_path, dict(OLD), workers=1)
    with server:
        pass
    server.settings = {**OLD, **settings}
    server.directory /= place
    process = run_job(server, "rewrap")
    assert process.returncode == 2
    assert said in process.stderr and process.stderr.count("\n") == 1


def test_an_object_whose_record_cannot_be_read_is_named_and_not_passed_over(
    request: pytest.FixtureRequest, serve: Serve, bucket: str
) -> None:
    """Whether it needs the old key, nobody knows: it must not be taken away yet."""
    server = serve(OLD)
    client = server.client()
    client.create_bucket(Bucket=bucket)
    for key in ("good", "unreadable"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    if server.backend:
        spoil(request.getfixturevalue("minio").client(), bucket, "unreadable", {ID: "A" * 22, RECORD: "not base64"})
    elif server.command == NAS:
        file = server.directory / bucket / "unreadable"
        os.truncate(file, file.stat().st_size - 1)
    else:
        with closing(index(server)) as connection, connection:
            connection.execute("UPDATE objects SET record = x'ff' WHERE key = CAST('unreadable' AS BLOB)")
    report = rewrap(serve(BOTH), bucket)
    assert (report["done"], [failed["key"] for failed in report["failed"]]) == (1, ["unreadable"])
