"""Many clients do all that can be done with a few names at the same time: each sees what some order of it explains."""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.consistency import (
    NEVER,
    Done,
    Effect,
    maybe,
    refused,
    replaced,
    saw,
    saw_any,
    unexplained,
    wrote,
)
from tests.server import Server

KEYS = ("one", "two")
CLIENTS = 6
ROUNDS = 150
SIZES = (10, 3000, 300_000, 1_200_000)
"""In the index, in a record's neighbourhood, in a file, in several pieces."""

A, B, C = (wrote(text) for text in "abc")


@pytest.mark.parametrize(
    ("history", "fault"),
    [
        ([(0, 1, A), (2, 3, saw("a"))], None),
        ([(0, 1, A), (2, 3, B), (4, 5, saw("a"))], 2),
        ([(0, 9, A), (1, 2, saw(None)), (3, 4, saw("a")), (5, 6, saw(None))], 3),
        ([(0, 9, A), (0, 9, B), (1, 2, saw("b")), (3, 4, saw("a"))], None),
        ([(0, 1, A), (2, 3, wrote(None)), (2, 9, saw_any(True)), (4, 5, saw("a"))], 3),
        ([(0, NEVER, maybe(A)), (1, 2, saw(None)), (8, 9, saw("a"))], None),
        ([(0, NEVER, maybe(A)), (1, 2, saw("a")), (8, 9, saw(None))], 2),
        ([(0, 1, A), (2, 5, replaced("a", "b")), (2, 5, replaced("a", "c")), (6, 7, saw("c"))], 2),
        ([(0, 1, A), (2, 5, replaced("a", "b")), (2, 5, refused("a")), (6, 7, saw("b"))], None),
        ([(0, 1, A), (2, 3, refused("a"))], 1),
        ([(0, 1, replaced(None, "a")), (2, 3, refused(None)), (4, 5, replaced(None, "b"))], 2),
    ],
)
def test_an_order_is_found_if_there_is_one(history: list[tuple[float, float, Effect]], fault: int | None) -> None:
    done = [Done(asked, answered, effect, str(number)) for number, (asked, answered, effect) in enumerate(history)]
    found = unexplained(done)
    assert (found and int(found.text)) == fault


