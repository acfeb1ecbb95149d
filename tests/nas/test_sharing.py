"""Several gateways on one folder: one KMS for all, and what one wrote the others read."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from strongroom.kms.base import KMSDenied, KMSUnavailable
from strongroom.kms.static import StaticKMS
from strongroom.sealed.check import ForeignKMS
from strongroom.sealed.checked import CheckedKMS
from strongroom.secret import Secret
from strongroom.store.errors import BucketExists
from strongroom.store.nas import NasStore
from tests.http.raw import error_of
from tests.kms.elsewhere import KMSElsewhere
from tests.server import MASTER_KEY, NAS, Server
from tests.store.kinds import PLAIN

CHECK = ".strongroom.sys/kms-check.json"
OTHER_KEY = "their-key:" + "ab" * 32


def test_another_kms_is_refused_and_told_both_keys_and_the_setting(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(tmp_path / "first", command=NAS, data=data, workers=1):
        assert (data / CHECK).is_file()
    other = Server(tmp_path / "other", {"MINIO_SSE_MASTER_KEY": OTHER_KEY}, command=NAS, data=data, workers=1)
    other.directory, other.port = data, 1
    with pytest.raises(AssertionError):
        other.start()
    last = other.log.splitlines()[-1]
    assert "MINIO_SSE_MASTER_KEY" in last and "'my-minio-key'" in last and "'their-key'" in last
    assert "Traceback" not in other.log
    with Server(tmp_path / "again", command=NAS, data=data, workers=1):
        pass


def test_a_damaged_check_value_stops_the_start(tmp_path: Path) -> None:
    with Server(tmp_path / "first", command=NAS, workers=1) as server:
        pass
    (server.directory / CHECK).write_bytes(b"{}")
    with pytest.raises(AssertionError, match="check value"):
        server.start()


def test_what_one_gateway_wrote_another_reads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        Server(tmp_path / "one", command=NAS, data=data, workers=1) as one,
        Server(tmp_path / "two", command=NAS, data=data, workers=1) as two,
    ):
        first, second = one.client(), two.client()
        first.create_bucket(Bucket="bucket")
        body = os.urandom(300_000)
        first.put_object(Bucket="bucket", Key="o", Body=body, Metadata={"a": "b"}, Tagging="t=1")
        got = second.get_object(Bucket="bucket", Key="o")
        assert (got["Body"].read(), got["Metadata"], got["TagCount"]) == (body, {"a": "b"}, 1)
        upload = first.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
        part: Any = {"Bucket": "bucket", "Key": "m", "UploadId": upload}
        etag = second.upload_part(**part, PartNumber=1, Body=body)["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        first.complete_multipart_upload(**part, MultipartUpload=parts)
        assert second.get_object(Bucket="bucket", Key="m")["Body"].read() == body


def test_conditions_are_decided_once_between_gateways_and_writers_leave_one_winner(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with (
        Server(tmp_path / "one", command=NAS, data=data) as one,
        Server(tmp_path / "two", command=NAS, data=data) as two,
        ThreadPoolExecutor(8) as pool,
    ):
        clients = [server.client(max_pool_connections=1) for server in (one, two) * 4]
        clients[0].create_bucket(Bucket="bucket")
        for number in range(10):
            put: Any = {"Bucket": "bucket", "Key": f"f{number % 3}/o{number}", "IfNoneMatch": "*"}
            tries = list(pool.map(lambda c, put=put: error_of(c.put_object, Body=os.urandom(9), **put), clients))
            assert sorted(tries) == [("", 200)] + [("PreconditionFailed", 412)] * 7
        bodies = [bytes([number]) * 200_000 for number in range(8)]
        etags = list(
            pool.map(
                lambda pair: pair[0].put_object(Bucket="bucket", Key="o", Body=pair[1])["ETag"],
                zip(clients, bodies, strict=True),
            )
        )
        for client in clients:
            got = client.get_object(Bucket="bucket", Key="o")
            assert got["Body"].read() == bodies[etags.index(got["ETag"])]


def test_folders_come_and_go_under_concurrent_writers(tmp_path: Path) -> None:
    with Server(tmp_path, command=NAS) as server, ThreadPoolExecutor(8) as pool:
        server.client().create_bucket(Bucket="bucket")

        def churn(number: int) -> None:
            client = server.client(max_pool_connections=1)
            for turn in range(30):
                name = {"Bucket": "bucket", "Key": f"a/b/{number}-{turn}"}
                client.put_object(**name, Body=b"x")
                assert client.get_object(**name)["Body"].read() == b"x"
                client.delete_object(**name)

        list(pool.map(churn, range(8)))
        assert list((server.directory / "bucket").iterdir()) == []


def test_a_kms_that_cannot_be_reached_at_the_start_is_looked_at_before_its_first_key(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await CheckedKMS(StaticKMS("ours", Secret(bytes(32))), store).start()
        ours, theirs = KMSElsewhere("ours"), KMSElsewhere("theirs", b"\1" * 32)
        for inner in (ours, theirs):
            inner.refusal = KMSUnavailable("it is down")
            kms = CheckedKMS(inner, store)
            await kms.start()  # which does not say that it is foreign
            with pytest.raises(KMSUnavailable):
                await kms.generate([{"bucket": "bucket/key"}])
            inner.refusal = None
            if inner is ours:
                assert len(await kms.generate([{"bucket": "bucket/key"}])) == 1
            else:
                with pytest.raises(KMSDenied, match=r"'ours'.*'theirs'"):
                    await kms.generate([{"bucket": "bucket/key"}])
        with pytest.raises(ForeignKMS):
            await CheckedKMS(theirs, store).start()
        await store.stop()

    asyncio.run(use())


def test_many_that_wait_for_a_kms_that_is_away_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        inner = KMSElsewhere("ours")
        inner.refusal = KMSUnavailable("it is down")
        kms = CheckedKMS(inner, store)
        asked = (kms.generate([{"bucket": f"bucket/{number}"}]) for number in range(10))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, KMSUnavailable) for answer in answers)
        assert inner.calls == 1, "the look at the check value"
        await store.stop()

    asyncio.run(use())


def test_of_gateways_that_start_at_once_one_leaves_the_check_value(tmp_path: Path) -> None:
    async def use() -> None:
        stores = [NasStore(tmp_path) for _ in range(4)]
        for store in stores:
            await store.start()
        documents = await asyncio.gather(*(store.leave_check(b"%d" % n) for n, store in enumerate(stores)))
        assert len(set(documents)) == 1
        assert await stores[0].read_check() == documents[0]
        for store in stores:
            await store.stop()

    asyncio.run(use())


def test_a_key_to_read_with_is_as_good_as_the_first_one(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(tmp_path / "first", command=NAS, data=data, workers=1) as first:
        first.client().create_bucket(Bucket="bucket")
        first.client().put_object(Bucket="bucket", Key="o", Body=b"old")
    settings: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": OTHER_KEY, "STRONGROOM_READ_KEYS": MASTER_KEY}
    with Server(tmp_path / "next", settings, command=NAS, data=data, workers=1) as following:
        assert following.client().get_object(Bucket="bucket", Key="o")["Body"].read() == b"old"


def test_making_a_bucket_that_another_machine_just_made_takes_nothing_from_it(tmp_path: Path) -> None:
    real = os.open

    def remembered(path: Any, *args: Any, **named: Any) -> int:
        if path == "bucket":  # in the folder itself: NFS remembers for some seconds that there was none
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *args, **named)

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await store.set_bucket("bucket", "encryption", b"on")
        upload = await store.create_upload("bucket", "o", PLAIN, os.urandom(16))
        with mock.patch("os.open", remembered), pytest.raises(BucketExists):
            await store.create_bucket("bucket")
        assert (await store.bucket("bucket")).settings == {"encryption": b"on"}
        assert await store.upload("bucket", "o", upload.upload_id) == upload
        await store.stop()

    asyncio.run(use())


def test_a_bucket_that_others_removed_leaves_the_next_one_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await store.set_bucket("bucket", "encryption", b"on")
        await store.create_upload("bucket", "o", PLAIN, os.urandom(16))
        (tmp_path / "bucket").rmdir()
        await store.create_bucket("bucket")
        assert (await store.bucket("bucket")).settings == {}
        assert not (await store.uploads("bucket", "", "", ("", ""), 9)).uploads
        await store.stop()

    asyncio.run(use())
