"""What file systems differ in: seen at the start, said, and lived with."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from strongroom.store.base import Condition, Stored
from strongroom.store.errors import ConditionFailed, NameRefused, NoSuchObject, StoreError
from strongroom.store.file_system import file_system
from strongroom.store.nas import NasStore, file_system_warnings
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.folder import Folder
from strongroom.store.nas.probe import Traits, probe
from tests.mounts import image_mounted
from tests.server import NAS, Server
from tests.store.kinds import content_of, get, put


def test_an_ordinary_file_system_is_not_warned_of(tmp_path: Path) -> None:
    assert file_system_warnings(tmp_path) == []
    assert [file.name for file in (tmp_path / ".strongroom.sys" / "tmp").iterdir()] == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_file_system_is_served_and_not_taken_for_a_poorer_one(tmp_path: Path, number: int) -> None:
    real = os.open

    def no_more(path: Any, flags: int, *args: Any, **named: Any) -> int:
        if flags & os.O_CREAT and os.fsdecode(path) not in ("locks", "clock"):
            raise full  # as XFS, and any file system without inodes
        return real(path, flags, *args, **named)

    file_system_warnings(tmp_path)
    full = OSError(number, os.strerror(number))
    with mock.patch("os.open", no_more), ExitStack() as patches:
        for name in ("mkdir", "pwrite", "link", "setxattr"):
            patches.enter_context(mock.patch.object(os, name, side_effect=full))
        folder = Folder(tmp_path, 0o077)
        folder.open()
        found = probe(folder)
        folder.close()
    assert (found.attributes, found.links, found.fine_times) == (True, True, True)


def _folding(fold: Callable[[bytes], bytes]) -> Callable[..., Any]:
    """os.open and os.stat of a file system that takes two names for one if ``fold`` makes them one."""

    def folded(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda path, *args, **named: real(fold(path) if isinstance(path, bytes) else path, *args, **named)

    return folded


def _decomposed(name: bytes) -> bytes:
    return name.replace("é".encode(), "e\u0301".encode())


@pytest.mark.parametrize(("fold", "said"), [(bytes.lower, "upper case from lower"), (_decomposed, "Unicode")])
def test_a_file_system_that_takes_two_names_for_one_is_said_to(
    tmp_path: Path, fold: Callable[[bytes], bytes], said: str
) -> None:
    folded = _folding(fold)
    with mock.patch("os.open", folded(os.open)), mock.patch("os.stat", folded(os.stat)):
        (warning,) = file_system_warnings(tmp_path)
    assert said in warning


def test_a_file_system_without_attributes_is_said_to_have_none(tmp_path: Path) -> None:
    with mock.patch("os.setxattr", side_effect=OSError(95, "Operation not supported")):
        (warning,) = file_system_warnings(tmp_path)
    assert "no extended attributes" in warning


@pytest.mark.parametrize("name", ["Büro", "with a\tblank", "back\\slash", os.fsdecode(b"\xff")])
def test_the_kind_of_a_file_system_is_known_whatever_its_mount_is_called(tmp_path: Path, name: str) -> None:
    escaped = os.fsencode(name)
    for byte in b"\\ \t":
        escaped = escaped.replace(bytes((byte,)), b"\\%03o" % byte)
    lines = b"1 0 8:1 / / rw - ext4 /dev/root rw\n2 1 0:9 / /mnt/%s rw shared:7 - fuse.sshfs nas: rw\n" % escaped
    with mock.patch.object(Path, "read_bytes", return_value=lines):
        assert file_system(Path("/mnt", name, "folder")) == "fuse.sshfs"
        assert file_system(Path("/mnt", "other")) == "ext4"


@pytest.mark.parametrize("fault", [OSError(37, "No locks available"), None])
def test_a_file_system_whose_locks_do_not_hold_is_refused(tmp_path: Path, fault: OSError | None) -> None:
    with mock.patch("fcntl.fcntl", side_effect=fault), pytest.raises(StoreError, match="lock"):
        file_system_warnings(tmp_path)


@pytest.mark.parametrize(
    ("kind", "lasts"), [("ext4", True), ("nfs4", True), ("fuse.sshfs", False), ("vfat", False), ("exfat", False)]
)
def test_inode_numbers_that_do_not_last_are_not_relied_upon(tmp_path: Path, kind: str, lasts: bool) -> None:
    folder = Folder(tmp_path, 0o077)
    folder.open()
    with mock.patch("strongroom.store.nas.probe.file_system", return_value=kind):
        assert probe(folder).inodes == lasts
    folder.close()


def test_a_file_system_that_removes_what_it_cannot_replace_is_refused(tmp_path: Path) -> None:
    def rename(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        os.unlink(target, dir_fd=dst_dir_fd)  # as Linux does on SMB, where the file is open
        raise PermissionError(errno.EACCES, "Permission denied")

    with mock.patch("os.rename", rename), pytest.raises(StoreError, match="replaced while somebody reads it"):
        file_system_warnings(tmp_path)
    assert list((tmp_path / ".strongroom.sys" / "tmp").iterdir()) == []


def test_without_attributes_a_replaced_file_inherits_nothing(tmp_path: Path) -> None:
    async def use() -> None:
        store = NasStore(tmp_path, traits=Traits(attributes=False, links=False, steady_times=False))
        await store.start()
        await store.create_bucket("bucket")
        record = {":etag": b"one", "x-amz-meta-a": b"b"}
        old = await put(store, "o", b"12345", record)
        assert (await store.head("bucket", "o")).record == record
        file = tmp_path / "bucket" / "o"
        times = (file.stat().st_atime_ns, file.stat().st_mtime_ns)
        for way in ("written over", "renamed over", "renamed over with its times"):
            if way == "written over":
                file.write_bytes(b"54321")
            else:
                (tmp_path / "bucket" / "new").write_bytes(b"54321")
                if way.endswith("times"):
                    os.utime(tmp_path / "bucket" / "new", ns=times)
                (tmp_path / "bucket" / "new").rename(file)
            found = await store.head("bucket", "o")
            assert found.record == {":found": b""} and found.identity != old.identity
            await store.delete("bucket", "o")
            await put(store, "o", b"12345", record)
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize(
    ("traits", "record"),
    [(Traits(attributes=False, links=False), {":etag": b"e"}), (Traits(), {":long": b"x" * 8000})],
    ids=["without attributes", "too long for one"],
)
def test_sidecars_go_with_their_objects(tmp_path: Path, traits: Traits, record: dict[str, bytes]) -> None:
    async def use() -> None:
        store = NasStore(tmp_path, traits=traits)
        await store.start()
        await store.create_bucket("bucket")
        for _ in range(3):
            await put(store, "a/o", b"x", record)
        beside = tmp_path / ".strongroom.sys" / "beside"
        assert len([file for file in beside.rglob("*") if file.is_file()]) == 1
        with pytest.raises(ConditionFailed):
            await put(store, "a/o", b"refused", record, when=Condition(absent=True))
        assert len([file for file in beside.rglob("*") if file.is_file()]) == 1
        await store.delete("bucket", "a/o")
        assert [file for file in beside.rglob("*") if file.is_file()] == []
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.EINVAL])
@pytest.mark.parametrize("key", ["a/" + "x" * 200, "x" * 200 + "/o"])
def test_a_name_that_the_file_system_refuses_is_absent_and_cannot_be_written(
    tmp_path: Path, key: str, number: int
) -> None:
    def short(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **named: Any) -> Any:
            if isinstance(path, bytes) and len(path) > 143:  # as eCryptfs has it
                raise OSError(number, os.strerror(number), path)
            return real(path, *args, **named)

        return call

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        await put(store, "a/o", b"")
        with ExitStack() as patches:
            for name in ("open", "stat", "mkdir", "rename"):
                patches.enter_context(mock.patch.object(os, name, short(getattr(os, name))))
            with pytest.raises(NameRefused):
                await put(store, key, b"")
            with pytest.raises(NameRefused):
                await store.create_upload("bucket", key, {}, os.urandom(16))
            with pytest.raises(NoSuchObject):
                await store.head("bucket", key)
            assert not await store.delete("bucket", key)
        await store.stop()

    asyncio.run(use())


def test_a_plain_object_keeps_its_metadata_where_the_server_sets_a_time_as_a_file_is_closed(tmp_path: Path) -> None:
    set_by_us: set[int] = set()
    real_utime, real_drop = os.utime, Draft.drop

    def utime(descriptor: int, **named: Any) -> None:
        set_by_us.add(os.fstat(descriptor).st_ino)
        real_utime(descriptor, **named)

    def drop(self: Draft) -> None:  # as SMB servers do
        if self.descriptor >= 0 and os.fstat(self.descriptor).st_ino not in set_by_us:
            later = os.fstat(self.descriptor).st_mtime_ns + 1_000_000_000
            real_utime(self.descriptor, ns=(later, later))
        real_drop(self)

    async def use() -> None:
        store = NasStore(tmp_path, traits=Traits(steady_times=False))
        await store.start()
        await store.create_bucket("bucket")
        with mock.patch("os.utime", utime), mock.patch.object(Draft, "drop", drop):
            stored = await put(store, "o", b"x", {":etag": b"one"})
        assert await store.head("bucket", "o") == stored
        await store.stop()

    asyncio.run(use())


def test_a_sidecar_is_removed_before_the_next_object_can_have_its_name(tmp_path: Path) -> None:
    coarse = Traits(attributes=False, links=False, inodes=False, steady_times=False, fine_times=False)
    real = BesideStore.forget

    async def use() -> None:
        store = NasStore(tmp_path, traits=coarse)
        await store.start()
        await store.create_bucket("bucket")
        loop = asyncio.get_running_loop()
        later: list[Future[Stored]] = []

        def late(self: BesideStore, *args: Any) -> None:
            if not later:  # the object is gone: another comes, of its size and in the same second
                later.append(asyncio.run_coroutine_threadsafe(put(store, "o", b"new", {":etag": b"new"}), loop))
                wait(later, timeout=0.5)
            real(self, *args)

        with mock.patch.object(Folder, "now", return_value=2_000_000_000_000_000_000):
            await put(store, "o", b"old")
            with mock.patch.object(BesideStore, "forget", late):
                await store.delete("bucket", "o")
                await asyncio.wrap_future(later[0])
        assert (await store.head("bucket", "o")).record == {":etag": b"new"}
        await store.stop()

    asyncio.run(use())


def test_a_network_file_system_that_remembers_a_file_that_is_gone_is_asked_until_it_forgets(tmp_path: Path) -> None:
    real, until = os.fstat, 0.0

    def stale(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        if stat.S_ISREG(found.st_mode) and time.monotonic() < until:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return found

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        stored = await put(store, "o", b"x", {":etag": b"one"})
        nonlocal until
        until = time.monotonic() + 0.5
        with mock.patch("os.fstat", stale):
            assert await store.head("bucket", "o") == stored
        until = time.monotonic() + 0.5
        with mock.patch("os.fstat", stale):
            await store.delete("bucket", "o", Condition(identity=stored.identity))
        await store.stop()

    asyncio.run(use())


@pytest.mark.parametrize("fault", ["copy_file_range", "both"])
def test_where_the_kernel_cannot_copy_bytes_are_read_and_written(tmp_path: Path, fault: str) -> None:
    contents = [os.urandom(70_000), os.urandom(5), os.urandom(9000)]

    async def use() -> None:
        store = NasStore(tmp_path)
        await store.start()
        await store.create_bucket("bucket")
        for record in ({":etag": b"one"}, {":sse": b"a header"}):
            upload = await store.create_upload("bucket", "o", record, os.urandom(16))
            parts = []
            for number, content in enumerate(contents, 1):
                writer = await store.part_writer("bucket", "o", upload.upload_id, number, None)
                await writer.write(content)
                parts.append(await writer.commit({}))
            await store.complete("bucket", "o", upload.upload_id, parts, record)
            assert await get(store, "o") == b"".join(contents)
            reader = await store.open("bucket", "o")
            await store.copy(reader, "bucket", "copy", record, b"")
            assert await content_of(reader) == await get(store, "copy")
            await reader.close()
        await store.stop()

    effect = OSError(38, "Function not implemented") if fault == "copy_file_range" else None
    with mock.patch("os.copy_file_range", side_effect=effect, return_value=0):
        asyncio.run(use())


@pytest.fixture(params=["vfat", "xfs", "btrfs"])
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A file system of another kind on a loop device, where this machine lets us have one."""
    with image_mounted(request.param, tmp_path) as point:
        yield request.param, point


