"""Names on a file system: which keys it can hold, and that none leads out of the shared folder."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.store.errors import NameRefused, NoSuchObject
from strongroom.store.nas import NasStore
from strongroom.store.nas.names import FOLDER_OBJECT, is_bucket_name, key_of, place_of
from tests.http.raw import error_of
from tests.server import Server
from tests.store.kinds import PLAIN, put

REFUSED = {
    "a//b": "XMinioInvalidObjectName",
    "/a": "XMinioInvalidObjectName",
    "/": "XMinioInvalidObjectName",
    "..": "XMinioInvalidObjectName",
    "a/../b": "XMinioInvalidObjectName",
    "../../etc/passwd": "XMinioInvalidObjectName",
    "a/./b": "XMinioInvalidObjectName",
    "../.strongroom.sys/locks": "XMinioInvalidObjectName",
    ".strongroom.folder": "XMinioInvalidObjectName",
    "a/.Strongroom.anything": "XMinioInvalidObjectName",
    "x" * 256: "KeyTooLongError",
    "a/" + "é" * 128: "KeyTooLongError",
}


@pytest.mark.parametrize("key", REFUSED)
def test_a_name_that_no_file_can_have_is_refused_on_write_and_absent_on_read(
    gateway: Server, shared: Path, key: str
) -> None:
    client, name = gateway.client(), {"Bucket": shared.name, "Key": key}
    before = sorted(gateway.directory.rglob("*"))
    for call in (lambda: client.put_object(**name, Body=b"x"), lambda: client.create_multipart_upload(**name)):
        assert error_of(call) == (REFUSED[key], 400)
    assert error_of(client.get_object, **name) == ("NoSuchKey", 404)
    assert error_of(client.delete_object, **name) == ("", 200)
    assert sorted(gateway.directory.rglob("*")) == before


@pytest.mark.parametrize("prefix", ["a\0/", "a\0", "a/\0/", "/", "./", "a/../a/", "é" * 128 + "/"])
def test_nothing_is_listed_below_what_no_file_can_be_called(gateway: Server, shared: Path, prefix: str) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="a/b", Body=b"x")
    for delimiter in ("", "/"):
        listed = client.list_objects_v2(Bucket=shared.name, Prefix=prefix, Delimiter=delimiter)
        assert "Contents" not in listed and "CommonPrefixes" not in listed


def test_an_object_and_names_below_it_cannot_both_be(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="a/b", Body=b"1")
    assert error_of(client.put_object, Bucket=shared.name, Key="a/b/c", Body=b"") == ("XMinioParentIsObject", 400)
    assert error_of(client.put_object, Bucket=shared.name, Key="a/b/", Body=b"") == ("XMinioParentIsObject", 400)
    assert error_of(client.put_object, Bucket=shared.name, Key="a", Body=b"") == ("XMinioObjectExistsAsDirectory", 409)
    for key, code in {"a": "XMinioObjectExistsAsDirectory", "a/b/c/d": "XMinioParentIsObject"}.items():
        assert error_of(client.create_multipart_upload, Bucket=shared.name, Key=key)[0] == code
    for key in ("a", "a/b/c", "a/b/", "a/"):
        assert error_of(client.get_object, Bucket=shared.name, Key=key) == ("NoSuchKey", 404)
        assert error_of(client.delete_object, Bucket=shared.name, Key=key) == ("", 200)
    client.delete_object(Bucket=shared.name, Key="a/b")
    assert list(shared.iterdir()) == []
    client.put_object(Bucket=shared.name, Key="a", Body=b"now a file")
    assert (shared / "a").read_bytes() == b"now a file"


def test_a_folder_without_objects_is_in_nobodys_way(gateway: Server, shared: Path) -> None:
    (shared / "a" / "b").mkdir(parents=True)
    client = gateway.client()
    listed = client.list_objects_v2(Bucket=shared.name, Delimiter="/")
    assert (listed["KeyCount"], listed.get("CommonPrefixes")) == (0, None)
    client.put_object(Bucket=shared.name, Key="a", Body=b"x")
    assert (shared / "a").is_file()
    (shared / "left").mkdir()
    client.delete_object(Bucket=shared.name, Key="a")
    client.delete_bucket(Bucket=shared.name)
    assert not shared.exists()


def test_a_key_that_ends_in_a_slash_is_an_object_in_its_folder(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="f/", Body=b"of the folder", Metadata={"a": "b"})
    client.put_object(Bucket=shared.name, Key="f/x", Body=b"in it")
    assert (shared / "f").is_dir()
    got = client.get_object(Bucket=shared.name, Key="f/")
    assert (got["Body"].read(), got["Metadata"]) == (b"of the folder", {"a": "b"})
    assert [item["Key"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]] == ["f/", "f/x"]
    client.delete_object(Bucket=shared.name, Key="f/x")
    assert [item["Key"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]] == ["f/"]
    client.delete_object(Bucket=shared.name, Key="f/")
    assert list(shared.iterdir()) == []


def test_symbolic_links_lead_nowhere(gateway: Server, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not for S3")
    (shared / "real").mkdir()
    (shared / "real" / "o").write_bytes(b"inside")
    (shared / "file").symlink_to(tmp_path / "secret")
    (shared / "folder").symlink_to(tmp_path)
    (shared / "inside").symlink_to("real")
    (gateway.directory / f"{shared.name}-link").symlink_to(tmp_path)
    client = gateway.client()
    for key in ("file", "folder/secret", "inside/o"):
        assert error_of(client.get_object, Bucket=shared.name, Key=key) == ("NoSuchKey", 404)
        refused = error_of(client.put_object, Bucket=shared.name, Key=key, Body=b"x")
        assert refused == ("XMinioInvalidObjectName", 400)
    assert error_of(client.put_object, Bucket=shared.name, Key="folder/new", Body=b"x")[1] == 400
    assert error_of(client.delete_object, Bucket=shared.name, Key="folder/secret") == ("", 200)
    assert error_of(client.list_objects_v2, Bucket=f"{shared.name}-link") == ("NoSuchBucket", 404)
    assert f"{shared.name}-link" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    assert [item["Key"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]] == ["real/o"]
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_bytes() == b"not for S3"


def test_special_files_are_no_objects(gateway: Server, shared: Path) -> None:
    os.mkfifo(shared / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(shared)  # the path of a socket is short
        try:
            listening.bind("socket")
        finally:
            os.chdir(here)
        client = gateway.client()
        for key in ("pipe", "socket"):
            assert error_of(client.get_object, Bucket=shared.name, Key=key) == ("NoSuchKey", 404)
            assert error_of(client.put_object, Bucket=shared.name, Key=key, Body=b"")[0] == "XMinioInvalidObjectName"
            assert error_of(client.delete_object, Bucket=shared.name, Key=key) == ("", 200)
    assert client.list_objects_v2(Bucket=shared.name)["KeyCount"] == 0
    assert error_of(client.delete_bucket, Bucket=shared.name) == ("BucketNotEmpty", 409)


def test_file_names_that_are_no_text_are_not_listed(gateway: Server, shared: Path) -> None:
    Path(os.fsdecode(os.fsencode(shared) + b"/\xff\xfe")).write_bytes(b"x")
    (shared / "text").write_bytes(b"x")
    listed = gateway.client().list_objects_v2(Bucket=shared.name)
    assert [item["Key"] for item in listed["Contents"]] == ["text"]


def test_the_reserved_folder_is_no_bucket(gateway: Server) -> None:
    assert (gateway.directory / ".strongroom.sys").is_dir()
    client = gateway.client()
    for name in (".strongroom.sys", "..", "."):
        assert not is_bucket_name(name)
    assert ".strongroom.sys" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


@given(st.binary(min_size=1, max_size=300).filter(lambda name: not set(name) & set(b"/\0") and name.strip(b".")))
@example(b"x" * 255)
@example("\u043b".encode() * 128)  # Windows has names of 255 characters, however many bytes those are
def test_what_is_listed_can_be_asked_for(name: bytes) -> None:
    key = key_of(b"", name)
    assert key is None or place_of("bucket", key.decode()).parts == (name,)


@given(st.text(min_size=1, max_size=40))
def test_a_key_is_refused_or_stays_below_its_bucket_and_comes_back(key: str) -> None:
    try:
        key.encode()
        place = place_of("bucket", key)
    except (NameRefused, UnicodeEncodeError):
        return
    for part in place.parts:
        assert part not in (b"", b".", b"..") and b"/" not in part and b"\0" not in part and len(part) <= 255
    prefix = b"".join(part + b"/" for part in place.folders)
    assert key_of(prefix, place.leaf) == key.encode()
    assert (place.leaf == FOLDER_OBJECT) == key.endswith("/")


NFS, FUSE = ".nfs" + "0123456789abcdef00000001", ".fuse_hidden" + "0123456789abcdef"


@pytest.mark.parametrize(
    ("kind", "hidden"), [("nfs4", {NFS}), ("nfs", {NFS}), ("fuse.sshfs", {FUSE}), ("ext4", set()), ("", set())]
)
def test_files_that_the_file_system_keeps_for_who_reads_them_are_no_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, hidden: set[str]
) -> None:
    monkeypatch.setattr("strongroom.store.nas.probe.file_system", lambda path: kind)
    names = {NFS, FUSE, NFS + "0", FUSE[:-1], ".nfs"}

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for folder in ("", "below/"):
            (tmp_path / "bucket" / folder).mkdir(exist_ok=True)
            for name in names:
                (tmp_path / "bucket" / folder / name).write_bytes(b"x")
            listed = await store.list("bucket", folder, "/", "", 100)
            assert {found.key.removeprefix(folder) for found in listed.objects} == names - hidden
        for name in hidden:
            for refused in (put(store, name, b"x"), store.create_upload("bucket", name, PLAIN, os.urandom(16))):
                with pytest.raises(NameRefused):
                    await refused
            with pytest.raises(NoSuchObject):
                await store.head("bucket", f"below/{name}")
            assert not await store.delete("bucket", name)
            (tmp_path / "bucket" / "only").mkdir()
            (tmp_path / "bucket" / "only" / name).write_bytes(b"x")
            assert "only/" not in (await store.list("bucket", "", "/", "", 100)).prefixes
        assert (tmp_path / "bucket" / NFS).exists()
        await store.stop()

    asyncio.run(use())
