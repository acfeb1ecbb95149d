"""Gateways on one folder under load, killed again and again, with somebody who uses the folder directly beside them."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.server import NAS, Server

MARK = b"nobody-may-find-this-in-the-folder"
MIB = 1024 * 1024
SIZES = (20, 5_000, 200_000, 1_500_000)


def body_of(key: str, turn: int) -> bytes:
    """The bytes of a write: they say which one it was, all over."""
    line = MARK + f" {key} {turn}\n".encode()
    size = SIZES[turn % len(SIZES)] + turn % 97
    return (line * (size // len(line) + 1))[: max(size, len(line))]


@dataclass
class Load:
    """What was written and acknowledged. ``keys`` that one writer has for itself map to the turn of their last write,
    None for removed ones; those whose last request had no answer are uncertain.
    """

    gateways: list[Server]
    bucket: str = "bucket"
    acknowledged: dict[str, int | None] = field(default_factory=dict)
    uncertain: dict[str, list[int | None]] = field(default_factory=dict)
    conditional: int = 0
    faults: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, kills: int, writers: int = 3) -> None:
        """Load the gateways until they were killed so often, all together."""
        threads = [threading.Thread(target=self._write, args=(number,)) for number in range(writers)]
        threads += [threading.Thread(target=self._neighbour), threading.Thread(target=self._append_if_match)]
        for thread in threads:
            thread.start()
        try:
            with ThreadPoolExecutor(len(self.gateways)) as pool:
                list(pool.map(self._kill, self.gateways, [kills // len(self.gateways)] * len(self.gateways)))
        finally:
            self.stop.set()
            for thread in threads:
                thread.join(120)

    def _kill(self, gateway: Server, kills: int) -> None:
        for _ in range(kills):
            time.sleep(random.uniform(0.05, 0.4))
            gateway.kill()
            gateway.start()

    def _client(self, number: int) -> Any:
        return self.gateways[number % len(self.gateways)].client(max_pool_connections=1)

    def _write(self, writer: int) -> None:
        """Put and remove objects of this writer's own, at whichever gateway lives."""
        random_ = random.Random(writer)
        turn = 0
        while not self.stop.is_set():
            turn += 1
            key = f"w{writer}/{random_.randrange(6)}/{random_.randrange(20)}"
            wanted = None if random_.random() < 0.2 else turn
            client = self._client(turn)
            try:
                if wanted is None:
                    client.delete_object(Bucket=self.bucket, Key=key)
                elif turn % 9 == 0:
                    self._multipart(client, key, turn)
                else:
                    client.put_object(Bucket=self.bucket, Key=key, Body=body_of(key, turn))
            except (BotoCoreError, ClientError) as error:
                if isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    self.faults.append(f"{key}: {error}")
                self.uncertain.setdefault(key, [self.acknowledged.get(key)]).append(wanted)
                continue
            self.acknowledged[key] = wanted
            self.uncertain.pop(key, None)

    def _multipart(self, client: Any, key: str, turn: int) -> None:
        upload = client.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        part = {"Bucket": self.bucket, "Key": key, "UploadId": upload}
        etag = client.upload_part(**part, PartNumber=1, Body=body_of(key, turn))["ETag"]
        client.complete_multipart_upload(**part, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})

    def _append_if_match(self) -> None:
        """Count in an object under If-Match: a number that was acknowledged is never overwritten by a lower one."""
        turn = 0
        while not self.stop.is_set():
            turn += 1
            name = {"Bucket": self.bucket, "Key": "counter"}
            client = self._client(turn)
            try:
                try:
                    got = client.get_object(**name)
                    count, condition = int(got["Body"].read()), {"IfMatch": got["ETag"]}
                except ClientError as error:
                    if error.response["Error"]["Code"] != "NoSuchKey":
                        continue
                    count, condition = 0, {"IfNoneMatch": "*"}
                if count < self.conditional:
                    self.faults.append(f"the counter went back from {self.conditional} to {count}")
                    return
                client.put_object(**name, Body=b"%d" % (count + 1), **condition)
                self.conditional = count + 1
            except (BotoCoreError, ClientError):
                continue

    def _neighbour(self) -> None:
        """Put, rename and remove plain files, and sometimes a whole tree, as whoever mounts the folder would."""
        folder, turn = self.gateways[0].directory / self.bucket / "direct", 0
        while not self.stop.is_set():
            turn += 1
            try:
                folder.mkdir(exist_ok=True)
                (folder / f"{turn % 10}.txt").write_bytes(b"of the neighbour %d" % turn)
                if turn % 7 == 0:
                    (folder / f"{turn % 10}.txt").rename(folder / "renamed.txt")
                if turn % 50 == 0:
                    shutil.rmtree(folder)
            except OSError as error:
                self.faults.append(f"the neighbour: {error}")
            time.sleep(0.01)

    def check(self, gateway: Server) -> int:
        """See through a gateway that all that was acknowledged is there, and whole; how many objects there are."""
        client = gateway.client()
        assert self.faults == []
        for key, turn in self.acknowledged.items():
            possible = self.uncertain.get(key, [turn])
            assert _content(client, self.bucket, key) in [None if t is None else body_of(key, t) for t in possible], key
        assert int(_content(client, self.bucket, "counter") or b"0") in (self.conditional, self.conditional + 1)
        listed = [
            item["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            for item in page.get("Contents", [])
        ]
        for key in listed:
            content = _content(client, self.bucket, key)
            if key.startswith("w"):
                turns = [*self.uncertain.get(key, []), self.acknowledged.get(key)]
                assert content in [body_of(key, turn) for turn in turns if turn is not None], key
            elif key.startswith("direct/"):
                assert content is not None and content.startswith(b"of the neighbour")
        return len(listed)


def _content(client: Any, bucket: str, key: str) -> bytes | None:
    try:
        content: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "NoSuchKey", error
        return None
    return content


def plaintext_below(directory: Path) -> list[str]:
    """The files that hold the mark."""
    return [str(file) for file in directory.rglob("*") if file.is_file() and MARK in file.read_bytes()]


def gateways_on(data: Path, home: Path, count: int = 2) -> list[Server]:
    """Gateways on a folder, not started yet; they never sweep what a test still looks at."""
    made = []
    for number in range(count):
        server = Server(home / f"gateway-{number}", command=NAS, data=data, workers=1)
        made.append(server)
    return made


def kills_wanted(default: int) -> int:
    """How many kills: more by hand than in every run."""
    return int(os.environ.get("TEST_NAS_KILLS", default))