def test_objects_of_every_kind_on_other_file_systems(mounted: tuple[str, Path], tmp_path: Path) -> None:
    kind, point = mounted
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
    with Server(tmp_path / "home", settings, workers=1, command=NAS, data=point) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        ways: dict[str, Any] = {"plain": {}, "sealed": {"ServerSideEncryption": "AES256"}}
        for way, sse in ways.items():
            name: Any = {"Bucket": "bucket", "Key": f"a/{way}"}
            upload = client.create_multipart_upload(**name, Metadata={"a": "b"}, **sse)["UploadId"]
            bodies = [os.urandom(5 * 1024 * 1024), os.urandom(5 * 1024 * 1024 + 7), b"end"]
            parts = [
                {
                    "PartNumber": n,
                    "ETag": client.upload_part(**name, UploadId=upload, PartNumber=n, Body=body)["ETag"],
                }
                for n, body in enumerate(bodies, 1)
            ]
            client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
            client.copy_object(Bucket="bucket", Key=f"{way}-copy", CopySource=name, **sse)
            for key in (f"a/{way}", f"{way}-copy"):
                got = client.get_object(Bucket="bucket", Key=key)
                assert (got["Body"].read(), got["Metadata"]) == (b"".join(bodies), {"a": "b"})
            client.put_object(**name, Body=b"small", IfMatch=client.head_object(**name)["ETag"])
            assert client.get_object(**name)["Body"].read() == b"small"
        assert client.list_objects_v2(Bucket="bucket")["KeyCount"] == 4
        for said, expected in {"upper case": kind == "vfat", "no extended attributes": kind == "vfat"}.items():
            assert (said in server.log) == expected