class History:
    """What was done with each name; the content of each write tells its ETag."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.done: dict[str, list[Done]] = {key: [] for key in KEYS}

    def add(self, key: str, asked: float, answered: float, effect: Effect, text: str) -> None:
        with self._lock:
            self.done[key].append(Done(asked, answered, effect, text))


class Someone:
    """A client that does one thing after the other."""

    def __init__(self, number: int, client: Any, bucket: str, history: History) -> None:
        self._number = number
        self._client = client
        self._bucket = bucket
        self._history = history
        self._random = random.Random(number)
        self._seen: dict[str, str] = {}

    def work(self) -> None:
        for _ in range(ROUNDS):
            key, way = self._random.choice(KEYS), self._random.choice(WAYS)
            getattr(self, way)({"Bucket": self._bucket, "Key": key})

    def _do(self, key: str, text: str, act: Callable[[], Effect], unsure: Effect | None = None) -> None:
        """Do it and note its effect; ``unsure``: the one that it may have had if it fails."""
        asked = time.monotonic()
        try:
            effect = act()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 503 or unsure is None:
                raise
            self._history.add(key, asked, NEVER, maybe(unsure), f"{text}: 503")
            return
        self._history.add(key, asked, time.monotonic(), effect, text)

    def _content(self) -> tuple[bytes, str]:
        content = os.urandom(12) * (self._random.choice(SIZES) // 12 + 1)
        return content, hashlib.md5(content).hexdigest()

    def put(self, name: dict[str, str]) -> None:
        content, etag = self._content()
        self._do(name["Key"], f"put {etag}", lambda: self._put(name, content, wrote(etag)), wrote(etag))

    def _put(self, name: dict[str, str], content: bytes, effect: Effect, **condition: str) -> Effect:
        self._client.put_object(**name, Body=content, **condition)
        return effect

    def create(self, name: dict[str, str]) -> None:
        content, etag = self._content()

        def act() -> Effect:
            try:
                return self._put(name, content, replaced(None, etag), IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] == "PreconditionFailed":
                    return refused(None)
                raise

        self._do(name["Key"], f"create {etag}", act, replaced(None, etag))

    def replace(self, name: dict[str, str]) -> None:
        former = self._seen.get(name["Key"])
        if former is None:
            return
        content, etag = self._content()

        def act() -> Effect:
            try:
                return self._put(name, content, replaced(former, etag), IfMatch=former)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                effects = {
                    "PreconditionFailed": refused(former),
                    "NoSuchKey": saw(None),
                    "ConditionalRequestConflict": lambda state: (state,),  # it was given other tags at that moment
                }
                if code not in effects:
                    raise
                return effects[code]

        self._do(name["Key"], f"replace {former} by {etag}", act, replaced(former, etag))

    def complete(self, name: dict[str, str]) -> None:
        content, etag = self._content()
        whole = f"{hashlib.md5(bytes.fromhex(etag)).hexdigest()}-1"
        target: Any = {**name, "UploadId": self._client.create_multipart_upload(**name)["UploadId"]}
        self._client.upload_part(**target, PartNumber=1, Body=content)
        parts: Any = {"Parts": [{"PartNumber": 1, "ETag": etag}]}

        def act() -> Effect:
            self._client.complete_multipart_upload(**target, MultipartUpload=parts)
            return wrote(whole)

        self._do(name["Key"], f"complete {whole}", act, wrote(whole))

    def copy(self, name: dict[str, str]) -> None:
        content, etag = self._content()
        source = {"Bucket": self._bucket, "Key": f"of {self._number}"}
        self._client.put_object(**source, Body=content)

        def act() -> Effect:
            self._client.copy_object(**name, CopySource=source)
            return wrote(etag)

        self._do(name["Key"], f"copy {etag}", act, wrote(etag))

    def delete(self, name: dict[str, str]) -> None:
        def act() -> Effect:
            self._client.delete_object(**name)
            return wrote(None)

        self._do(name["Key"], "delete", act, wrote(None))

    def get(self, name: dict[str, str]) -> None:
        def act() -> Effect:
            try:
                answer = self._client.get_object(**name)
            except self._client.exceptions.NoSuchKey:
                return saw(None)
            content, etag = answer["Body"].read(), answer["ETag"].strip('"')
            digest = hashlib.md5(content).hexdigest()
            assert etag in (digest, f"{hashlib.md5(bytes.fromhex(digest)).hexdigest()}-1")
            self._seen[name["Key"]] = etag
            return saw(etag)

        self._do(name["Key"], "get", act)

    def list(self, name: dict[str, str]) -> None:
        asked = time.monotonic()
        listed = self._client.list_objects_v2(Bucket=self._bucket).get("Contents", [])
        etags = {item["Key"]: item["ETag"].strip('"') for item in listed}
        for key in KEYS:
            self._history.add(key, asked, time.monotonic(), saw(etags.get(key)), "list")

    def tag(self, name: dict[str, str]) -> None:
        tags = {"TagSet": [{"Key": "by", "Value": str(self._number)}]}
        self._if_there(name, "tag", lambda: self._client.put_object_tagging(**name, Tagging=tags))

    def describe(self, name: dict[str, str]) -> None:
        changed: Any = {"MetadataDirective": "REPLACE", "Metadata": {"by": str(self._number)}}
        self._if_there(name, "describe", lambda: self._client.copy_object(**name, CopySource=name, **changed))

    def _if_there(self, name: dict[str, str], text: str, do: Callable[[], object]) -> None:
        def act() -> Effect:
            try:
                do()
            except ClientError as error:
                if error.response["Error"]["Code"] != "NoSuchKey":
                    raise
                return saw_any(False)
            return saw_any(True)

        self._do(name["Key"], text, act)


WAYS = (
    *("put", "put", "create", "replace", "complete", "copy", "delete", "delete"),
    *("get", "get", "get", "list", "tag", "describe"),
)


def test_what_clients_see_is_explained_by_an_order_of_what_they_do(server: Server, bucket: str) -> None:
    """Not before versitygw: what it does is not explained (docs/gateway-s3.md)."""
    history = History()
    clients = [server.client(max_pool_connections=1) for _ in range(CLIENTS)]
    everyone = [Someone(number, client, bucket, history) for number, client in enumerate(clients)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for ended in [pool.submit(someone.work) for someone in everyone]:
            ended.result()
    for key, done in history.done.items():
        assert len(done) > 50
        fault = unexplained(done)
        assert fault is None, (key, fault, [other for other in done if -0.2 < other.answered - fault.asked < 0.2])
