"""What was acknowledged is there after a power cut.

A server runs on a file system in an image, and several clients write. Now and then the image is copied, as it is at
that moment: what the kernel still keeps in memory is not in it, as it would be lost in a power cut. Then a server is
started on each copy.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from strongroom.store.local.blobs import Blobs
from tests.http.raw import error_of
from tests.jobs import run_job
from tests.mounts import IMAGE, image_mounted, mounted, snapshot
from tests.server import NAS, SERVER, Server
from tests.storage import blobs, index
from tests.waiting import comes

CUTS = 3
CLIENTS = 3
MIB = 1024**2
SIZES = (0, 100, 4096, 70_000, 300_000, MIB)
FIRST_PART = os.urandom(5 * MIB)

Content = tuple[bytes, str] | None  # body and the value of the tag "n" ("" if there are no tags); None: no object


@dataclass
class Name:
    """What a client has done to an object that nobody else writes: when it began, when it was told that it is done (0:
    not yet), what is there then.
    """

    done: list[tuple[float, float, Content]] = field(default_factory=lambda: [(0.0, 0.1, None)])

    def after(self, cut: tuple[float, float]) -> list[Content]:
        """What may be there after a power cut between these two moments: what was acknowledged before it, or anything
        that was begun later.
        """
        known = max(number for number, (_, told, _) in enumerate(self.done) if 0 < told < cut[0])
        begun = [content for began, _, content in self.done[known + 1 :] if began < cut[1]]
        return [self.done[known][2], *begun]


class Writer:
    """A client that writes, replaces, tags, copies and removes objects, in ever new folders."""

    def __init__(self, server: Server, number: int) -> None:
        self.client = server.client()
        self.names: dict[str, Name] = {}
        self.uploads: list[tuple[str, str, float, float]] = []  # key, id, when a part was acknowledged, when it ends
        self._number = number
        self._random = random.Random(number)

    def work(self, stop: Event) -> None:
        steps = (self.put, self.put, self.put, self.remove, self.tag, self.copy, self.upload)
        while not stop.is_set():
            self._random.choice(steps)()

    def put(self) -> None:
        key, body = self._name(), os.urandom(self._random.choice(SIZES))
        with self._doing(key, (body, "")):
            self.client.put_object(Bucket="bucket", Key=key, Body=body)

    def remove(self) -> None:
        key = self._name()
        with self._doing(key, None):
            self.client.delete_object(Bucket="bucket", Key=key)

    def tag(self) -> None:
        key = self._name()
        if (there := self._content(key)) is not None:
            value = f"{self._random.randrange(1000)}"
            with self._doing(key, (there[0], value)):
                self.client.put_object_tagging(
                    Bucket="bucket", Key=key, Tagging={"TagSet": [{"Key": "n", "Value": value}]}
                )

    def copy(self) -> None:
        key, source = self._name(), self._name()
        if key != source and (there := self._content(source)) is not None:
            with self._doing(key, there):
                self.client.copy_object(Bucket="bucket", Key=key, CopySource={"Bucket": "bucket", "Key": source})

    def upload(self) -> None:
        key, end = self._name(), os.urandom(100)
        here = {"Bucket": "bucket", "Key": key}
        here["UploadId"] = self.client.create_multipart_upload(**here)["UploadId"]
        parts = [
            {"PartNumber": n, "ETag": self.client.upload_part(**here, PartNumber=n, Body=body)["ETag"]}
            for n, body in ((1, FIRST_PART), (2, end))
        ]
        acknowledged = time.monotonic()
        time.sleep(0.2)  # as many cuts find it open
        self.uploads.append((key, here["UploadId"], acknowledged, time.monotonic()))
        with self._doing(key, (FIRST_PART + end, "")):
            self.client.complete_multipart_upload(**here, MultipartUpload={"Parts": parts})

    @contextmanager
    def _doing(self, key: str, content: Content) -> Iterator[None]:
        """Note what is done to an object, and when it is begun and acknowledged."""
        done, began = self.names.setdefault(key, Name()).done, time.monotonic()
        done.append((began, 0.0, content))
        yield
        done[-1] = began, time.monotonic(), content

    def _name(self) -> str:
        """A name that has been used, or one in folders that are not there yet."""
        if self.names and self._random.random() < 0.6:
            return self._random.choice(list(self.names))
        folders = "".join(f"{self._random.randrange(10**6)}/" for _ in range(self._random.randrange(4)))
        return f"{folders}{self._number}-{len(self.names)}"

    def _content(self, key: str) -> Content:
        return self.names[key].done[-1][2] if key in self.names else None


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
@pytest.mark.parametrize("command", [SERVER, NAS], ids=["server", "nas"])
def test_what_was_acknowledged_survives_a_power_cut(command: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    with image_mounted("xfs", tmp_path / "disk", 2048) as disk:
        with (
            image_mounted(kind, disk, 512) as point,
            Server(tmp_path / "home", data=point / "data", command=command) as server,
        ):
            server.client().create_bucket(Bucket="bucket")
            writers, stop = [Writer(server, number) for number in range(CLIENTS)], Event()
            with ThreadPoolExecutor() as pool:
                working = [pool.submit(writer.work, stop) for writer in writers]
                try:
                    cuts = [cut(disk, number, writers) for number in range(CUTS)]
                finally:
                    stop.set()
            assert [one.result() for one in working] == [None] * CLIENTS
        for number, moment in enumerate(cuts):
            with (
                mounted(disk / f"{number}", disk / f"{number}-mounted") as point,
                Server(tmp_path / f"home-{number}", data=point / "data", workers=1, command=command) as server,
            ):
                for writer in writers:
                    check(server.client(), writer, moment)
                audited = run_job(server, "audit", "--read")
                assert audited.returncode == 0, audited.stdout
                assert command == NAS or comes(lambda: not unknown_blobs(server))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_blob_that_is_there_after_a_power_cut_is_marked(kind: str, tmp_path: Path) -> None:
    """Otherwise, if its process had not told the index of it, nobody would ever find it."""
    (tmp_path / "disk").mkdir()
    with image_mounted("xfs", tmp_path / "disk", 2048) as disk:
        with image_mounted(kind, disk, 512) as point:
            subprocess.run(["sync", "-f", str(point)], check=True)
            written = Blobs(point)
            blob, descriptor = written.create()
            os.write(descriptor, FIRST_PART)
            written.finish(blob, descriptor)
            snapshot(disk / IMAGE, disk / "cut")
            written.close()
        with mounted(disk / "cut", disk / "cut-mounted") as point:
            left: list[bytes] = []
            after = Blobs(point)
            assert after.open(blob).read(2 * len(FIRST_PART), 0) == FIRST_PART
            after.sweep(left.extend)
            after.close()
    assert left == [blob]


def cut(disk: Path, number: int, writers: Sequence[Writer]) -> tuple[float, float]:
    """Copy the image once some more has been written; just before and after that moment."""

    def done() -> int:
        return sum(len(name.done) for writer in writers for name in list(writer.names.values()))

    enough = done() + 15
    assert comes(lambda: done() >= enough)
    before = time.monotonic()
    snapshot(disk / IMAGE, disk / f"{number}")
    return before, time.monotonic()


def unknown_blobs(server: Server) -> set[str]:
    """The blobs that belong to nothing: some are in the trash by now, others nobody would ever remove."""
    with closing(index(server)) as connection:
        known = {blob.hex() for (blob,) in connection.execute("SELECT id FROM blobs")}
    return {file.name for file in blobs(server)} - known


def check(client: Any, writer: Writer, moment: tuple[float, float]) -> None:
    """See that a server which started after a power cut has what one client was told of before."""
    there: dict[str, Content] = {}
    for key, name in writer.names.items():
        there[key] = None
        if error_of(client.head_object, Bucket="bucket", Key=key)[1] != 404:
            tags = client.get_object_tagging(Bucket="bucket", Key=key)["TagSet"]
            body = client.get_object(Bucket="bucket", Key=key)["Body"].read()
            there[key] = body, tags[0]["Value"] if tags else ""
        assert there[key] in name.after(moment), key
    for key, upload, acknowledged, ended in writer.uploads:
        if acknowledged < moment[0] and moment[1] < ended:
            assert len(client.list_parts(Bucket="bucket", Key=key, UploadId=upload)["Parts"]) == 2
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    listed = {item["Key"] for page in pages for item in page.get("Contents", [])}
    assert {key for key in there if key in listed} == {key for key, content in there.items() if content is not None}
