"""Bucket keys: the KMS is asked once for many objects, and what it denies is denied when the time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from strongroom.kms import bucket_keys
from strongroom.kms.base import Context, DataKey, KeyDisabled, KMSError, NoSuchKey, WrappedKey
from strongroom.kms.bucket_keys import BucketKeys
from tests.http.raw import error_of
from tests.kms.elsewhere import KMSElsewhere
from tests.kms.standing import Clock, at_standing_clock, turns
from tests.kms.test_server import DISABLED
from tests.kms.test_transit import soft_delete, undelete
from tests.openbao import OpenBao, Role
from tests.server import Server

SECONDS = 4
KMS: dict[str, Any] = {"ServerSideEncryption": "aws:kms"}


def test_the_kms_is_asked_once_until_the_time_is_over() -> None:
    async def main() -> None:
        kms = KMSElsewhere()
        keys = BucketKeys(kms, 0.2)
        first = await keys.generate({"b": "b"}, "")
        assert await keys.generate({"b": "b"}, "") is first
        assert await keys.unwrap(first.wrapped, {"b": "b"}) == first.plaintext
        assert kms.calls == 1
        other = await keys.generate({"c": "c"}, "")
        assert (kms.calls, other.plaintext != first.plaintext) == (2, True)
        kms.refusal = KeyDisabled("it is disabled")
        assert await keys.unwrap(first.wrapped, {"b": "b"}) == first.plaintext
        await asyncio.sleep(0.25)
        assert not keys._reading._kept and not keys._writing._kept, "what nobody asks for is forgotten, too"
        with pytest.raises(KeyDisabled):
            await keys.unwrap(first.wrapped, {"b": "b"})
        with pytest.raises(KeyDisabled):
            await keys.generate({"b": "b"}, "")
        kms.refusal, asked = None, kms.calls
        for _ in range(2):
            assert await keys.unwrap(first.wrapped, {"b": "b"}) == first.plaintext
        assert kms.calls == asked + 1

    asyncio.run(main())


class Slow(KMSElsewhere):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def generate(self, contexts: Sequence[Context], key_id: str = "") -> Sequence[DataKey]:
        await self.let.wait()
        return await super().generate(contexts, key_id)

    async def unwrap(self, keys: Sequence[tuple[WrappedKey, Context]]) -> Sequence[bytes | KMSError]:
        await self.let.wait()
        return await super().unwrap(keys)


HERE: Context = {"b": "b"}


async def write(keys: BucketKeys, there: WrappedKey) -> None:
    await keys.generate(HERE, "")


async def read(keys: BucketKeys, there: WrappedKey) -> None:
    await keys.unwrap(there, HERE)


@pytest.mark.parametrize("ask", [write, read])
def test_the_time_begins_when_the_kms_is_asked_and_not_when_it_answers(
    ask: Callable[[BucketKeys, WrappedKey], Coroutine[Any, Any, None]],
) -> None:
    """The key may have been disabled while its answer was on the way."""

    async def main(clock: Clock) -> None:
        kms = Slow()
        keys = BucketKeys(kms, 10)
        (there,) = await KMSElsewhere().generate([HERE])
        asking = asyncio.ensure_future(ask(keys, there.wrapped))
        await turns()
        clock.now += 6
        kms.let.set()
        await asking
        for passed, calls in ((3.9, 1), (0.2, 2)):
            clock.now += passed
            await turns()
            await ask(keys, there.wrapped)
            assert kms.calls == calls

    at_standing_clock(main)


def test_of_two_answers_for_the_same_the_later_asked_for_is_kept_for_its_own_time() -> None:
    async def main(clock: Clock) -> None:
        kms = Slow()
        keys = BucketKeys(kms, 10)
        asking = []
        for _ in range(2):
            asking.append(asyncio.ensure_future(keys.generate(HERE, "")))
            await turns()
            clock.now += 6
        kms.let.set()
        _, second = [await one for one in asking]
        clock.now += 2  # 14 since the first, 8 since the second
        await turns()
        assert await keys.generate(HERE, "") is second
        assert await keys.unwrap(second.wrapped, HERE) == second.plaintext
        assert kms.calls == 2

    at_standing_clock(main)


def test_the_time_goes_on_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timers stand still meanwhile, and so does the clock that they go by."""
    suspended = 0.0
    clock_gettime = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: clock_gettime(clock) + suspended)

    async def main() -> None:
        nonlocal suspended
        kms = KMSElsewhere()
        keys = BucketKeys(kms, 60)
        made = await keys.generate(HERE, "")
        suspended = 59
        assert await keys.generate(HERE, "") is made
        kms.refusal = KeyDisabled("it is disabled")
        suspended = 61
        for ask in (write, read):
            with pytest.raises(KeyDisabled):
                await ask(keys, made.wrapped)
        assert not keys._reading._kept and not keys._writing._kept

    asyncio.run(main())


def test_a_key_of_one_master_key_is_not_taken_for_that_of_another() -> None:
    async def main() -> None:
        keys = BucketKeys(KMSElsewhere(), 60)
        await keys.generate({"b": "b"}, "")
        with pytest.raises(NoSuchKey):
            await keys.generate({"b": "b"}, "another")

    asyncio.run(main())


def test_a_key_opens_only_in_its_context() -> None:
    async def main() -> None:
        keys = BucketKeys(KMSElsewhere(), 60)
        made = await keys.generate({"b": "b"}, "")
        with pytest.raises(KMSError):
            await keys.unwrap(made.wrapped, {"c": "c"})

    asyncio.run(main())


