"""``strongroom export``: the way back, from a server into a folder of plain files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from strongroom.cli.copying import End, refuse_in_the_clear
from strongroom.secret import Secret
from strongroom.transfer.folder import Exported, Folder, FolderRefused
from strongroom.transfer.held import Held
from strongroom.transfer.place import parse_place
from tests.customer_keys import SSE_C
from tests.mounts import IMAGE, image_mounted, mounted, small_file_system, snapshot
from tests.server import ACCESS_KEY, SECRET_KEY, Server, free_port
from tests.transfer.conftest import Ended

Run = Callable[..., Ended]

pytestmark = pytest.mark.local


@pytest.fixture
def export(strongroom: Run, server: Server, bucket: str, tmp_path: Path) -> Run:
    """Export the bucket into ``tmp_path/out``."""

    def run(*arguments: str) -> Ended:
        keys = {"STRONGROOM_SOURCE_ACCESS_KEY": ACCESS_KEY, "STRONGROOM_SOURCE_SECRET_KEY": SECRET_KEY}
        return strongroom("export", f"{server.endpoint}/{bucket}", str(tmp_path / "out"), *arguments, **keys)

    return run


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return {row["key"]: row for row in rows}


def test_objects_become_files_that_the_manifest_describes(
    server: Server, bucket: str, tmp_path: Path, export: Run
) -> None:
    client, body = server.client(), os.urandom(3_000_000)
    client.put_object(
        Bucket=bucket, Key="a/ü.bin", Body=body, ContentType="x/y", Metadata={"n": "1"}, Tagging="t=u"
    )  # fmt: skip
    client.put_object(Bucket=bucket, Key="empty", Body=b"")
    ended = export("--json")
    assert (ended.code, ended.report["done"], ended.report["bytes"]) == (0, 2, 3_000_000)
    out = tmp_path / "out"
    assert (out / bucket / "a" / "ü.bin").read_bytes() == body
    assert (out / bucket / "empty").read_bytes() == b""
    row = manifest(out)["a/ü.bin"]
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    assert (row["headers"], row["metadata"], row["tags"]) == ({"ContentType": "x/y"}, {"n": "1"}, "t=u")
    assert (out / bucket / "empty").stat().st_mode & 0o077 == 0


def test_keys_that_cannot_be_paths_lead_nowhere_else(server: Server, bucket: str, tmp_path: Path, export: Run) -> None:
    keys = ["../../escaped", "a", "a/b", "a//b", "/absolute", "x/../y", "x/.", "trailing/", "line\nbreak", "n" * 300]
    for key in keys:
        server.client().put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert export().code == 0
    out = tmp_path / "out"
    rows = manifest(out)
    assert sorted(rows) == sorted(keys)
    for key, row in rows.items():
        path = (out / row["file"]).resolve()
        assert path.is_relative_to(out)
        assert path.read_bytes() == key.encode()
    assert not (tmp_path / "escaped").exists()
    assert {"a", "a/b"} & {key for key, row in rows.items() if row["file"] == f"{bucket}/{key}"}


def test_it_is_for_the_eyes_of_its_owner_alone(server: Server, bucket: str, tmp_path: Path, export: Run) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    server.client().put_object(Bucket=bucket, Key="patients/named/so", Body=b"x", Metadata={"of": "content"})
    before = os.umask(0o022)
    try:
        assert export().code == 0
    finally:
        os.umask(before)
    assert [str(path) for path in out.rglob("*") if path.stat().st_mode & 0o077] == []


def test_a_name_that_the_file_system_does_not_take_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.replace

    def as_on_fat(path: Path, target: Path) -> Path:
        if ":" in str(target):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(target))
        return real(path, target)

    monkeypatch.setattr(Path, "replace", as_on_fat)
    with closing(Folder(tmp_path / "out")) as folder:
        written = folder.temporary("bucket", "12:30")
        written.write_bytes(b"noon")
        folder.add(written, Exported("bucket", "12:30", "", 4, "", "", "", "", {}, {}, ""))
    assert (tmp_path / "out" / manifest(tmp_path / "out")["12:30"]["file"]).read_bytes() == b"noon"


def test_a_damaged_manifest_is_refused_in_one_line(server: Server, bucket: str, tmp_path: Path, export: Run) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    assert export().code == 0
    with (tmp_path / "out" / "manifest.jsonl").open("a") as file:
        file.write("\0\0\n")
    ended = export()
    assert (ended.code, "is damaged in line 2" in ended.err) == (1, True)
    (tmp_path / "out" / "manifest.jsonl").unlink()
    assert export("--json").report["done"] == 1


def test_it_goes_on_where_it_was_and_takes_what_changed(
    server: Server, bucket: str, tmp_path: Path, export: Run
) -> None:
    client = server.client()
    for key in ("a", "b"):
        client.put_object(Bucket=bucket, Key=key, Body=b"old")
    assert export().code == 0
    client.put_object(Bucket=bucket, Key="b", Body=b"newer")
    with (tmp_path / "out" / "manifest.jsonl").open("a") as file:
        file.write('{"torn')
    report = export("--json").report
    assert (report["done"], report["done_before"]) == (1, 1)
    assert (tmp_path / "out" / bucket / "b").read_bytes() == b"newer"
    assert manifest(tmp_path / "out")["b"]["size"] == 5


def test_objects_with_keys_of_clients_need_the_key(server: Server, bucket: str, tmp_path: Path, export: Run) -> None:
    server.client().put_object(Bucket=bucket, Key="c", Body=b"body", **SSE_C)
    assert (export().code, (tmp_path / "out" / bucket / "c").exists()) == (3, False)
    key = tmp_path / "key"
    key.write_bytes(SSE_C["SSECustomerKey"])
    assert export("--sse-c-key-file", str(key)).code == 0
    assert (tmp_path / "out" / bucket / "c").read_bytes() == b"body"


def test_a_locale_in_which_files_cannot_have_the_names_of_objects_is_refused(tmp_path: Path, strongroom: Run) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = strongroom("export", "http://127.0.0.1:1/bucket", str(tmp_path / "out"), **ascii_only)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "set LC_ALL=C.UTF-8" in ended.err


def test_a_folder_with_other_things_is_refused(tmp_path: Path, export: Run) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    ended = export()
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "empty folder" in ended.err


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_key_of_a_client_goes_over_plain_http_to_no_other_machine(
    tmp_path: Path, strongroom: Run, command: str
) -> None:
    key, out = tmp_path / "key", tmp_path / "out"
    key.write_bytes(SSE_C["SSECustomerKey"])
    arguments = ("http://192.0.2.1:9/b", "http://127.0.0.1:9" if command == "import" else str(out))
    ended = strongroom(command, *arguments, "--sse-c-key-file", str(key))
    assert (ended.code, ended.err.count("\n"), out.exists()) == (2, 1, False)
    assert "SOURCE: the key of --sse-c-key-file would go over plain http" in ended.err


def test_which_places_are_reached_in_the_clear() -> None:
    for safe in ("https://s3.example.com", "http://127.0.0.1:9000", "http://[::1]:9000/b", "http://LOCALHOST/b"):
        assert not parse_place(safe).in_the_clear
    for open_ in (
        "http://s3.example.com",
        "http://10.0.0.1:9000/b",
        "http://localhost.example.com",
        "http://[fe80::1]",
    ):
        assert parse_place(open_).in_the_clear


def test_the_setting_lets_a_key_of_a_client_go_over_plain_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = [End("source", "http://s3.example.com", None, None, None)]
    with pytest.raises(typer.Exit):
        refuse_in_the_clear(Secret(bytes(32)), *ends)
    monkeypatch.setenv("STRONGROOM_ALLOW_INSECURE_SSE_C", "on")
    refuse_in_the_clear(Secret(bytes(32)), *ends)


@pytest.mark.parametrize("fails", ["nobody listens", "its key is missing"])
def test_one_that_exported_nothing_leaves_the_folder_as_it_was(
    server: Server, bucket: str, tmp_path: Path, strongroom: Run, export: Run, fails: str
) -> None:
    out = tmp_path / "out"
    if fails == "nobody listens":
        assert strongroom("export", f"http://127.0.0.1:{free_port()}/b", str(out)).code == 1
    else:
        server.client().put_object(Bucket=bucket, Key="c", Body=b"body", **SSE_C)
        assert export().code == 3
    assert list(out.iterdir()) == []
    (out / "mine").touch()
    ended = export()
    assert (ended.code, "empty folder" in ended.err) == (1, True)


def test_what_others_put_into_the_folder_before_the_first_object_is_seen(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "mine").touch()
    with pytest.raises(FolderRefused):
        folder.temporary("bucket", "key")
    folder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_two_at_a_time_do_not_share_a_folder(tmp_path: Path) -> None:
    def add(folder: Folder, key: str) -> None:
        path = folder.temporary("bucket", key)
        path.write_bytes(b"x")
        folder.add(path, Exported("bucket", key, "", 1, "", "", "", "", {}, {}, ""))

    with closing(Folder(tmp_path)) as first:
        add(first, "one")
        with pytest.raises(Held, match="is running"):
            Folder(tmp_path)
        add(first, "two")
    with closing(Folder(tmp_path)) as second:
        add(second, "three")
    assert sorted(manifest(tmp_path)) == ["one", "three", "two"]


def test_an_object_that_does_not_come_whole_leaves_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.temporary("bucket", "key").touch()
    folder.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("role", ["source", "target"])
def test_where_credentials_come_from_is_said_where_there_are_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    monkeypatch.setattr("os.environ", {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"})
    with pytest.raises(typer.Exit) as ended:
        End(role, "http://127.0.0.1:9/b", None, None, None).client(1, threading.Event())
    said, names = capsys.readouterr().err, [f"STRONGROOM_{role.upper()}_{kind}_KEY" for kind in ("ACCESS", "SECRET")]
    assert (ended.value.exit_code, said.count("\n")) == (2, 1)
    for name in (f"{role.upper()}: there are no credentials", *names, "AWS_ACCESS_KEY_ID", f"--{role}-profile"):
        assert name in said


def test_a_folder_that_is_full_is_said_to_be_and_gone_on_with_when_there_is_room(
    server: Server, bucket: str, tmp_path: Path, export: Run
) -> None:
    bodies = {f"{number:02}": os.urandom(200_000) for number in range(8)}
    for key, body in bodies.items():
        server.client().put_object(Bucket=bucket, Key=key, Body=body)
    out = tmp_path / "out"
    with small_file_system(out, 2):
        (out / ".strongroom-export").mkdir()  # an export that was begun
        filling = out / ".strongroom-export" / "filling"
        filling.write_bytes(bytes(1_000_000))
        ended = export("--json")
        assert ended.code == 1
        assert (
            ended.err
            == f"strongroom: {out}: there is no room left: make some, and the same command goes on from here\n"
        )
        assert not (out / ".strongroom-export" / "tmp").exists()
        assert set(manifest(out)) <= set(bodies)
        filling.unlink()
        again = export("--json")
        assert (again.code, again.report["done"] + again.report["done_before"]) == (0, 8)
        assert {key: (out / bucket / key).read_bytes() for key in manifest(out)} == bodies


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_what_was_exported_survives_a_power_cut(
    server: Server, bucket: str, tmp_path: Path, strongroom: Run, kind: str
) -> None:
    for number in range(10):
        server.client().put_object(Bucket=bucket, Key=f"{number % 3}/{number}", Body=b"%d" % number)
    keys = {"STRONGROOM_SOURCE_ACCESS_KEY": ACCESS_KEY, "STRONGROOM_SOURCE_SECRET_KEY": SECRET_KEY}
    (tmp_path / "disk").mkdir()
    with image_mounted("xfs", tmp_path / "disk", 512) as disk:
        with image_mounted(kind, disk, 128) as point:
            assert strongroom("export", f"{server.endpoint}/{bucket}", str(point / "out"), **keys).code == 0
            snapshot(disk / IMAGE, disk / "cut")
        with mounted(disk / "cut", disk / "mounted-cut") as point:
            rows = manifest(point / "out")
            assert len(rows) == 10
            for key, row in rows.items():
                assert (point / "out" / row["file"]).read_bytes() == key.partition("/")[2].encode()


def test_a_folder_that_is_full_from_the_start_is_not_taken_for_one_of_others(tmp_path: Path) -> None:
    with small_file_system(tmp_path / "disk", 1) as disk:
        folder, filling = Folder(disk / "out"), disk / "filling"
        filling.write_bytes(bytes(1024**2 - os.sysconf("SC_PAGE_SIZE")))
        for _ in range(2):  # as threads do, one after the other
            with pytest.raises((OSError, sqlite3.OperationalError), match=r"full|space"):
                folder.temporary("bucket", "key")
        filling.unlink()
        assert folder.temporary("bucket", "key").parent.is_dir()
        folder.close()


def test_a_manifest_is_not_written_anew_of_lines_that_could_not_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path / "out")
    for number in range(3):
        if number == 2:
            error = sqlite3.OperationalError("database or disk is full")
            monkeypatch.setattr(folder, "_keep", mock.Mock(side_effect=error))
        written = folder.temporary("bucket", str(number))
        written.write_bytes(b"")
        line = Exported("bucket", str(number), "", 0, "", "", "", "", {}, {}, "")
        with pytest.raises(sqlite3.Error) if number == 2 else nullcontext():
            folder.add(written, line)
    assert folder._lines is not None
    folder._lines.execute("DELETE FROM lines")  # as a database does that is full, and keeps no journal
    folder.close()
    assert set(manifest(tmp_path / "out")) == {"0", "1"}
    assert not (tmp_path / "out" / ".strongroom-export" / "tmp").exists()
