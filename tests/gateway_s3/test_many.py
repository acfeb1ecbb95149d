"""Many gateways before one backend, killed at will; a backend that is killed under load; and the sweep beside them."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from strongroom.store.base import Condition
from strongroom.store.errors import ObjectChanged
from strongroom.store.s3 import Client, S3Store
from strongroom.store.s3.metadata import BACKEND_ID, HiddenRecord
from strongroom.store.s3.sweep import Sweep, Swept
from tests.backends import Backend
from tests.gateway_s3.conftest import Gateway
from tests.http.raw import signed_headers
from tests.store.kinds import PLAIN, client_for, put
from tests.waiting import comes

PART = os.urandom(5 * 1024**2)


def sweep(backend: Backend, bucket: str, age: float, dry: bool = False) -> Swept:
    """Sweep a bucket of all that is older than ``age`` seconds."""

    async def run() -> Swept:
        client = client_for(backend)
        await client.start()
        try:
            return await Sweep(client, bucket, age=age, dry=dry).run()
        finally:
            await client.stop()

    return asyncio.run(run())


def persistently(call: Callable[..., Any], options: dict[str, Any]) -> Any:
    """What ``call`` answers in the end: a gateway may be gone for a moment."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return call(**options)
        except (ClientError, BotoCoreError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_parts_alternate_between_gateways_while_one_is_killed_again_and_again(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    steady, shaky = gateway(backend), gateway(backend, alone=True)
    clients = [steady.client(), shaky.client()]
    clients[0].create_bucket(Bucket=bucket_name)
    target = {"Bucket": bucket_name, "Key": "o"}
    upload = clients[0].create_multipart_upload(**target, Metadata={"a": "b"})["UploadId"]
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.5):
            shaky.kill()
            shaky.start()

    killer = threading.Thread(target=kill)
    killer.start()
    parts, bodies = [], [PART[number:] + PART[:number] for number in range(6)]
    try:
        for number, body in enumerate(bodies, 1):
            put = {**target, "UploadId": upload, "PartNumber": number, "Body": body}
            answer = persistently(clients[number % 2].upload_part, put)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    finally:
        over.set()
        killer.join()
    for client in clients:
        listed = client.list_parts(**target, UploadId=upload)["Parts"]
        assert [(part["PartNumber"], part["ETag"], part["Size"]) for part in listed] == [
            (part["PartNumber"], part["ETag"], len(PART)) for part in parts
        ]
        assert [item["Key"] for item in client.list_multipart_uploads(Bucket=bucket_name)["Uploads"]] == ["o"]
    made = clients[1].complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert made["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-6"'
    got = clients[0].get_object(**target)
    assert (got["Body"].read(), got["Metadata"]) == (b"".join(bodies), {"a": "b"})
    assert "Uploads" not in clients[0].list_multipart_uploads(Bucket=bucket_name)
    assert sweep(backend, bucket_name, age=0).count == 0


def test_what_was_acknowledged_outlives_a_backend_that_is_killed_under_load(
    gateway: Gateway, tmp_path: Path, bucket_name: str
) -> None:
    with Backend("minio", tmp_path / "backend") as backend:
        server = gateway(backend, {"STRONGROOM_BACKEND_TIMEOUT": "5"}, alone=True)
        server.client().create_bucket(Bucket=bucket_name)
        acknowledged: dict[str, bytes] = {}
        over = threading.Event()

        def write(writer: int) -> None:
            client, number = server.client(), 0
            while not over.is_set():
                number += 1
                size = (100, 70_000, 7_000_000)[number % 3]
                key, body = f"{writer}-{number % 12}", bytes([writer, number % 256]) * (size // 2)
                try:
                    client.put_object(Bucket=bucket_name, Key=key, Body=body)
                except (ClientError, BotoCoreError):
                    acknowledged.pop(key, None)  # the old one or the new one may be there
                    continue
                acknowledged[key] = body

        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        for _ in range(2):
            time.sleep(1.5)
            backend.kill()
            time.sleep(0.3)
            backend.start()
        time.sleep(1)
        over.set()
        for writer in writers:
            writer.join()
        assert len(acknowledged) > 10
        for key, body in acknowledged.items():
            assert server.client().get_object(Bucket=bucket_name, Key=key)["Body"].read() == body
        for item in server.client().list_objects_v2(Bucket=bucket_name)["Contents"]:
            whole = server.client().get_object(Bucket=bucket_name, Key=item["Key"])["Body"].read()
            assert len(whole) == item["Size"]


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_the_sweep_finds_orphans_and_only_orphans(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    server, raw = gateway(backend), backend.client()
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    for key in ("kept", "overwritten", "gone behind our back"):
        client.put_object(Bucket=bucket_name, Key=key, Body=PART * 2)
    client.put_object(Bucket=bucket_name, Key="overwritten", Body=b"small")  # its record was hidden, and is an orphan
    raw.delete_object(Bucket=bucket_name, Key="gone behind our back")
    kept = {"Bucket": bucket_name, "Key": "open"}
    upload = client.create_multipart_upload(**kept)["UploadId"]
    etag = client.upload_part(**kept, UploadId=upload, PartNumber=1, Body=b"part")["ETag"]
    dead = client.create_multipart_upload(Bucket=bucket_name, Key="dead")["UploadId"]
    client.upload_part(Bucket=bucket_name, Key="dead", UploadId=dead, PartNumber=1, Body=b"part")
    for item in raw.list_multipart_uploads(Bucket=bucket_name, Prefix="dead").get("Uploads", []):
        raw.abort_multipart_upload(Bucket=bucket_name, Key="dead", UploadId=item["UploadId"])
    undecided = HiddenRecord("dead", 0, {}).encode()  # of a completion that had no answer
    raw.put_object(Bucket=bucket_name, Key=f".strongroom.sys/records/{dead}", Body=undecided)
    assert sweep(backend, bucket_name, age=3600).count == 0
    seen = sweep(backend, bucket_name, age=0, dry=True)
    assert (len(seen.records), len(seen.uploads), len(seen.puts)) == (3, 1, 0)
    assert sweep(backend, bucket_name, age=0) == seen
    assert sweep(backend, bucket_name, age=0).count == 0
    assert client.get_object(Bucket=bucket_name, Key="kept")["Body"].read() == PART * 2
    assert client.get_object(Bucket=bucket_name, Key="overwritten")["Body"].read() == b"small"
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    client.complete_multipart_upload(**kept, UploadId=upload, MultipartUpload=parts)
    assert client.get_object(**kept)["Body"].read() == b"part"
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket_name)["Contents"]] == [
        "kept",
        "open",
        "overwritten",
    ]


def test_the_sweep_takes_nothing_for_an_orphan_because_it_cannot_be_understood(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    client, raw = gateway(minio).client(), minio.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="large", Body=PART * 2)
    client.create_multipart_upload(Bucket=bucket_name, Key="open")
    hidden = {
        item["Key"]: raw.get_object(Bucket=bucket_name, Key=item["Key"])["Body"].read()
        for folder in ("records", "uploads")
        for item in raw.list_objects_v2(Bucket=bucket_name, Prefix=f".strongroom.sys/{folder}/")["Contents"]
    }
    assert len(hidden) == 2
    for key in hidden:
        raw.put_object(Bucket=bucket_name, Key=key, Body=b"<html>maintenance</html>")
    assert sweep(minio, bucket_name, age=0).count == 0
    for key, body in hidden.items():
        raw.put_object(Bucket=bucket_name, Key=key, Body=body)
    assert client.get_object(Bucket=bucket_name, Key="large")["Body"].read() == PART * 2


@pytest.mark.parametrize("folder", ["uploads", "puts"])
def test_the_sweep_leaves_what_is_completed_while_it_works(
    minio: Backend, gateway: Gateway, bucket_name: str, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """As before versitygw, which has the upload no more, and the object not yet, while it puts parts together."""
    client, raw, listed = gateway(minio).client(), minio.client(), Sweep._listed
    client.create_bucket(Bucket=bucket_name)
    id_ = client.create_multipart_upload(Bucket=bucket_name, Key="o")["UploadId"]
    (upload,) = raw.list_multipart_uploads(Bucket=bucket_name, Prefix="o")["Uploads"]

    def put(name: str, document: bytes) -> None:
        raw.put_object(Bucket=bucket_name, Key=f".strongroom.sys/{name}", Body=document)

    async def complete(self: Sweep, which: str) -> Any:
        found = await listed(self, which)
        put(f"records/{id_}", HiddenRecord("o", time.time_ns(), {}).encode())
        put(f"uploads/{id_}/completing", b"token")
        raw.abort_multipart_upload(Bucket=bucket_name, Key="o", UploadId=upload["UploadId"])
        return found

    put(f"records/{id_}", HiddenRecord("o", 0, {}).encode())  # of a former completion that had no answer
    if folder == "puts":
        put(f"puts/{id_}", HiddenRecord("o", 0, {BACKEND_ID: upload["UploadId"].encode()}).encode())
        raw.delete_object(Bucket=bucket_name, Key=f".strongroom.sys/uploads/{id_}/record")
    monkeypatch.setattr(Sweep, "_listed", complete)
    assert sweep(minio, bucket_name, age=0).count == 0


def test_a_large_put_of_a_gateway_that_was_killed_is_swept(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    server = gateway(minio, alone=True)
    server.client().create_bucket(Bucket=bucket_name)

    path = f"/{bucket_name}/o"
    headers = signed_headers(server, "PUT", path, payload="UNSIGNED-PAYLOAD")
    raw, prefix = minio.client(), ".strongroom.sys/puts/"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("PUT", path, skip_host=True)
    for name, value in {"Host": f"127.0.0.1:{server.port}", "Content-Length": str(20 * len(PART)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(PART * 3)
    assert comes(lambda: "Contents" in raw.list_objects_v2(Bucket=bucket_name, Prefix=prefix))
    server.kill()
    connection.close()
    server.start()
    assert raw.list_multipart_uploads(Bucket=bucket_name, Prefix="o").get("Uploads")
    assert len(sweep(minio, bucket_name, age=0).puts) == 1
    assert not raw.list_multipart_uploads(Bucket=bucket_name, Prefix="o").get("Uploads")
    assert "Contents" not in server.client().list_objects_v2(Bucket=bucket_name)


def test_the_sweep_takes_nothing_that_gateways_are_writing(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    clients = [gateway(minio).client(), gateway(minio).client()]
    clients[0].create_bucket(Bucket=bucket_name)
    over = threading.Event()
    failures: list[BaseException] = []

    def write(number: int) -> None:
        client = clients[number % 2]
        while not over.is_set():
            body = PART + PART[: 1000 * number]
            try:
                client.put_object(Bucket=bucket_name, Key=f"put-{number}", Body=body + PART)
                target = {"Bucket": bucket_name, "Key": f"parts-{number}"}
                upload = client.create_multipart_upload(**target)["UploadId"]
                etag = client.upload_part(**target, UploadId=upload, PartNumber=1, Body=body)["ETag"]
                parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
                client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload=parts)
                assert client.get_object(**target)["Body"].read() == body
            except BaseException as error:
                failures.append(error)
                return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    swept, deadline = 0, time.monotonic() + 6
    while time.monotonic() < deadline:
        swept += sweep(minio, bucket_name, age=3).count
    over.set()
    for writer in writers:
        writer.join()
    assert failures == []
    assert swept  # records of objects that were overwritten
    for number in range(3):
        for key in (f"put-{number}", f"parts-{number}"):
            clients[0].get_object(Bucket=bucket_name, Key=key)["Body"].read()


def test_the_command_sweeps_what_is_older_than_a_day(minio: Backend, gateway: Gateway, bucket_name: str) -> None:
    server = gateway(minio)
    server.client().create_bucket(Bucket=bucket_name)
    server.client().put_object(Bucket=bucket_name, Key="o", Body=PART * 2)
    minio.client().delete_object(Bucket=bucket_name, Key="o")
    command = [sys.executable, "-m", "strongroom", "sweep", minio.endpoint, "--bucket", bucket_name]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "0 orphans removed\n"), done.stderr
    wrong = subprocess.run([*command, "--bucket", "none-such"], env=server.environment, capture_output=True, text=True)
    assert wrong.returncode == 1
    assert "NoSuchBucket" in wrong.stderr.splitlines()[-1]


def test_tags_that_are_set_while_an_object_is_replaced_spoil_nothing(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    """Tags go with a record that belongs to the bytes: the backend must not put it on what came meanwhile."""
    writing, tagging = gateway(minio), gateway(minio)
    here = {"Bucket": bucket_name, "Key": "k"}
    client = writing.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(**here, Body=b"")
    over = threading.Event()
    wrong: list[Exception] = []
    tagged: list[int] = []

    def tag() -> None:
        tagger = tagging.client()
        while not over.is_set():
            try:
                tagger.put_object_tagging(**here, Tagging={"TagSet": [{"Key": "n", "Value": str(len(tagged))}]})
                tagged.append(1)
            except Exception as error:
                wrong.append(error)
                return

    threads = [threading.Thread(target=tag) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            body = b"%d" % number * (number % 7)
            client.put_object(**here, Body=body)
            assert client.get_object(**here)["Body"].read() == body
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong
    assert tagged


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_a_source_that_became_shorter_was_replaced(request: pytest.FixtureRequest, kind: str, bucket_name: str) -> None:
    """Also where the backend looks at the range that is asked for before it looks at the ETag."""
    backend: Backend = request.getfixturevalue(kind)

    async def run(client: Client) -> None:
        store = S3Store(client)
        await store.start()
        try:
            await store.create_bucket(bucket_name)
            await put(store, "o", bytes(1000), bucket=bucket_name)
            source = await store.open(bucket_name, "o", whole=False)
            await put(store, "o", b"short", bucket=bucket_name)
            with pytest.raises(ObjectChanged):
                await store.copy(source, bucket_name, "copy", PLAIN, b"", Condition(absent=True))
            await source.close()
        finally:
            await store.stop()

    asyncio.run(run(client_for(backend)))
