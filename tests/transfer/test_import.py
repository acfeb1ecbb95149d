"""``strongroom import`` from a real MinIO of today, whose objects it encrypts, into a server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.mounts import small_file_system
from tests.server import ACCESS_KEY, SECRET_KEY, Server
from tests.transfer.conftest import Ended, environment
from tests.transfer.minio import MinIO

pytestmark = pytest.mark.local  # it speaks S3 and nothing else; one kind of server says it all

Run = Callable[..., Ended]
SSE_S3: dict[str, Any] = {"ServerSideEncryption": "AES256"}
PART = 5 * 1024 * 1024


def test_objects_come_over_with_all_that_belongs_to_them(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run
) -> None:
    said = {
        "ContentType": "text/x", "CacheControl": "no-store", "ContentLanguage": "de",
        "ContentDisposition": "inline", "Metadata": {"owner": "audit"}, "Tagging": "a=b&c=d%20e",
    }  # fmt: skip
    body = os.urandom(100_000)
    source.put_object(Bucket=bucket_name, Key="sealed/ü &+.bin", Body=body, **SSE_S3, **said)
    source.put_object(Bucket=bucket_name, Key="plain", Body=b"plain")
    source.put_object(Bucket=bucket_name, Key="empty", Body=b"", **SSE_S3)
    ended = strongroom("import", *ends, "--json")
    assert ended.code == 0, ended
    assert (ended.report["done"], ended.report["bytes"], ended.report["failed"]) == (3, 100_005, [])
    client = tls_server.client()
    got = client.get_object(Bucket=bucket_name, Key="sealed/ü &+.bin")
    assert got["Body"].read() == body
    assert {name: got[name] for name in said if name in got} == {n: v for n, v in said.items() if n != "Tagging"}
    tags = client.get_object_tagging(Bucket=bucket_name, Key="sealed/ü &+.bin")["TagSet"]
    assert tags == [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d e"}]
    assert got["ServerSideEncryption"] == "AES256"
    for key, expected in (("plain", b"plain"), ("empty", b"")):
        assert client.get_object(Bucket=bucket_name, Key=key)["Body"].read() == expected


def test_headers_that_are_neither_ascii_nor_dates_come_over_as_they_are(
    server: Server, bucket: str, strongroom: Run
) -> None:
    """From a server like ours: MinIO shows no Expires that is not a date."""
    said = {
        "content-disposition": 'attachment; filename="Übersicht €.txt"', "expires": "-1", "x-amz-meta-owner": "Jürgen",
    }  # fmt: skip
    client = server.client()
    client.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update(said))
    client.put_object(Bucket=bucket, Key="o", Body=b"x")
    here = {"Bucket": bucket, "Key": "parts"}
    upload = client.create_multipart_upload(**here)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": client.upload_part(**here, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in ((1, bytes(PART)), (2, b"x"))
    ]
    client.complete_multipart_upload(**here, UploadId=upload, MultipartUpload={"Parts": parts})
    keys = {"STRONGROOM_SOURCE_ACCESS_KEY": ACCESS_KEY, "STRONGROOM_SOURCE_SECRET_KEY": SECRET_KEY}
    copies = f"{bucket}-copies"
    ended = strongroom("import", f"{server.endpoint}/{bucket}", f"{server.endpoint}/{copies}", "--json", **keys)
    assert (ended.code, ended.report["failed"]) == (0, [])
    for key in ("o", "parts"):
        shown = server.client().head_object(Bucket=copies, Key=key)["ResponseMetadata"]["HTTPHeaders"]
        assert {name: shown[name].encode("latin-1").decode() for name in said} == said


def test_multipart_objects_keep_their_parts_and_so_their_etags(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run
) -> None:
    here, bodies = {"Bucket": bucket_name, "Key": "big"}, [os.urandom(PART), os.urandom(PART), b"end"]
    upload = source.create_multipart_upload(**here)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": source.upload_part(**here, UploadId=upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    source.complete_multipart_upload(**here, UploadId=upload, MultipartUpload={"Parts": parts})
    assert strongroom("import", *ends).code == 0
    got = tls_server.client().get_object(**here)
    assert got["Body"].read() == b"".join(bodies)
    assert got["ETag"] == source.head_object(**here)["ETag"]


def test_objects_with_keys_of_clients_come_over_with_the_key(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run, tmp_path: Path
) -> None:
    source.put_object(Bucket=bucket_name, Key="c", Body=b"body", **SSE_C)
    without = strongroom("import", *ends, "--json")
    assert (without.code, len(without.report["failed"])) == (3, 1)
    assert "SSE-C" in without.report["failed"][0]["reason"]
    key = tmp_path / "key"
    key.write_bytes(SSE_C["SSECustomerKey"])
    assert strongroom("import", *ends, "--sse-c-key-file", str(key)).code == 0
    client = tls_server.client()
    assert client.get_object(Bucket=bucket_name, Key="c", **SSE_C)["Body"].read() == b"body"
    assert error_of(client.get_object, Bucket=bucket_name, Key="c")[1] == 400


def test_what_was_copied_is_not_copied_again_unless_it_changed(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run
) -> None:
    for key in ("a", "b"):
        source.put_object(Bucket=bucket_name, Key=key, Body=b"old")
    assert strongroom("import", *ends).code == 0
    source.put_object(Bucket=bucket_name, Key="b", Body=b"newer")
    dry = strongroom("import", *ends, "--json", "--dry-run").report
    again = strongroom("import", *ends, "--json").report
    for report in (dry, again):
        assert (report["done"], report["done_before"], report["bytes"]) == (1, 1, 5)
    assert tls_server.client().get_object(Bucket=bucket_name, Key="b")["Body"].read() == b"newer"


def test_an_object_that_others_wrote_at_the_target_is_left_alone(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run
) -> None:
    source.put_object(Bucket=bucket_name, Key="o", Body=b"source")
    client = tls_server.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="o", Body=b"target")
    ended = strongroom("import", *ends)
    assert (ended.code, "at the target" in ended.out) == (3, True)
    assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"target"
    assert strongroom("import", *ends, "--overwrite").code == 0
    assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"source"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_one_that_was_stopped_goes_on_where_it_was(
    source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str, strongroom: Run, tmp_path: Path,
    number: signal.Signals,
) -> None:  # fmt: skip
    body = os.urandom(17 * 1024 * 1024)
    for n in range(4):
        source.put_object(Bucket=bucket_name, Key=f"{n}", Body=body)
    arguments = [sys.executable, "-m", "strongroom", "import", *ends, "--threads", "1"]
    client = tls_server.client()
    with subprocess.Popen(arguments, env=environment(tmp_path / "home"), stdout=subprocess.PIPE) as process:
        while error_of(client.head_object, Bucket=bucket_name, Key="1")[1] != 200:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        code = process.wait(60)
    assert code == (130 if number == signal.SIGTERM else -number)
    ended = strongroom("import", *ends, "--json")
    assert ended.code == 0
    assert 1 <= ended.report["done_before"] < 4
    assert ended.report["done"] + ended.report["done_before"] == 4
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket_name)
    for n in range(4):
        assert client.get_object(Bucket=bucket_name, Key=f"{n}")["Body"].read() == body


def test_all_buckets_are_copied(minio: MinIO, source: Any, ends: tuple[str, ...], tls_server: Server, bucket_name: str,
                                strongroom: Run) -> None:  # fmt: skip
    source.put_object(Bucket=bucket_name, Key="o", Body=b"x")
    strongroom("import", minio.endpoint, *ends[1:], "--overwrite")
    assert tls_server.client().get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"x"


WRONG = [
    (("ftp://x", "http://y"), 2, "SOURCE"),
    (("http://a:b@x", "http://y"), 2, "credentials"),
    (("http://x/bucket", "http://y/bucket/prefix"), 2, "TARGET"),
    (("http://x", "http://y/bucket"), 2, "SOURCE must name one"),
    (("http://127.0.0.1:1/b", "http://127.0.0.1:1", "--sse-c-key-file", "/nowhere"), 2, "/nowhere"),
    (
        ("http://127.0.0.1:1/b", "http://127.0.0.1:1", "--sse-c-key-file", "/dev/null"),
        2,
        "0 bytes; it must hold the 32",
    ),
    (("http://127.0.0.1:1/b", "http://127.0.0.1:1"), 1, "127.0.0.1:1"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], code: int, said: str, strongroom: Run) -> None:
    ended = strongroom("import", *arguments)
    assert (ended.code, ended.err.count("\n")) == (code, 1)
    assert said in ended.err


def test_half_a_pair_of_keys_is_refused(strongroom: Run) -> None:
    ended = strongroom("import", "http://127.0.0.1:1/b", "http://127.0.0.1:1", STRONGROOM_SOURCE_SECRET_KEY="")
    assert (ended.code, "STRONGROOM_SOURCE_SECRET_KEY" in ended.err) == (2, True)


@pytest.mark.parametrize("left", [0, 400_000])  # from the start; as soon as some objects are copied
def test_a_full_disk_of_the_state_file_is_said_and_the_import_goes_on_when_there_is_room(
    server: Server, bucket: str, strongroom: Run, tmp_path: Path, left: int
) -> None:
    client, keys = server.client(), [f"{number:03}-{'k' * 900}" for number in range(40)]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    credentials = {"STRONGROOM_SOURCE_ACCESS_KEY": ACCESS_KEY, "STRONGROOM_SOURCE_SECRET_KEY": SECRET_KEY}
    ends = (f"{server.endpoint}/{bucket}", f"{server.endpoint}/{bucket}-copies")
    with small_file_system(tmp_path / "disk", 8) as disk:
        state, filling = disk / "state.db", disk / "filling"
        filling.write_bytes(bytes(8 * 1024**2 - os.sysconf("SC_PAGE_SIZE") - left))
        command = ("import", *ends, "--state-file", str(state), "--json")
        ended = strongroom(*command, **credentials)
        said = f"strongroom: {state}: there is no room left: make some, and the same command goes on from here\n"
        assert (ended.code, ended.err) == (1, said)
        filling.unlink()
        again = strongroom(*command, **credentials)
        assert (again.code, again.report["done"] + again.report["done_before"]) == (0, len(keys))
        assert bool(again.report["done_before"]) == bool(left)
