"""A backend that stumbles, hangs, cuts connections or answers nonsense, behind a proxy that makes it so."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from strongroom.store.base import Part
from strongroom.store.errors import NoSuchUpload, ObjectChanged, Unavailable
from strongroom.store.s3 import S3Store, completing, uploads
from strongroom.store.s3.messages import Answer, Request
from strongroom.store.s3.names import completing_name
from tests.backends import ACCESS_KEY, SECRET_KEY, Backend
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.proxy import LATE, Proxy, once
from tests.http.raw import error_of
from tests.observe.test_metrics import samples
from tests.server import Server
from tests.store.kinds import SEALED, client_for, get, put
from tests.uploads import upload_of_one_part
from tests.waiting import comes

LARGE = os.urandom(14_000_000)


@pytest.fixture(scope="module")
def proxy(minio: Backend) -> Iterator[Proxy]:
    with Proxy(minio.endpoint) as running:
        yield running


@pytest.fixture(scope="module")
def faulty(proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gateway before the proxy, which gives up on a silent backend after two seconds."""
    settings: dict[str, str | None] = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "STRONGROOM_BACKEND_TIMEOUT": "2",
    }
    with Server(tmp_path_factory.mktemp("faulty"), settings, workers=1, backend=proxy.endpoint) as running:
        yield running


@pytest.fixture
def client(faulty: Server, proxy: Proxy, bucket_name: str) -> Iterator[Any]:
    client = faulty.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="there", Body=b"there")
    yield client
    proxy.fault = lambda line: None


def open_uploads(minio: Backend, bucket: str, key: str) -> list[str]:
    """MinIO lists the uploads of one key at a time."""
    return [
        item["UploadId"] for item in minio.client().list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])
    ]


def complete_at(minio: Backend, bucket: str, key: str) -> None:
    """Complete the one open upload of a key with all its parts, straight at the backend."""
    direct = minio.client()
    (upload,) = open_uploads(minio, bucket, key)
    target: Any = {"Bucket": bucket, "Key": key, "UploadId": upload}
    listed = [{name: part[name] for name in ("PartNumber", "ETag")} for part in direct.list_parts(**target)["Parts"]]
    direct.complete_multipart_upload(**target, MultipartUpload={"Parts": listed})


@pytest.mark.parametrize("fault", ["503", "reset", "lose"])
@pytest.mark.parametrize("size", [100, len(LARGE)])
def test_a_request_is_repeated_where_that_is_safe(
    client: Any, proxy: Proxy, bucket_name: str, fault: str, size: int
) -> None:
    steps = [lambda line: line.startswith("PUT")]
    if size > 100:
        steps += [lambda line: "partNumber=2" in line, lambda line: line.startswith("POST") and "uploadId=" in line]
    for number, matches in enumerate(steps):
        proxy.fault = once(matches, fault)
        client.put_object(Bucket=bucket_name, Key=f"o{number}", Body=LARGE[:size])
        proxy.fault = once(lambda line: line.startswith("GET"), fault)
        assert client.get_object(Bucket=bucket_name, Key=f"o{number}")["Body"].read() == LARGE[:size]
    proxy.fault = once(lambda line: line.startswith("HEAD"), fault)
    assert client.head_object(Bucket=bucket_name, Key="o0")["ContentLength"] == size


