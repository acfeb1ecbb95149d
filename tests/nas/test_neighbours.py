"""Others use the folder too: what they put, change, move and remove is seen, and never taken for what it is not."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from strongroom.store.base import ALWAYS, FOUND
from strongroom.store.errors import NoSuchObject, ObjectChanged
from strongroom.store.nas import NasStore
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.probe import Traits
from tests.http.raw import error_of
from tests.server import NAS, Server
from tests.store.kinds import PLAIN, put

KEY = bytes(range(32))
SSE_S3: dict[str, Any] = {"ServerSideEncryption": "AES256"}


def test_a_plain_object_is_a_plain_file_that_others_can_read(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="a/b.txt", Body=b"plain", ContentType="text/x-mine", Metadata={"a": "b"})
    assert (shared / "a" / "b.txt").read_bytes() == b"plain"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((shared / "a" / "b.txt").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((shared / "a").stat().st_mode) == stat.S_IMODE(shared.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE((gateway.directory / ".strongroom.sys").stat().st_mode) == 0o700
    got = client.get_object(Bucket=shared.name, Key="a/b.txt")
    assert (got["ContentType"], got["Metadata"]) == ("text/x-mine", {"a": "b"})


def test_folders_in_one_that_hands_its_group_down_do_so_too(gateway: Server, shared: Path) -> None:
    shared.chmod(0o2775)
    gateway.client().put_object(Bucket=shared.name, Key="a/b/o", Body=b"")
    for folder in (shared / "a", shared / "a" / "b"):
        assert folder.stat().st_mode & stat.S_ISGID


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_objects_have_the_group_that_their_folder_hands_down_and_keep_another(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="before", Body=b"")
    own, group, another = (shared / "before").stat().st_gid, 4711, 4712
    os.chown(shared, -1, group)
    shared.chmod(0o2775)
    ways: dict[str, Any] = {"plain": {}, "sealed": SSE_S3, "a/new": {"IfNoneMatch": "*"}, "before": {}}
    for key, way in ways.items():
        client.put_object(Bucket=shared.name, Key=key, Body=b"x", **way)
        assert (shared / key).stat().st_gid == group != own
    os.chown(shared / "sealed", -1, another)
    client.put_object_tagging(Bucket=shared.name, Key="sealed", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert (shared / "sealed").stat().st_gid == another
    assert client.get_object(Bucket=shared.name, Key="sealed")["Body"].read() == b"x"


def test_an_encrypted_object_is_one_file(gateway: Server, shared: Path) -> None:
    gateway.client().put_object(Bucket=shared.name, Key="o", Body=b"secret" * 99, **SSE_S3)
    (file,) = shared.iterdir()
    assert file.name == "o" and b"secret" not in file.read_bytes()


def test_files_of_others_are_served_with_a_type_after_their_name(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    (shared / "sub").mkdir()
    for name, kind in {"page.html": "text/html", "x.json": "application/json", "none": "binary/octet-stream"}.items():
        (shared / "sub" / name).write_bytes(b"of others")
        got = client.get_object(Bucket=shared.name, Key=f"sub/{name}")
        assert (got["Body"].read(), got["ContentType"]) == (b"of others", kind)
        head = client.head_object(Bucket=shared.name, Key=f"sub/{name}")
        assert head["ETag"] == got["ETag"] and got["ETag"].endswith('-1"')
        assert error_of(client.get_object, Bucket=shared.name, Key=f"sub/{name}", IfNoneMatch=got["ETag"])[1] == 304
    listed = client.list_objects_v2(Bucket=shared.name)["Contents"]
    assert [item["Key"] for item in listed] == ["sub/none", "sub/page.html", "sub/x.json"]
    assert {item["ETag"] for item in listed} > {head["ETag"]}


@pytest.mark.parametrize("name", ["with_line", "xn--name", "sthree-name", "10.0.0.1"])
def test_folders_whose_names_no_new_bucket_may_have_are_buckets(gateway: Server, name: str) -> None:
    client = gateway.client()
    assert error_of(client.create_bucket, Bucket=name) == ("InvalidBucketName", 400)
    (gateway.directory / name).mkdir()
    (gateway.directory / name / "o").write_bytes(b"of others")
    assert name in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    client.copy_object(Bucket=name, Key="copy", CopySource=f"{name}/o")
    assert client.get_object(Bucket=name, Key="copy")["Body"].read() == b"of others"


def test_folders_of_others_are_buckets(gateway: Server, bucket_name: str) -> None:
    (gateway.directory / bucket_name).mkdir()
    (gateway.directory / bucket_name / "o").write_bytes(b"x")
    client = gateway.client()
    assert bucket_name in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    assert client.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"x"


@pytest.mark.parametrize("mine", [{}, SSE_S3], ids=["plain", "encrypted"])
def test_a_file_that_takes_the_place_of_an_object_inherits_nothing(gateway: Server, shared: Path, mine: Any) -> None:
    client, name = gateway.client(), {"Bucket": shared.name, "Key": "o.txt"}
    for way in ("written over", "renamed over", "removed and made"):
        old = client.put_object(**name, Body=b"12345", ContentType="text/x-mine", Metadata={"a": "b"}, **mine)["ETag"]
        if way == "written over":
            with (shared / "o.txt").open("r+b") as file:
                file.truncate()
                file.write(b"54321")
        elif way == "renamed over":
            (shared / "new").write_bytes(b"54321")
            (shared / "new").rename(shared / "o.txt")
        else:
            (shared / "o.txt").unlink()
            (shared / "o.txt").write_bytes(b"54321")
        got = client.get_object(**name)
        assert (got["Body"].read(), got["ContentType"], got["Metadata"]) == (b"54321", "text/plain", {})
        assert got["ETag"] != old and "ServerSideEncryption" not in got
        assert error_of(client.put_object, **name, Body=b"", IfMatch=old) == ("PreconditionFailed", 412)
        (listed,) = client.list_objects_v2(Bucket=shared.name)["Contents"]
        assert listed["ETag"] == got["ETag"]


def test_an_etag_changes_with_the_file(gateway: Server, shared: Path) -> None:
    client, name = gateway.client(), {"Bucket": shared.name, "Key": "o"}
    seen = set()
    for content in (b"1", b"2", b"33"):
        (shared / "o").write_bytes(content)
        seen.add(client.head_object(**name)["ETag"])
    assert len(seen) == 3


def test_a_plain_object_that_is_renamed_keeps_its_metadata(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    etag = client.put_object(Bucket=shared.name, Key="old", Body=b"x", Metadata={"a": "b"})["ETag"]
    (shared / "old").rename(shared / "new")
    assert error_of(client.get_object, Bucket=shared.name, Key="old") == ("NoSuchKey", 404)
    got = client.get_object(Bucket=shared.name, Key="new")
    assert (got["Metadata"], got["ETag"]) == ({"a": "b"}, etag)


def test_an_encrypted_object_opens_only_under_its_name(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="old", Body=b"secret", **SSE_S3)
    (shared / "old").rename(shared / "new")
    assert error_of(client.get_object, Bucket=shared.name, Key="new")[1] >= 400
    shutil.copy(shared / "new", shared / "old")  # and a copy that is put back, does
    assert client.get_object(Bucket=shared.name, Key="old")["Body"].read() == b"secret"


def test_a_plain_upload_of_an_encrypted_file_is_plain(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="sealed", Body=b"secret", **SSE_S3)
    content = (shared / "sealed").read_bytes()
    client.put_object(Bucket=shared.name, Key="backup", Body=content)
    got = client.get_object(Bucket=shared.name, Key="backup")
    assert (got["Body"].read(), "ServerSideEncryption" in got) == (content, False)


def test_tags_and_copies_of_a_file_of_others(gateway: Server, shared: Path) -> None:
    client, name = gateway.client(), {"Bucket": shared.name, "Key": "o.txt"}
    (shared / "o.txt").write_bytes(b"of others")
    client.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert client.get_object_tagging(**name)["TagSet"] == [{"Key": "a", "Value": "b"}]
    got = client.get_object(**name)
    assert (got["Body"].read(), got["ContentType"], got["TagCount"]) == (b"of others", "text/plain", 1)
    for target, options in {"plain": {}, "sealed": SSE_S3}.items():
        client.copy_object(Bucket=shared.name, Key=target, CopySource=name, **options)
        copied = client.get_object(Bucket=shared.name, Key=target)
        assert (copied["Body"].read(), copied["ContentType"]) == (b"of others", "text/plain")
    assert (shared / "plain").read_bytes() == b"of others"
    assert b"of others" not in (shared / "sealed").read_bytes()


@pytest.mark.parametrize("traits", [None, Traits(attributes=False)], ids=["attributes", "sidecars"])
def test_what_others_write_into_a_file_meanwhile_gets_no_record_of_what_was_there(
    tmp_path: Path, traits: Traits | None
) -> None:
    async def use() -> None:
        store = NasStore(tmp_path, traits=traits)
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "o", b"mine" * 1000)
        reader = await store.open("bucket", "o")
        with _written_before(Draft, "clone", tmp_path / "bucket" / "o"), pytest.raises(ObjectChanged):
            await store.copy(reader, "bucket", "copy", PLAIN, b"")
        await reader.close()
        with pytest.raises(NoSuchObject):
            await store.head("bucket", "copy")
        await put(store, "o", b"mine" * 1000)
        with _written_before(BesideStore, "keep", tmp_path / "bucket" / "o"):
            await store.rewrite("bucket", "o", {**PLAIN, ":tags": b"a=b"}, None, ALWAYS)
        assert (await store.head("bucket", "o")).record == {FOUND: b""}
        await store.stop()

    asyncio.run(use())


def _written_before(step: type, name: str, file: Path) -> Any:
    """Let another program write into a file just before a step."""
    real = getattr(step, name)

    def late(*args: Any) -> Any:
        with file.open("r+b") as theirs:
            theirs.write(b"theirs")
        return real(*args)

    return mock.patch.object(step, name, late)


def test_a_refusal_leaves_the_empty_folders_of_others(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    theirs = [shared / "a" / f"empty{number}" / "below" for number in range(9)]
    for folder in theirs:
        folder.mkdir(parents=True)
    (shared / "a" / "file").write_bytes(b"")
    assert error_of(client.put_object, Bucket=shared.name, Key="a") == ("XMinioObjectExistsAsDirectory", 409)
    assert error_of(client.delete_bucket, Bucket=shared.name) == ("BucketNotEmpty", 409)
    assert all(folder.is_dir() for folder in theirs)


def test_what_goes_while_it_is_listed_is_passed_over(gateway: Server, shared: Path) -> None:
    for number in range(300):
        (shared / f"{number:03}").write_bytes(b"")
    client = gateway.client()
    for _ in range(10):
        for number in range(0, 300, 2):
            (shared / f"{number:03}").unlink(missing_ok=True)
        listed = [item["Key"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]]
        assert set(listed) >= {f"{number:03}" for number in range(1, 300, 2)}
        for number in range(0, 300, 2):
            (shared / f"{number:03}").write_bytes(b"")


LEASING = """
import fcntl, os, signal, sys, time

def give_back(*_):
    time.sleep(0.2)
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os._exit(0)

file = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, give_back)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("way", ["get", "list"])
def test_a_file_that_a_file_server_has_a_lease_on_is_waited_for(gateway: Server, shared: Path, way: str) -> None:
    (shared / "o").write_bytes(b"theirs")
    client = gateway.client()
    with subprocess.Popen([sys.executable, "-c", LEASING, shared / "o"], stdout=subprocess.PIPE, text=True) as leasing:
        assert leasing.stdout is not None and leasing.stdout.readline() == "leased\n"
        if way == "get":
            assert client.get_object(Bucket=shared.name, Key="o")["Body"].read() == b"theirs"
        else:
            assert client.list_objects_v2(Bucket=shared.name)["KeyCount"] == 1
        assert leasing.wait(10) == 0


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    missing = Server(tmp_path, command=NAS, data=tmp_path / "mnt" / "nas")
    missing.directory = tmp_path / "mnt" / "nas"
    with pytest.raises(AssertionError, match="is it mounted"):
        missing.start()
    assert not missing.directory.exists()
