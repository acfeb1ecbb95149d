"""``strongroom import`` run once more, after the target changed: what clients wrote there is left alone, and a bucket
that was emptied is filled again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from strongroom.secret import Secret
from strongroom.transfer.copying import Copier, NotCopied, Stopped, Wishes
from strongroom.transfer.place import Access
from strongroom.transfer.s3 import S3
from strongroom.transfer.state import State
from tests import backends
from tests.backends import Backend
from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.server import ACCESS_KEY, SECRET_KEY, Server
from tests.transfer.conftest import Ended
from tests.transfer.minio import PASSWORD, USER, MinIO

pytestmark = pytest.mark.local  # it speaks S3 and nothing else; one kind of server says it all

Run = Callable[..., Ended]
SMALL, LARGE = 10, 17 * 1024 * 1024
"""Bytes of an object that is written whole, and of one that is written in parts."""


@pytest.fixture
def again(ends: tuple[str, ...], strongroom: Run, tmp_path: Path) -> Run:
    """Import the bucket, with the state file that the runs before this one left."""

    def run(*arguments: str) -> Ended:
        return strongroom("import", *ends, "--state-file", str(tmp_path / "state.db"), *arguments)

    return run


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_a_client_wrote_over_a_copy_is_left_alone_when_the_source_changes_too(
    source: Any, again: Run, tls_server: Server, bucket_name: str, size: int
) -> None:
    here, client = {"Bucket": bucket_name, "Key": "k"}, tls_server.client()
    source.put_object(**here, Body=os.urandom(size))
    assert again().code == 0
    client.put_object(**here, Body=b"the client's")
    changed = os.urandom(size)
    source.put_object(**here, Body=changed)
    for _ in range(2):
        ended = again()
        assert (ended.code, "at the target" in ended.out) == (3, True)
        assert client.get_object(**here)["Body"].read() == b"the client's"
    assert again("--overwrite").code == 0
    assert client.get_object(**here)["Body"].read() == changed
    source.put_object(**here, Body=b"once more")
    assert again().code == 0
    assert client.get_object(**here)["Body"].read() == b"once more"


def test_what_a_client_sealed_over_a_copy_with_a_key_of_its_own_is_left_alone(
    source: Any, again: Run, tls_server: Server, bucket_name: str
) -> None:
    here, client = {"Bucket": bucket_name, "Key": "k"}, tls_server.client()
    source.put_object(**here, Body=b"old")
    assert again().code == 0
    client.put_object(**here, Body=b"the client's", **SSE_C)
    source.put_object(**here, Body=b"newer")
    ended = again()
    assert (ended.code, "at the target" in ended.out) == (3, True)
    assert client.get_object(**here, **SSE_C)["Body"].read() == b"the client's"


def test_copies_sealed_with_a_key_of_a_client_follow_the_source(
    source: Any, again: Run, tls_server: Server, bucket_name: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_bytes(SSE_C["SSECustomerKey"])
    here, client = {"Bucket": bucket_name, "Key": "k"}, tls_server.client()
    for body in (b"old", b"newer"):
        source.put_object(**here, Body=body, **SSE_C)
        assert again("--sse-c-key-file", str(key)).code == 0
        assert client.get_object(**here, **SSE_C)["Body"].read() == body
    source.put_object(**here, Body=b"plain now")
    assert again("--sse-c-key-file", str(key)).code == 0
    assert client.get_object(**here)["Body"].read() == b"plain now"


def test_a_state_file_without_etags_of_the_target_is_gone_on_with_after_the_bytes_were_compared(
    source: Any, again: Run, tls_server: Server, bucket_name: str, tmp_path: Path
) -> None:
    client = tls_server.client()
    for key in ("ours", "theirs", "same"):
        source.put_object(Bucket=bucket_name, Key=key, Body=b"old")
    assert again().code == 0
    with sqlite3.connect(tmp_path / "state.db") as database:
        database.execute("DROP TABLE IF EXISTS written")  # so that it is as older releases left it
    database.close()
    client.put_object(Bucket=bucket_name, Key="theirs", Body=b"the client's")
    for key in ("ours", "theirs"):
        source.put_object(Bucket=bucket_name, Key=key, Body=b"newer")
    report = again("--json").report
    assert (report["done"], report["done_before"]) == (1, 1)
    assert [failure["key"] for failure in report["failed"]] == ["theirs"]
    assert client.get_object(Bucket=bucket_name, Key="ours")["Body"].read() == b"newer"
    assert client.get_object(Bucket=bucket_name, Key="theirs")["Body"].read() == b"the client's"


@pytest.mark.parametrize("removed", [True, False])
def test_a_bucket_that_was_emptied_or_removed_is_filled_again(
    source: Any, again: Run, tls_server: Server, bucket_name: str, removed: bool
) -> None:
    client, keys = tls_server.client(), ("a", "b")
    for key in keys:
        source.put_object(Bucket=bucket_name, Key=key, Body=key.encode())
    assert again().code == 0
    for key in keys:
        client.delete_object(Bucket=bucket_name, Key=key)
    if removed:
        client.delete_bucket(Bucket=bucket_name)
    for arguments in (("--dry-run",), ()):
        ended = again("--json", *arguments)
        assert (ended.code, ended.report["done"], ended.report["done_before"]) == (0, 2, 0)
        assert any("not there any more" in note for note in ended.report["notes"])
    for key in keys:
        assert client.get_object(Bucket=bucket_name, Key=key)["Body"].read() == key.encode()
    ended = again("--json")
    assert (ended.code, ended.report["done"], ended.report["done_before"], ended.report["notes"]) == (0, 0, 2, [])


def test_a_copy_that_a_client_removed_comes_again_only_when_the_source_changes(
    source: Any, again: Run, tls_server: Server, bucket_name: str
) -> None:
    client = tls_server.client()
    for key in ("kept", "removed"):
        source.put_object(Bucket=bucket_name, Key=key, Body=b"old")
    assert again().code == 0
    client.delete_object(Bucket=bucket_name, Key="removed")
    assert again("--json").report["done_before"] == 2
    assert error_of(client.head_object, Bucket=bucket_name, Key="removed")[1] == 404
    source.put_object(Bucket=bucket_name, Key="removed", Body=b"newer")
    assert again().code == 0
    assert client.get_object(Bucket=bucket_name, Key="removed")["Body"].read() == b"newer"


def test_an_upload_that_a_killed_run_left_in_a_bucket_that_was_removed_stops_nothing(
    source: Any, again: Run, tls_server: Server, bucket_name: str, tmp_path: Path
) -> None:
    client = tls_server.client()
    source.put_object(Bucket=bucket_name, Key="k", Body=b"body")
    assert again().code == 0
    upload = client.create_multipart_upload(Bucket=bucket_name, Key="k")["UploadId"]
    with State(tmp_path / "state.db") as state:
        state.upload_opened(state.upload_opens(bucket_name, "k"), bucket_name, "k", upload)
    client.delete_object(Bucket=bucket_name, Key="k")
    client.abort_multipart_upload(Bucket=bucket_name, Key="k", UploadId=upload)
    client.delete_bucket(Bucket=bucket_name)
    ended = again("--json")
    assert (ended.code, ended.report["done"]) == (0, 1), ended
    assert client.get_object(Bucket=bucket_name, Key="k")["Body"].read() == b"body"


def test_an_upload_that_a_killed_run_had_not_noted_yet_is_named_until_it_is_gone(
    source: Any, again: Run, tls_server: Server, bucket_name: str, tmp_path: Path
) -> None:
    client, here = tls_server.client(), {"Bucket": bucket_name, "Key": "k"}
    source.put_object(**here, Body=b"body")
    assert again().code == 0
    unknown, fed = (client.create_multipart_upload(**here)["UploadId"] for _ in range(2))
    client.upload_part(**here, UploadId=fed, PartNumber=1, Body=b"x")
    client.create_multipart_upload(Bucket=bucket_name, Key="kk")
    with State(tmp_path / "state.db") as state:
        state.upload_opens(bucket_name, "k")
    (note,) = again("--json").report["notes"]
    assert note.startswith(f"{bucket_name}/k: the upload {unknown} at the target")
    with State(tmp_path / "state.db") as state:
        assert state.opening()
    client.abort_multipart_upload(**here, UploadId=unknown)
    assert again("--json").report["notes"] == []
    with State(tmp_path / "state.db") as state:
        assert not state.opening()


def test_two_at_a_time_do_not_share_a_state_file(source: Any, again: Run, bucket_name: str, tmp_path: Path) -> None:
    source.put_object(Bucket=bucket_name, Key="k", Body=b"body")
    with State(tmp_path / "state.db") as state:
        state.hold()
        ended = again()
        assert (ended.code, "is running" in ended.err) == (1, True)
        assert again("--dry-run").code == 0
    assert again("--json").report["done"] == 1


def test_a_state_file_passes_nothing_over_that_was_copied_to_another_target(
    source: Any, again: Run, strongroom: Run, ends: tuple[str, ...], tls_server: Server, bucket_name: str,
    tmp_path: Path,
) -> None:  # fmt: skip
    source.put_object(Bucket=bucket_name, Key="k", Body=b"body")
    with State(tmp_path / "state.db") as unused:
        unused.bind("http://mistaken", "http://mistaken")
    assert again().code == 0
    client, other = tls_server.client(), f"{bucket_name}-other"
    client.create_bucket(Bucket=other)
    client.put_object(Bucket=other, Key="others", Body=b"body")
    state = ["--state-file", str(tmp_path / "state.db")]
    ended = strongroom("import", ends[0], f"{ends[1]}/{other}", *ends[2:], *state)
    assert (ended.code, f"from {ends[0].rpartition('/')[0]} to {ends[1]}" in ended.err) == (1, True)
    same = strongroom("import", ends[0], f"{ends[1]}/{bucket_name}", *ends[2:], *state, "--json")
    assert (same.code, same.report["done_before"]) == (0, 1)


@dataclass(frozen=True)
class Between:
    """A copying that does something between its look at the target and its write."""

    source: S3
    target: S3
    client: Any
    """A client of the target, of others."""
    state: State
    bucket: str

    def copy(self, meanwhile: Callable[[], object], stop: threading.Event | None = None) -> str:
        """Copy the object ``k``; ``meanwhile`` is called once, when its first bytes have come from the source."""
        todo = [meanwhile]

        def moved(_: int) -> None:
            if todo:
                todo.pop()()

        copier = Copier(self.source, self.target, self.state, Wishes(), stop or threading.Event(), moved)
        (listed,) = self.source.list(self.bucket, "")
        digest = copier.copy(listed, self.target_bucket)
        self.state.add(listed, digest)
        return digest

    @property
    def target_bucket(self) -> str:
        return f"{self.bucket}-copy"

    @property
    def there(self) -> dict[str, str]:
        """Where the copy is, as a client names it."""
        return {"Bucket": self.target_bucket, "Key": "k"}

    def body(self) -> bytes:
        """What is at the target."""
        body: bytes = self.client.get_object(**self.there)["Body"].read()
        return body


@pytest.fixture(params=["strongroom", "minio", "versitygw"])
def between(
    request: pytest.FixtureRequest, minio: MinIO, tls_server: Server, versitygw: Backend, source: Any,
    bucket_name: str, tmp_path: Path,
) -> Iterator[Between]:  # fmt: skip
    """A copying from the MinIO to each kind of target, the MinIO itself among them."""
    ends: dict[str, tuple[Any, str, str]] = {
        "strongroom": (tls_server, ACCESS_KEY, SECRET_KEY),
        "minio": (minio, USER, PASSWORD),
        "versitygw": (versitygw, backends.ACCESS_KEY, backends.SECRET_KEY),
    }
    ca = str(minio.certs / "ca.crt") if minio.certs else None
    end, access_key, secret_key = ends[request.param]
    aim = _s3(end.endpoint, access_key, secret_key, ca)
    with State(tmp_path / "state.db") as state:
        copying = Between(_s3(minio.endpoint, USER, PASSWORD, ca), aim, end.client(), state, bucket_name)
        copying.client.create_bucket(Bucket=copying.target_bucket)
        yield copying


def _s3(endpoint: str, access_key: str, secret_key: str, ca: str | None) -> S3:
    return S3(endpoint, Access(access_key, Secret(secret_key.encode()), None, None, ca), connections=2)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("copied_before", [False, True])
def test_what_a_client_writes_while_an_object_is_copied_is_left_alone(
    source: Any, between: Between, size: int, copied_before: bool
) -> None:
    here = {"Bucket": between.bucket, "Key": "k"}
    source.put_object(**here, Body=os.urandom(size))
    if copied_before:
        between.copy(lambda: None)
        source.put_object(**here, Body=os.urandom(size))
    with pytest.raises(NotCopied, match="at the target"):
        between.copy(lambda: between.client.put_object(**between.there, Body=b"the client's"))
    assert between.body() == b"the client's"


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_object_that_a_client_removes_while_it_is_copied_anew_is_copied(
    source: Any, between: Between, size: int
) -> None:
    here, body = {"Bucket": between.bucket, "Key": "k"}, os.urandom(size)
    source.put_object(**here, Body=b"old")
    between.copy(lambda: None)
    source.put_object(**here, Body=body)
    between.copy(lambda: between.client.delete_object(**between.there))
    assert between.body() == body


def test_a_copy_that_was_written_and_not_read_back_follows_the_source(source: Any, between: Between) -> None:
    here, stop = {"Bucket": between.bucket, "Key": "k"}, threading.Event()
    source.put_object(**here, Body=b"old")
    with pytest.raises(Stopped):
        between.copy(stop.set, stop)
    assert between.body() == b"old"
    source.put_object(**here, Body=b"newer")
    between.copy(lambda: None)
    assert between.body() == b"newer"


class Killed(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("copied_before", [False, True])
def test_a_copy_whose_run_was_killed_as_soon_as_it_was_written_follows_the_source(
    source: Any, between: Between, size: int, copied_before: bool
) -> None:
    here, newest = {"Bucket": between.bucket, "Key": "k"}, os.urandom(size)
    if copied_before:
        source.put_object(**here, Body=b"old")
        between.copy(lambda: None)
    source.put_object(**here, Body=os.urandom(size))
    with mock.patch.object(State, "wrote", side_effect=Killed), pytest.raises(Killed):
        between.copy(lambda: None)
    source.put_object(**here, Body=os.urandom(size))
    write = "put" if size == SMALL else "complete"
    with mock.patch.object(S3, write, side_effect=Killed), pytest.raises(Killed):  # and the next one just before
        between.copy(lambda: None)
    source.put_object(**here, Body=newest)
    between.copy(lambda: None)
    assert between.body() == newest


def test_an_object_that_is_removed_at_the_source_while_it_is_copied_is_said_to_be(
    source: Any, between: Between
) -> None:
    source.put_object(Bucket=between.bucket, Key="k", Body=b"body")
    (listed,) = between.source.list(between.bucket, "")
    source.delete_object(Bucket=between.bucket, Key="k")
    copier = Copier(between.source, between.target, between.state, Wishes(), threading.Event(), lambda _: None)
    with pytest.raises(NotCopied, match="removed at the source"):
        copier.copy(listed, between.target_bucket)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_a_client_wrote_is_left_alone_at_a_target_that_takes_no_conditions(
    source: Any, between: Between, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.transfer.s3._only_over", lambda etag: {})
    here = {"Bucket": between.bucket, "Key": "k"}
    source.put_object(**here, Body=os.urandom(size))
    between.copy(lambda: None)
    between.client.put_object(**between.there, Body=b"the client's")
    source.put_object(**here, Body=os.urandom(size))
    with pytest.raises(NotCopied, match="at the target"):
        between.copy(lambda: None)
    assert between.body() == b"the client's"


def test_a_copy_that_is_not_what_was_read_is_removed_and_no_other_object_is(between: Between) -> None:
    bad = between.client.put_object(**between.there, Body=b"not what was read")["ETag"].strip('"')
    between.client.put_object(**between.there, Body=b"the client's")
    between.target.delete_if_still(between.target_bucket, "k", bad, None)
    assert between.body() == b"the client's"
    etag = between.client.head_object(**between.there)["ETag"].strip('"')
    between.target.delete_if_still(between.target_bucket, "k", etag, None)
    assert error_of(between.client.head_object, **between.there)[1] == 404