def test_a_conditional_write_whose_answer_is_lost_is_not_taken_for_another_s(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    proxy.fault = once(lambda line: line.startswith("PUT"), "lose")
    client.put_object(Bucket=bucket_name, Key="new", Body=b"1", IfNoneMatch="*")
    assert error_of(client.put_object, Bucket=bucket_name, Key="new", Body=b"2", IfNoneMatch="*")[1] == 412


@pytest.mark.parametrize("fault", ["hang", "503", "reset", "garbage"])
def test_a_backend_that_does_not_recover_makes_a_clean_error(
    client: Any, proxy: Proxy, bucket_name: str, fault: str
) -> None:
    proxy.fault = lambda line: fault
    code = "SlowDown" if fault == "503" else "ServiceUnavailable"
    assert error_of(client.get_object, Bucket=bucket_name, Key="there") == (code, 503)
    assert error_of(client.put_object, Bucket=bucket_name, Key="new", Body=b"x") == (code, 503)
    assert error_of(client.list_objects_v2, Bucket=bucket_name) == (code, 503)
    assert error_of(client.create_multipart_upload, Bucket=bucket_name, Key="mp") == (code, 503)
    proxy.fault = lambda line: None
    assert [item["Key"] for item in client.list_objects_v2(Bucket=bucket_name)["Contents"]] == ["there"]


@pytest.mark.parametrize(("answered", "code"), [(True, 0), (False, 1)])
def test_a_job_waits_longer_than_clients_can_for_a_backend_that_it_has_reached(
    client: Any, faulty: Server, proxy: Proxy, bucket_name: str, answered: bool, code: int
) -> None:
    faults = iter([*[None] * answered, *["503"] * 4])
    proxy.fault = lambda line: next(faults, None)
    command = [sys.executable, "-m", "strongroom", "sweep", proxy.endpoint, "--bucket", bucket_name]
    done = subprocess.run(command, env=faulty.environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert next(faults, None) is None


@pytest.mark.parametrize("fault", ["hang", "reset", "garbage"])
@pytest.mark.parametrize("step", ["partNumber=2", "/records/", "/puts/"])
def test_a_large_put_that_fails_leaves_no_open_upload(
    client: Any, minio: Backend, proxy: Proxy, bucket_name: str, fault: str, step: str
) -> None:
    proxy.fault = lambda line: fault if line.startswith("PUT") and step in line else None
    assert error_of(client.put_object, Bucket=bucket_name, Key="large", Body=LARGE)[0] in ("ServiceUnavailable", "")
    proxy.fault = lambda line: None
    assert open_uploads(minio, bucket_name, "large") == []


def test_the_backend_s_own_errors_are_passed_on(client: Any, minio: Backend, bucket_name: str) -> None:
    put = {"Bucket": bucket_name, "Key": "x" * 256, "Body": b"x"}  # longer than names of files
    refused = error_of(client.put_object, **put)
    assert refused == error_of(minio.client().put_object, **put)
    assert refused[1] == 400


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_with_the_new_one(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    client.put_object(Bucket=bucket_name, Key="o", Body=LARGE)
    other = LARGE[::-1]
    replaced: list[str] = []

    def replace(line: str) -> str | None:
        if line.startswith("GET") and "/records/" not in line and not replaced:
            replaced.append(line)
            client.put_object(Bucket=bucket_name, Key="o", Body=other)
        return None

    proxy.fault = replace
    got = client.get_object(Bucket=bucket_name, Key="o", Range="bytes=1000000-1999999")["Body"].read()
    assert got == other[1_000_000:2_000_000]
    assert replaced


def test_a_download_goes_on_where_its_connection_broke(
    client: Any, proxy: Proxy, minio: Backend, bucket_name: str
) -> None:
    client.put_object(Bucket=bucket_name, Key="o", Body=LARGE)
    body = client.get_object(Bucket=bucket_name, Key="o")["Body"]
    first = body.read(100_000)
    proxy.cut()
    assert first + body.read() == LARGE


# -- what the backend did, and could not say --------------------------------------------------------------------------


def in_turn(*faults: tuple[str, str]) -> Callable[[str], str | None]:
    """Faults that meet, one after the other, requests whose first line a pattern finds; the last one stays."""
    left = list(faults)

    def fault(line: str) -> str | None:
        if left and re.search(left[0][0], line):
            return left.pop(0)[1] if len(left) > 1 else left[0][1]
        return None

    return fault


COMPLETION = r"^POST .*uploadId="


@pytest.mark.parametrize("first", ["fault", "lose"])
@pytest.mark.parametrize("seen", [True, False], ids=["and can be looked at", "and cannot be looked at"])
def test_a_large_put_that_was_done_without_an_answer_keeps_its_record(
    client: Any, proxy: Proxy, bucket_name: str, first: str, seen: bool
) -> None:
    name = {"Bucket": bucket_name, "Key": "large"}
    client.put_object(**name, Body=LARGE[::-1])
    looks = [] if seen else [(r"^HEAD .*/large", "503")]
    proxy.fault = both(in_turn((COMPLETION, first), (COMPLETION, "503" if first == "fault" else "")), in_turn(*looks))
    assert error_of(client.put_object, **name, Body=LARGE)[1] == (200 if seen else 503)
    proxy.fault = lambda line: None
    assert client.get_object(**name)["Body"].read() == LARGE


@pytest.mark.parametrize("then", ["InvalidPart", "nobody", "429"])
def test_a_large_put_that_was_done_keeps_its_record_whatever_a_repeated_request_is_answered(
    client: Any, proxy: Proxy, bucket_name: str, then: str
) -> None:
    proxy.fault = in_turn((COMPLETION, "fault"), (COMPLETION, then))
    client.put_object(Bucket=bucket_name, Key="large", Body=LARGE)
    assert client.get_object(Bucket=bucket_name, Key="large")["Body"].read() == LARGE


def test_a_large_put_that_was_done_without_an_answer_and_replaced_since_is_not_refused(
    client: Any, minio: Backend, proxy: Proxy, bucket_name: str
) -> None:
    completions = iter(["lose"])

    def replace(line: str) -> str | None:
        if not re.search(COMPLETION, line):
            return None
        first = next(completions, None)
        if first is None:
            minio.client().put_object(Bucket=bucket_name, Key="large", Body=b"of others")
        return first

    proxy.fault = replace
    assert error_of(client.put_object, Bucket=bucket_name, Key="large", Body=LARGE) == ("ServiceUnavailable", 503)
    assert client.get_object(Bucket=bucket_name, Key="large")["Body"].read() == b"of others"


@pytest.mark.parametrize("first", ["503", "reset"])
def test_a_large_put_that_the_backend_may_still_be_at_work_on_keeps_its_record_though_a_repeated_request_is_refused(
    client: Any, minio: Backend, proxy: Proxy, bucket_name: str, first: str
) -> None:
    name = {"Bucket": bucket_name, "Key": "large"}
    proxy.fault = in_turn((COMPLETION, first), (COMPLETION, "InvalidPart"))
    assert error_of(client.put_object, **name, Body=LARGE)[1] == 400
    proxy.fault = lambda line: None
    complete_at(minio, bucket_name, "large")  # as the first one
    assert client.get_object(**name)["Body"].read() == LARGE


def both(*faults: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """The fault of the first that has one."""
    return lambda line: next((found for fault in faults if (found := fault(line))), None)


@pytest.mark.parametrize("fault", ["lose", "fault"])
def test_a_copy_onto_itself_whose_answer_is_lost_keeps_its_record(
    client: Any, proxy: Proxy, bucket_name: str, fault: str
) -> None:
    target: Any = {"Bucket": bucket_name, "Key": "parts"}
    upload = client.create_multipart_upload(**target)["UploadId"]
    bodies = [LARGE[: 5 * 1024**2], b"the end"]
    parts = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**target, UploadId=upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in enumerate(bodies, 1)
    ]
    client.complete_multipart_upload(**target, UploadId=upload, MultipartUpload={"Parts": parts})
    proxy.fault = once(lambda line: line.startswith("PUT") and "/parts" in line, fault)
    client.copy_object(**target, CopySource=target, MetadataDirective="REPLACE", Metadata={"a": "b"})
    answer = client.get_object(**target)
    assert (answer["Metadata"], answer["Body"].read()) == ({"a": "b"}, b"".join(bodies))


def test_a_copy_whose_source_is_replaced_at_that_moment_is_one_of_what_is_there_now(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    left = [b"new", b"newer"]

    def replace_source(line: str) -> None:
        if left and line.startswith("PUT") and "/copy" in line:
            client.put_object(Bucket=bucket_name, Key="there", Body=left.pop(0))

    proxy.fault = replace_source
    client.copy_object(Bucket=bucket_name, Key="copy", CopySource=f"{bucket_name}/there")
    assert client.get_object(Bucket=bucket_name, Key="copy")["Body"].read() == b"newer"


@pytest.mark.parametrize("fault", ["lose", "fault"])
def test_a_write_over_a_known_object_whose_answer_is_lost_is_not_taken_for_another_s(
    client: Any, proxy: Proxy, bucket_name: str, fault: str
) -> None:
    name = {"Bucket": bucket_name, "Key": "o"}
    first = client.put_object(**name, Body=b"1")["ETag"]
    proxy.fault = once(lambda line: line.startswith("PUT"), fault)
    client.put_object(**name, Body=b"2", IfMatch=first)
    assert client.get_object(**name)["Body"].read() == b"2"
    assert error_of(client.put_object, **name, Body=b"3", IfMatch=first) == ("PreconditionFailed", 412)


def test_a_completion_whose_beginning_was_not_answered_does_not_hold_up_the_next(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    target, parts = upload_of_one_part(client, bucket_name, "parts")
    complete = {**target, "MultipartUpload": parts}
    proxy.fault = once(lambda line: line.startswith("PUT") and "completing" in line, "mute")
    assert error_of(client.complete_multipart_upload, **complete)[1] == 503
    client.complete_multipart_upload(**complete)
    assert client.get_object(Bucket=bucket_name, Key="parts")["Body"].read() == b"x"


def test_a_completion_in_the_midst_of_which_the_backend_goes_away_does_not_hold_up_the_next(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    target, parts = upload_of_one_part(client, bucket_name, "parts")
    complete = {**target, "MultipartUpload": parts}
    gone = Event()

    def go_away(line: str) -> str | None:
        if re.search(COMPLETION, line):
            gone.set()
        return "reset" if gone.is_set() else None

    proxy.fault = go_away
    assert error_of(client.complete_multipart_upload, **complete)[1] == 503
    proxy.fault = lambda line: None
    assert comes(lambda: error_of(client.complete_multipart_upload, **complete) == ("", 200))
    assert client.get_object(Bucket=bucket_name, Key="parts")["Body"].read() == b"x"


def with_upload(
    backend: Backend, bucket: str, count: int, use: Callable[[S3Store, str, list[Part]], Awaitable[None]]
) -> None:
    """Use a store with a bucket and an open upload of "o", with so many parts: its id, and the parts."""

    async def run() -> None:
        store = S3Store(client_for(backend))
        await store.start()
        await store.create_bucket(bucket)
        upload_id = (await store.create_upload(bucket, "o", SEALED, os.urandom(16))).upload_id
        parts = []
        for number in range(1, count + 1):
            writer = await store.part_writer(bucket, "o", upload_id, number, 1)
            await writer.write(b"x")
            parts.append(await writer.commit({}))
        await use(store, upload_id, parts)
        await store.stop()

    asyncio.run(run())


def test_a_completion_whose_answer_never_ends_is_given_up_before_its_lock_counts_as_left_behind(
    minio: Backend, bucket_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 600 < uploads._COMPLETION_MOST < completing.LONGEST - 60
    monkeypatch.setattr(uploads, "_COMPLETION_MOST", 1.0)

    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        send = store.client.send

        async def endless(asked: Request) -> Answer:
            if asked.method == "POST" and asked.query and asked.query[0][0] == "uploadId":
                await asyncio.sleep(60)
            return await send(asked)

        store.client.send = endless  # type: ignore[method-assign, assignment]
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable, match="too long"):
                await store.complete(bucket_name, "o", upload_id, parts, SEALED)
        store.client.send = send  # type: ignore[method-assign]
        await store.complete(bucket_name, "o", upload_id, parts, SEALED)
        assert await get(store, "o", bucket_name) == b"x"

    with_upload(minio, bucket_name, 1, use)


def test_a_completion_that_is_given_up_at_its_beginning_does_not_hold_up_the_next(
    minio: Backend, bucket_name: str
) -> None:
    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        send, taken = store.client.send, asyncio.Event()

        async def unanswered(asked: Request) -> Answer:
            answer = await send(asked)
            if asked.method == "PUT" and asked.key == completing_name(upload_id) and not taken.is_set():
                taken.set()
                await asyncio.sleep(0.5)
            return answer

        store.client.send = unanswered  # type: ignore[method-assign, assignment]
        given_up = asyncio.create_task(store.complete(bucket_name, "o", upload_id, parts, SEALED))
        await taken.wait()
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await store.complete(bucket_name, "o", upload_id, parts, SEALED)
        assert await get(store, "o", bucket_name) == b"x"

    with_upload(minio, bucket_name, 1, use)


def test_an_upload_that_the_backend_hides_while_it_is_completed_is_not_told_to_be_none(
    minio: Backend, bucket_name: str
) -> None:
    """versitygw does so."""

    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        send, hidden = store.client.send, asyncio.Event()

        async def hiding(asked: Request) -> Answer:
            if asked.query and asked.query[0][0] == "uploadId":
                if asked.method == "POST":
                    hidden.set()
                    await asyncio.sleep(1)
                elif hidden.is_set():
                    raise NoSuchUpload(str(asked))
            return await send(asked)

        store.client.send = hiding  # type: ignore[method-assign, assignment]
        completing = asyncio.create_task(store.complete(bucket_name, "o", upload_id, parts, SEALED))
        await hidden.wait()
        with pytest.raises(NoSuchUpload):
            await store.parts(bucket_name, "o", upload_id, 0, 10)
        assert (await store.head(bucket_name, "o")).size == 1
        await completing

    with_upload(minio, bucket_name, 1, use)


@pytest.mark.parametrize("dead", [False, True])
def test_an_upload_that_is_gone_and_whose_lock_is_left_is_told_to_be_none_in_the_end(
    minio: Backend, bucket_name: str, monkeypatch: pytest.MonkeyPatch, dead: bool
) -> None:
    monkeypatch.setattr(completing, "_WAIT", 0.5)
    monkeypatch.setattr(completing, "LONGEST", -1.0 if dead else 900.0)

    async def never() -> bool:
        return False

    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        await completing.CompletionLock(store.client).take(bucket_name, upload_id, never)
        (backend_id,) = open_uploads(minio, bucket_name, "o")
        minio.client().abort_multipart_upload(Bucket=bucket_name, Key="o", UploadId=backend_id)
        with pytest.raises(NoSuchUpload if dead else Unavailable):
            await store.parts(bucket_name, "o", upload_id, 0, 10)

    with_upload(minio, bucket_name, 0, use)


def test_parts_that_are_listed_while_their_upload_ends_are_not_told_to_be_missing(
    minio: Backend, bucket_name: str
) -> None:
    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        send = store.client.send

        async def cut(asked: Request) -> Answer:
            """A list with one part of two, as one made while the other goes."""
            if asked.method != "GET" or not asked.query or asked.query[0][0] != "uploadId":
                return await send(asked)
            store.client.send = send  # type: ignore[method-assign]
            listed = await send(asked)
            (backend_id,) = open_uploads(minio, bucket_name, "o")
            minio.client().abort_multipart_upload(Bucket=bucket_name, Key="o", UploadId=backend_id)
            first, _, rest = listed.body.partition(b"<Part>")
            return replace(listed, body=first + rest[rest.index(b"</Part>") + len(b"</Part>") :])

        store.client.send = cut  # type: ignore[method-assign, assignment]
        with pytest.raises(NoSuchUpload):
            await store.parts(bucket_name, "o", upload_id, 0, 10)

    with_upload(minio, bucket_name, 2, use)


def test_an_upload_that_is_aborted_after_a_completion_without_an_answer_keeps_its_record(
    client: Any, minio: Backend, proxy: Proxy, bucket_name: str
) -> None:
    target, parts = upload_of_one_part(client, bucket_name, "parts")
    proxy.fault = both(in_turn((COMPLETION, "503")), in_turn(("^DELETE .*uploadId=", "204")))
    assert error_of(client.complete_multipart_upload, **target, MultipartUpload=parts)[1] == 503
    client.abort_multipart_upload(**target)
    proxy.fault = lambda line: None
    complete_at(minio, bucket_name, "parts")  # as the first one, which the backend was still at work on
    assert client.get_object(Bucket=bucket_name, Key="parts")["Body"].read() == b"x"


@pytest.mark.parametrize("refused", ["PreconditionFailed", "NoSuchKey"])
def test_a_copy_that_was_refused_behind_a_200_and_that_the_backend_may_still_be_at_work_on_keeps_its_record(
    minio: Backend, bucket_name: str, refused: str
) -> None:
    async def run() -> None:
        store = S3Store(client_for(minio))
        await store.start()
        await store.create_bucket(bucket_name)
        writer = await store.writer(bucket_name, "o", 1)
        await writer.write(b"x")
        await writer.commit(SEALED)
        source = await store.open(bucket_name, "o", whole=False)
        send, copies = store.client.send, []

        async def refusing(asked: Request) -> Answer:
            if "x-amz-copy-source" not in asked.headers:
                return await send(asked)
            copies.append(asked)
            document = f"<Error><Code>{refused}</Code></Error>".encode()
            return Answer(200, {}, document, earlier=Unavailable("the first attempt had no answer"))

        store.client.send = refusing  # type: ignore[method-assign, assignment]
        with pytest.raises(ObjectChanged):
            await store.copy(source, bucket_name, "copy", SEALED, b"an annex, which is kept in a hidden record")
        await send(copies[0])  # as the first one
        assert await get(store, "copy", bucket_name) == b"x"
        await store.stop()

    asyncio.run(run())


def test_an_upload_that_is_aborted_while_the_backend_completes_it_keeps_its_record(
    client: Any, proxy: Proxy, bucket_name: str
) -> None:
    target, parts = upload_of_one_part(client, bucket_name, "parts")
    at_work, aborted = Event(), Event()

    def fault(line: str) -> str | None:
        if re.search(COMPLETION, line):
            at_work.set()
            aborted.wait(10)
        return "204" if re.search("^DELETE .*uploadId=", line) else None

    proxy.fault = fault
    with ThreadPoolExecutor(1) as pool:
        completed = pool.submit(client.complete_multipart_upload, **target, MultipartUpload=parts)
        assert at_work.wait(10)
        client.abort_multipart_upload(**target)
        aborted.set()
        completed.result()
    assert client.get_object(Bucket=bucket_name, Key="parts")["Body"].read() == b"x"


def test_a_client_is_kept_waiting_where_the_backend_takes_long(
    client: Any, faulty: Server, proxy: Proxy, bucket_name: str
) -> None:
    impatient = faulty.client(read_timeout=LATE - 2)
    target, parts = upload_of_one_part(client, bucket_name, "parts")

    def complete() -> Any:
        return impatient.complete_multipart_upload(**target, MultipartUpload=parts)

    def copy() -> Any:
        source = {"Bucket": bucket_name, "Key": "there"}
        return impatient.copy_object(Bucket=bucket_name, Key="copy", CopySource=source)["CopyObjectResult"]

    begun: list[str] = []

    def late(line: str) -> str | None:
        method = "POST" if "/parts" in line else "PUT" if "/copy" in line else ""
        if not method or not line.startswith(method):
            return None
        begun.append(method)
        return "late"

    proxy.fault = late
    with ThreadPoolExecutor(2) as pool:
        completed, copied = pool.submit(complete), pool.submit(copy)
        etags = [completed.result()["ETag"], copied.result()["ETag"]]
    assert etags == [client.head_object(Bucket=bucket_name, Key=key)["ETag"] for key in ("parts", "copy")]
    assert sorted(begun) == ["POST", "PUT"]


def test_removing_a_copy_that_was_made_at_the_backend_leaves_the_original_whole(
    client: Any, minio: Backend, bucket_name: str
) -> None:
    name = {"Bucket": bucket_name, "Key": "original"}
    client.put_object(**name, Body=LARGE)
    minio.client().copy_object(Bucket=bucket_name, Key="copy", CopySource=name)
    assert error_of(client.get_object, Bucket=bucket_name, Key="copy") == ("InternalError", 500)
    client.delete_object(Bucket=bucket_name, Key="copy")
    assert client.get_object(**name)["Body"].read() == LARGE


def test_load_balancers_hear_soon_that_the_backend_hangs_and_ask_it_once(minio: Backend, gateway: Gateway) -> None:
    def status(_: int) -> int:
        try:
            with urlopen(f"{server.endpoint}/minio/health/ready", timeout=6) as answer:
                return int(answer.status)
        except HTTPError as error:
            with error:
                return error.code

    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, proxy=proxy)
        before = len(proxy.lines)
        proxy.fault = lambda line: "hang"
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(status, range(16))) == {503}
        assert len(proxy.lines) == before + 1


@pytest.mark.parametrize("large", [True, False], ids=["PUT", "upload"])
def test_what_versitygw_was_putting_together_when_it_was_killed_is_not_acknowledged(
    versitygw: Backend, gateway: Gateway, bucket_name: str, large: bool
) -> None:
    killed: list[Path] = []

    def kill(line: str) -> str | None:
        """Leave the parts as versitygw does then: claimed by the completion, for good."""
        if killed or not re.search(COMPLETION, line):
            return None
        (upload,) = (versitygw.data / bucket_name / ".sgwtmp/multipart").glob("*/*")
        killed.append(upload)
        digests = [hashlib.md5((upload / str(number)).read_bytes()).digest() for number in range(1, 4 if large else 2)]
        etag = f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"
        upload.rename(upload.with_name(f"{upload.name}.{etag}.inprogress"))
        return "reset"

    with Proxy(versitygw.endpoint) as proxy:
        client = gateway(versitygw, proxy=proxy).client()
        client.create_bucket(Bucket=bucket_name)
        client.put_object(Bucket=bucket_name, Key="o", Body=b"former")
        call, options = client.put_object, {"Bucket": bucket_name, "Key": "o", "Body": LARGE}
        if not large:
            target, parts = upload_of_one_part(client, bucket_name, "o")
            call, options = client.complete_multipart_upload, {**target, "MultipartUpload": parts}
        proxy.fault = kill
        assert error_of(call, **options) == ("ServiceUnavailable", 503)
        assert killed
        assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"former"


@pytest.mark.parametrize("former", [True, False], ids=["over another", "anew"])
@pytest.mark.parametrize("way", ["replaced", "removed"])
def test_an_object_that_versitygw_made_and_somebody_replaces_or_removes_at_once_was_made(
    versitygw: Backend, bucket_name: str, way: str, former: bool
) -> None:
    """Removed at once, where nothing was before, it cannot be told from one that was never made."""

    async def use(store: S3Store, upload_id: str, parts: list[Part]) -> None:
        if former:
            await put(store, "o", b"former", bucket=bucket_name)
        send = store.client.send

        async def replaced(asked: Request) -> Answer:
            answer = await send(asked)
            if asked.method == "POST" and asked.query and asked.query[0][0] == "uploadId":
                store.client.send = send  # type: ignore[method-assign]
                if way == "replaced":
                    await put(store, "o", b"later", bucket=bucket_name)
                else:
                    await store.delete(bucket_name, "o")
            return answer

        store.client.send = replaced  # type: ignore[method-assign, assignment]
        completing = store.complete(bucket_name, "o", upload_id, parts, SEALED)
        if way == "removed" and not former:
            with pytest.raises(Unavailable):
                await completing
        else:
            assert (await completing).size == 1

    with_upload(versitygw, bucket_name, 1, use)


def test_requests_to_the_backend_are_counted_by_how_they_ended(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    with Proxy(minio.endpoint) as proxy:
        server = gateway(minio, {"MINIO_PROMETHEUS_AUTH_TYPE": "public"}, proxy)

        def counted() -> dict[str, float]:
            with urlopen(f"{server.endpoint}/minio/v2/metrics/cluster") as answer:
                found = samples(answer.read())
            return {name[1]: count for name, count in found.items() if name[0] == "strongroom_backend_requests_total"}

        client = server.client()
        client.create_bucket(Bucket=bucket_name)
        client.put_object(Bucket=bucket_name, Key="o", Body=b"x")
        before, came = counted(), len(proxy.lines)
        for fault in ("503", "reset"):
            proxy.fault = once(lambda line: line.startswith("PUT"), fault)
            client.put_object(Bucket=bucket_name, Key="o", Body=b"x")
        assert error_of(client.get_object, Bucket=bucket_name, Key="none") == ("NoSuchKey", 404)
        more = {result: count - before.get(result, 0) for result, count in counted().items()}
        assert sum(more.values()) == len(proxy.lines) - came
        assert (more["4xx"], more["5xx"], more["failed"]) == (1, 1, 1)
