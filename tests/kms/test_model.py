"""A model against two gateways and a real OpenBao: random requests, while keys are disabled, enabled, rotated, retired.

The model knows who may be read, and what every answer says. A run is the same each time for its seed; others are run
with ``STRONGROOM_MODEL_SEEDS=100-199``.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.backends import served_by
from tests.customer_keys import SSE_C, sse_c
from tests.jobs import job
from tests.kms.test_server import DISABLED
from tests.kms.test_sse_kms import granting, named
from tests.kms.test_transit import soft_delete, undelete
from tests.openbao import OpenBao
from tests.server import NAS, SERVER, Server
from tests.storage import files_with

STEPS = 40
NAMES = ["a", "b/one", "b/two", "c d", "e/"]
KINDS = ["SSE-S3", "SSE-S3", "one", "one", "two", "SSE-C", "plain"]
SIZES = [0, 1, 1_000, 65_536, 200_000]


def seeds() -> range:
    first, _, last = os.environ.get("STRONGROOM_MODEL_SEEDS", "1").partition("-")
    return range(int(first), int(last or first) + 1)


@dataclass
class Key:
    """A transit key; ``oldest`` is its first version that unwraps."""

    name: str
    version: int = 1
    oldest: int = 1
    disabled: bool = False


@dataclass
class Use:
    """That a version of a key is needed to read something."""

    key: Key
    version: int

    @property
    def denied(self) -> bool:
        return self.key.disabled or self.version < self.key.oldest


@dataclass
class Thing:
    """An object: its bytes, how it was asked to be encrypted, and what is needed to read it and its tags."""

    body: bytes
    how: str
    etag: str
    use: Use | None
    tags: dict[str, str] = field(default_factory=dict)
    tags_use: Use | None = None


class Model:
    """One run, in a bucket and with keys of its own."""

    def __init__(self, seed: int, bao: OpenBao, gateways: list[Server], bucket: str, keys: list[Key]) -> None:
        self.random, self.bao, self.gateways, self.bucket = random.Random(seed), bao, gateways, bucket
        self.default, self.one, self.two = self.keys = keys
        self.clients = [gateway.client() for gateway in gateways]
        # A folder is the tests' own; its check value is sealed anew with all of it. In MinIO others have buckets.
        self.buckets = () if gateways[0].command == NAS else ("--bucket", bucket)
        self.things: dict[str, Thing] = {}
        self.needle = f"what nobody may find, of seed {seed} ".encode()
        self.count = 0

    def run(self) -> None:
        operations = {self.put: 6, self.get: 6, self.copy: 5, self.tag: 3, self.untag: 1, self.delete: 1, self.list: 2}
        operations |= {self.disable: 3, self.enable: 3, self.rotate: 2}
        for step in range(STEPS):
            if step == STEPS // 2:
                self.retire()
            self.random.choices(list(operations), list(operations.values()))[0]()
        self.enable_all()
        self.get_all()
        self.list()
        self.audit()
        for name in self.things:
            self.ask("delete_object", False, Key=name)
        self.ask("delete_bucket", False)

    # -- what is asked -------------------------------------------------------------------------------------------------

    def ask(self, operation: str, denied: bool, client: Any = None, **given: Any) -> Any:
        """What one of the gateways answers; None where it is denied, as it must be then and only then."""
        try:
            answer = getattr(client or self.random.choice(self.clients), operation)(Bucket=self.bucket, **given)
        except ClientError as error:
            response: Any = error.response
            code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
            assert denied, (operation, given, code)
            assert (code, status) == (DISABLED if operation != "head_object" else ("400", 400)), (operation, given)
            return None
        assert not denied, (operation, given)
        return answer

    def asked(self, how: str) -> dict[str, Any]:
        key_of = {"one": self.one, "two": self.two}
        if how in key_of:
            return named(key_of[how].name)
        return {"SSE-S3": {"ServerSideEncryption": "AES256"}, "SSE-C": SSE_C, "plain": {}}[how]

    def key_of(self, how: str) -> Key | None:
        return {"SSE-S3": self.default, "one": self.one, "two": self.two}.get(how)

    def wrapping(self, how: str, tags: object) -> list[Key]:
        """The keys that have to wrap for what is written so; the tags of SSE-C objects are under the default one."""
        key = self.default if how == "SSE-C" and tags else self.key_of(how)
        return [key] if key else []

    def written(self, name: str, body: bytes, how: str, answer: Any, tags: dict[str, str]) -> None:
        key, etag = self.key_of(how), answer["ETag"]
        assert (etag == f'"{hashlib.md5(body).hexdigest()}"') == (how in ("plain", "SSE-S3"))
        (tags_key,) = self.wrapping(how, tags) if tags and how != "plain" else [None]
        tags_use = Use(tags_key, tags_key.version) if tags_key else None
        self.things[name] = Thing(body, how, etag, Use(key, key.version) if key else None, tags, tags_use)

    def put(self) -> None:
        name, how = (
            self.random.choice(NAMES),
            self.random.choice(KINDS),
        )
        self.count += 1
        size = self.random.choice(SIZES)
        content = b"anybody may read this " if how == "plain" else self.needle
        body = (str(self.count).encode() + content * (size // len(content) + 1))[:size]
        tags = {"n": str(self.count)} if self.random.random() < 0.4 else {}
        tagging = {"Tagging": f"n={self.count}"} if tags else {}
        denied = any(key.disabled for key in self.wrapping(how, tags))
        answer = self.ask("put_object", denied, Key=name, Body=body, **self.asked(how), **tagging)
        if answer:
            self.written(name, body, how, answer, tags)

    def some(self) -> str | None:
        return self.random.choice(sorted(self.things)) if self.things else None

    def get(self, name: str | None = None, client: Any = None) -> None:
        if (name := name or self.some()) is None:
            return
        thing = self.things[name]
        denied, key = bool(thing.use and thing.use.denied), SSE_C if thing.how == "SSE-C" else {}
        ranged = {"Range": "bytes=1-70000"} if len(thing.body) > 1 and self.random.random() < 0.3 else {}
        for operation in ("get_object", "head_object"):
            answer = self.ask(operation, denied, client, Key=name, **key, **ranged)
            if answer:
                assert (answer["ETag"], answer.get("TagCount", 0)) == (thing.etag, len(thing.tags))
                of_key = thing.use.key.name if thing.use and thing.how != "SSE-S3" else None
                assert answer.get("SSEKMSKeyId") == of_key
            if answer and operation == "get_object":
                assert answer["Body"].read() == (thing.body[1:70_001] if ranged else thing.body)
        denied = bool(thing.tags_use and thing.tags_use.denied)
        answer = self.ask("get_object_tagging", denied, client, Key=name)
        if answer:
            assert {tag["Key"]: tag["Value"] for tag in answer["TagSet"]} == thing.tags

    def get_all(self) -> None:
        for client in self.clients:
            for name in self.things:
                self.get(name, client)

    def copy(self) -> None:
        """Also onto itself, from any kind of encryption to any other."""
        source, target = self.some(), self.random.choice(NAMES)
        how = self.random.choice(["SSE-S3", "one", "two", "SSE-C"])
        if source is None:
            return
        thing = self.things[source]
        of_source = sse_c(prefix="CopySource") if thing.how == "SSE-C" else {}
        denied = any(use.denied for use in (thing.use, thing.tags_use) if use)
        denied = denied or any(key.disabled for key in self.wrapping(how, thing.tags))
        given = {"CopySource": {"Bucket": self.bucket, "Key": source}, **of_source, **self.asked(how)}
        answer = self.ask("copy_object", denied, Key=target, **given)
        if answer:
            self.written(target, thing.body, how, answer["CopyObjectResult"], dict(thing.tags))

    def tag(self, remove: bool = False) -> None:
        if (name := self.some()) is None:
            return
        thing = self.things[name]
        self.count += 1
        tags = {} if remove else {"n": str(self.count), "more": "x"}
        keys = self.wrapping(thing.how, tags) if tags else []
        tag_set = {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        if self.ask("put_object_tagging", any(key.disabled for key in keys), Key=name, Tagging=tag_set):
            thing.tags, thing.tags_use = tags, Use(keys[0], keys[0].version) if keys else None

    def untag(self) -> None:
        self.tag(remove=True)

    def delete(self) -> None:
        name = self.random.choice(NAMES)
        self.ask("delete_object", False, Key=name)
        self.things.pop(name, None)

    def list(self) -> None:
        listed = self.ask("list_objects_v2", False).get("Contents", [])
        assert [entry["Key"] for entry in listed] == sorted(self.things)
        for entry in listed:
            thing = self.things[entry["Key"]]
            assert entry["Size"] == len(thing.body)
            stands_in = bool(thing.how == "SSE-S3" and thing.use and thing.use.denied and entry["ETag"].endswith('-1"'))
            assert entry["ETag"] == thing.etag or stands_in

    # -- what an operator does -----------------------------------------------------------------------------------------

    def disable(self) -> None:
        """What was read just before, by each gateway, must not be read any more."""
        key = self.random.choice(self.keys)
        if not key.disabled:
            self.get_all()
            soft_delete(self.bao, key.name)
            key.disabled = True
            self.get_all()

    def enable(self) -> None:
        key = self.random.choice(self.keys)
        if key.disabled:
            undelete(self.bao, key.name)
            key.disabled = False

    def enable_all(self) -> None:
        while any(key.disabled for key in self.keys):
            self.enable()

    def rotate(self) -> None:
        key = self.random.choice(self.keys)
        if not key.disabled:
            self.bao.api("POST", f"transit/keys/{key.name}/rotate", {})
            key.version += 1

    def retire(self) -> None:
        """Bring all under the latest versions, and deny the others."""
        self.enable_all()
        self.rotate()
        uses = [(thing.use, thing.tags_use) for thing in self.things.values()]
        due = sum(any(use and use.version != use.key.version for use in both) for both in uses)
        report = job(self.gateways[0], "rewrap", *self.buckets)
        assert (report["done"], report["failed"]) == (due, [])
        for use in (use for both in uses for use in both if use):
            use.version = use.key.version
        for key in self.keys:
            self.bao.api("POST", f"transit/keys/{key.name}/config", {"min_decryption_version": key.version})
            key.oldest = key.version

    def audit(self) -> None:
        """It finds what the model knows; and no byte of what is encrypted lies anywhere."""
        expected: Counter[tuple[str, frozenset[tuple[str, int]]]] = Counter()
        for thing in self.things.values():
            kind = {"one": "SSE-KMS", "two": "SSE-KMS", "plain": "none"}.get(thing.how, thing.how)
            uses = frozenset((use.key.name, use.version) for use in (thing.use, thing.tags_use) if use)
            expected[kind, uses] += 1
        found: Counter[tuple[str, frozenset[tuple[str, int]]]] = Counter()
        for row in job(self.gateways[0], "audit", "--read", *self.buckets)["found"]:
            masters = frozenset((master["key_id"], master["version"]) for master in row["master_keys"])
            found[row["encryption"], masters] += row["objects"]
        assert found == expected
        for gateway in self.gateways:
            assert files_with(gateway.directory, self.needle) == []
            assert self.needle.decode() not in gateway.log


@pytest.fixture(scope="module", params=["nas", "minio"])
def gateways(
    request: pytest.FixtureRequest, bao: OpenBao, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[Server], list[Key]]]:
    """Two gateways before one folder, or one MinIO; the default key, and two that clients may name."""
    home, default = tmp_path_factory.mktemp("model"), f"model-{request.param}"
    keys = [Key(default), Key(f"{default}.one"), Key(f"{default}.two")]
    role = bao.role(default, default, policy=granting(*(key.name for key in keys[1:])))
    for key in keys[1:]:
        bao.api("POST", f"transit/keys/{key.name}", {})
    settings = role.settings(MINIO_SSE_AUTO_ENCRYPTION=None, STRONGROOM_ALLOW_INSECURE_SSE_C="on")
    backend = request.getfixturevalue("minio") if request.param == "minio" else None
    with ExitStack() as stack:
        made = [served_by(backend, home / name, settings, command=NAS if backend is None else SERVER) for name in "xy"]
        for gateway in made:
            gateway.workers, gateway.data = 1, gateway.data or home / "share"
            stack.enter_context(gateway)
        yield made, keys


@pytest.mark.parametrize("seed", seeds())
def test_clients_may_do_what_the_keys_grant_at_that_moment(
    gateways: tuple[list[Server], list[Key]], bao: OpenBao, seed: int, bucket_name: str
) -> None:
    servers, keys = gateways
    servers[0].client().create_bucket(Bucket=bucket_name)
    for server in servers:  # a gateway looks at the check value of a place when it first writes there
        server.client().put_object(Bucket=bucket_name, Key="first", Body=b"", ServerSideEncryption="AES256")
    servers[0].client().delete_object(Bucket=bucket_name, Key="first")
    model = Model(seed, bao, servers, bucket_name, keys)
    try:
        model.run()
    finally:
        model.enable_all()