def test_no_more_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_keys, "MOST", 3)

    async def main() -> None:
        kms = KMSElsewhere()
        keys = BucketKeys(kms, 60)
        for number in range(10):
            await keys.generate({"b": f"b{number}"}, "")
        assert (len(keys._writing._kept), len(keys._reading._kept)) == (3, 3)
        assert kms.calls == 10
        await keys.generate({"b": "b9"}, "")
        assert kms.calls == 10

    asyncio.run(main())


# -- a server ------------------------------------------------------------------------------------------------------

Serve = Callable[[int], Server]


@pytest.fixture
def role(bao: OpenBao, key: str) -> Role:
    return bao.role(key, key)


@pytest.fixture
def serve(role: Role, tmp_path: Path) -> Iterator[Serve]:
    """Serves one directory with keys of buckets that are kept for so many seconds."""
    running: list[Server] = []

    def start(seconds: int) -> Server:
        stop()
        settings = role.settings(STRONGROOM_BUCKET_KEY_SECONDS=str(seconds))
        running.append(Server(tmp_path, settings))
        return running[-1].__enter__()

    def stop() -> None:
        while running:
            running.pop().__exit__(None, None, None)

    yield start
    stop()


def ask_for_bucket_keys(client: Any, bucket: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    (shown,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert shown["BucketKeyEnabled"] is True


def test_what_is_denied_is_denied_when_the_time_is_over(
    bao: OpenBao, role: Role, serve: Serve, bucket_name: str
) -> None:
    server = serve(SECONDS)
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    ask_for_bucket_keys(client, bucket_name)
    kept, asked = {"Bucket": bucket_name, "Key": "kept"}, {"Bucket": bucket_name, "Key": "asked"}
    assert client.put_object(**kept, Body=b"kept", Tagging="a=b")["BucketKeyEnabled"] is True
    assert "BucketKeyEnabled" not in client.put_object(**asked, Body=b"asked", BucketKeyEnabled=False, **KMS)
    assert client.put_object(Bucket=bucket_name, Key="named", Body=b"", **KMS)["BucketKeyEnabled"] is True
    for _ in range(8):
        assert server.client().get_object(**kept)["Body"].read() == b"kept"
    begun = time.monotonic()
    soft_delete(bao, role.key)
    try:
        assert error_of(client.get_object, **asked) == DISABLED
        got = client.get_object(**kept)  # this connection's worker has the key
        if time.monotonic() - begun < SECONDS / 3:
            assert (got["Body"].read(), got["BucketKeyEnabled"]) == (b"kept", True)
        time.sleep(SECONDS + 0.5)
        for _ in range(8):
            assert error_of(server.client().get_object, **kept) == DISABLED
            assert error_of(server.client().put_object, **kept, Body=b"") == DISABLED
    finally:
        undelete(bao, role.key)
    assert client.get_object(**kept)["Body"].read() == b"kept"
    assert client.get_object_tagging(**kept)["TagSet"] == [{"Key": "a", "Value": "b"}]


def test_a_request_may_say_nothing_but_whether_it_wants_a_bucket_key(serve: Serve, bucket_name: str) -> None:
    """Who wants none is not to be read for longer than the key is enabled."""
    client = serve(60).client()
    client.create_bucket(Bucket=bucket_name)
    ask_for_bucket_keys(client, bucket_name)
    here = {"Bucket": bucket_name, "Key": "o"}
    put = client.put_object(**here, Body=b"", BucketKeyEnabled=False)
    assert put["ServerSideEncryption"] == "aws:kms" and "BucketKeyEnabled" not in put
    source = {"Bucket": bucket_name, "Key": "o"}
    copy = client.copy_object(Bucket=bucket_name, Key="copy", CopySource=source, BucketKeyEnabled=False)
    upload = client.create_multipart_upload(**here, BucketKeyEnabled=False)
    assert "BucketKeyEnabled" not in copy and "BucketKeyEnabled" not in upload
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    client.put_bucket_encryption(Bucket=bucket_name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert client.put_object(**here, Body=b"", BucketKeyEnabled=True)["BucketKeyEnabled"] is True
    client.delete_bucket_encryption(Bucket=bucket_name)
    put = client.put_object(**here, Body=b"", BucketKeyEnabled=True)
    assert put["ServerSideEncryption"] == "AES256" and "BucketKeyEnabled" not in put


def test_without_a_lifetime_none_is_made_and_those_there_are_read(serve: Serve, bucket_name: str) -> None:
    client = serve(60).client()
    client.create_bucket(Bucket=bucket_name)
    ask_for_bucket_keys(client, bucket_name)
    client.put_object(Bucket=bucket_name, Key="kept", Body=b"kept")
    source = {"Bucket": bucket_name, "Key": "kept"}
    assert client.copy_object(Bucket=bucket_name, Key="copy", CopySource=source)["BucketKeyEnabled"] is True
    upload = client.create_multipart_upload(Bucket=bucket_name, Key="parts")
    part = client.upload_part(
        Bucket=bucket_name, Key="parts", UploadId=upload["UploadId"], PartNumber=1, Body=b"part"
    )  # fmt: skip
    done = client.complete_multipart_upload(
        Bucket=bucket_name, Key="parts", UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )  # fmt: skip
    assert [answer["BucketKeyEnabled"] for answer in (upload, part, done)] == [True] * 3
    client = serve(0).client()
    for key, body in (("kept", b"kept"), ("copy", b"kept"), ("parts", b"part")):
        got = client.get_object(Bucket=bucket_name, Key=key)
        assert (got["Body"].read(), got["BucketKeyEnabled"]) == (body, True)
    put = client.put_object(Bucket=bucket_name, Key="new", Body=b"new", BucketKeyEnabled=True, **KMS)
    assert put["ServerSideEncryption"] == "aws:kms" and "BucketKeyEnabled" not in put
