"""Master keys that clients and buckets name (SSE-KMS), in OpenBao: each grants and denies its own objects."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.kms.base import KMSDenied, NoSuchKey, context_bytes
from tests.http.raw import error_of
from tests.jobs import job
from tests.kms.opened import CONTEXT, opened
from tests.kms.test_server import DISABLED, stored_anywhere
from tests.kms.test_transit import soft_delete, undelete
from tests.openbao import POLICY, OpenBao, Refused, Role
from tests.server import MASTER_KEY, Server

SECRET = b"what must never lie on the disk as it is"
TAGS = {"TagSet": [{"Key": "colour", "Value": "green"}]}


def granting(*keys: str) -> str:
    """A policy for a role's own key, and for these."""
    return POLICY + "".join(POLICY.replace("{key}", key) for key in keys)


def named(key: str, **more: str) -> dict[str, str]:
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, **more}


@dataclass
class Place:
    """A running server, its bucket, and the transit keys that it may use: its own, and two of tenants."""

    server: Server
    bucket: str
    role: Role
    one: str
    two: str

    @property
    def client(self) -> Any:
        """On a connection of its own, so that requests come to any worker."""
        return self.server.client()


@pytest.fixture
def place(bao: OpenBao, key: str, tmp_path: Path, bucket_name: str) -> Iterator[Place]:
    one, two = f"{key}.one", f"{key}.two"
    role = bao.role(key, key, policy=granting(one, two))
    for name in (one, two):
        bao.api("POST", f"transit/keys/{name}", {})
    with Server(tmp_path, role.settings()) as server:
        server.client().create_bucket(Bucket=bucket_name)
        yield Place(server, bucket_name, role, one, two)


def test_a_key_grants_and_denies_its_own_objects_and_no_others(bao: OpenBao, place: Place) -> None:
    put: dict[str, Any] = {"Bucket": place.bucket, "Body": SECRET, "Tagging": "colour=green"}
    etags = {
        "one": place.client.put_object(**put, Key="one", **named(place.one))["ETag"],
        "two": place.client.put_object(**put, Key="two", **named(place.two))["ETag"],
        "default": place.client.put_object(**put, Key="default")["ETag"],
    }
    assert not stored_anywhere(place.server, SECRET)
    one = {"Bucket": place.bucket, "Key": "one"}
    soft_delete(bao, place.one)
    try:
        for _ in range(6):
            assert error_of(place.client.get_object, **one) == DISABLED
            assert error_of(place.client.get_object_tagging, **one) == DISABLED
            assert error_of(place.client.put_object_tagging, **one, Tagging=TAGS) == DISABLED
            assert error_of(place.client.put_object, **put, Key="new", **named(place.one)) == DISABLED
            assert place.client.get_object(Bucket=place.bucket, Key="two")["Body"].read() == SECRET
            assert place.client.get_object(Bucket=place.bucket, Key="default")["Body"].read() == SECRET
            listed = place.client.list_objects_v2(Bucket=place.bucket)["Contents"]
            assert {entry["Key"]: entry["ETag"] for entry in listed} == etags
    finally:
        undelete(bao, place.one)
    assert place.client.get_object(**one)["Body"].read() == SECRET
    assert place.client.get_object_tagging(**one)["TagSet"] == TAGS["TagSet"]


def test_the_default_key_that_is_disabled_denies_no_others(bao: OpenBao, key: str, tmp_path: Path) -> None:
    """Also in a worker that has wrapped nothing before."""
    one = f"{key}.one"
    role = bao.role(key, key, policy=granting(one))
    bao.api("POST", f"transit/keys/{one}", {})
    soft_delete(bao, key)
    try:
        with Server(tmp_path, role.settings(MINIO_SSE_AUTO_ENCRYPTION=None)) as server:
            server.client().create_bucket(Bucket="bucket")
            here = {"Bucket": "bucket", "Key": "o"}
            server.client().put_object(**here, Body=SECRET, **named(one))
            assert server.client().get_object(**here)["Body"].read() == SECRET
            assert error_of(server.client().put_object, **here, Body=b"", ServerSideEncryption="AES256") == DISABLED
    finally:
        undelete(bao, key)


def test_a_bucket_under_a_key_of_its_own(bao: OpenBao, place: Place) -> None:
    """``mc encrypt set sse-kms KEY``: clients that know nothing of it write under the key of the bucket."""
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": place.one}}
    place.client.put_bucket_encryption(Bucket=place.bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    here = {"Bucket": place.bucket, "Key": "o"}
    for _ in range(6):
        assert place.client.put_object(**here, Body=SECRET)["SSEKMSKeyId"] == place.one
    soft_delete(bao, place.one)
    try:
        assert error_of(place.client.get_object, **here) == DISABLED
        assert error_of(place.client.put_object, **here, Body=b"") == DISABLED
        assert error_of(place.client.create_multipart_upload, **here) == DISABLED
    finally:
        undelete(bao, place.one)
    assert place.client.get_object(**here)["Body"].read() == SECRET


def test_a_copy_goes_from_one_key_to_another(bao: OpenBao, place: Place) -> None:
    source = {"Bucket": place.bucket, "Key": "source"}
    place.client.put_object(**source, Body=SECRET, **named(place.one))
    copied = place.client.copy_object(Bucket=place.bucket, Key="copy", CopySource=source, **named(place.two))
    assert copied["SSEKMSKeyId"] == place.two
    soft_delete(bao, place.one)
    try:
        assert place.client.get_object(Bucket=place.bucket, Key="copy")["Body"].read() == SECRET
        again = {"Bucket": place.bucket, "Key": "again", "CopySource": source}
        assert error_of(place.client.copy_object, **again, **named(place.two)) == DISABLED
    finally:
        undelete(bao, place.one)


def test_a_key_that_is_not_there_or_not_granted_is_refused_and_none_is_made(bao: OpenBao, place: Place) -> None:
    put: dict[str, Any] = {"Bucket": place.bucket, "Key": "o", "Body": b"x"}
    foreign = f"{place.one}.foreign"
    bao.api("POST", f"transit/keys/{foreign}", {})
    assert error_of(place.client.put_object, **put, **named(foreign)) == ("AccessDenied", 403)
    assert error_of(place.client.put_object, **put, **named("a/../b")) == ("KMS.NotFoundException", 400)
    missing = f"{place.one}.missing"
    bao.write_policy(place.role.name, place.role.key, granting(place.one, place.two, missing))
    assert error_of(place.client.put_object, **put, **named(missing))[1] in (400, 403)
    with pytest.raises(Refused):
        bao.api("GET", f"transit/keys/{missing}")
    assert "Contents" not in place.client.list_objects_v2(Bucket=place.bucket)


def test_what_the_client_binds_it_to_is_enforced_by_the_kms(bao: OpenBao, key: str) -> None:
    async def main() -> str:
        async with opened(bao.role(key, key).settings()) as kms:
            context = {**CONTEXT, "department": "ledger"}
            (made,) = await kms.generate([context], key)
            right, wrong = await kms.unwrap([(made.wrapped, context), (made.wrapped, CONTEXT)])
            assert right == made.plaintext and wrong != made.plaintext
            return made.wrapped.ciphertext.decode()

    ciphertext = asyncio.run(main())
    bound = base64.b64encode(context_bytes({**CONTEXT, "department": "ledger"})).decode()
    assert bao.api("POST", f"transit/decrypt/{key}", {"ciphertext": ciphertext, "associated_data": bound})


def test_keys_of_many_go_out_in_a_call_for_each(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        others = [f"{key}.{n}" for n in range(3)]
        for other in others:
            bao.api("POST", f"transit/keys/{other}", {})
        role = bao.role(key, key, policy=granting(*others))
        bao.api("POST", f"transit/keys/{key}/rotate", {})
        async with opened(role.settings(MINIO_SSE_VAULT_KEY_VERSION="1")) as kms:
            names = ["", *others] * 8
            made = [one for (one,) in await asyncio.gather(*(kms.generate([CONTEXT], name) for name in names))]
            assert [one.wrapped.key_id for one in made] == [name or key for name in names]
            assert all(one.wrapped.ciphertext.startswith(b"vault:v1:") for one in made)
            opening = await kms.unwrap([(one.wrapped, CONTEXT) for one in made])
            assert opening == [one.plaintext for one in made]
            bao.api("POST", f"transit/keys/{others[0]}/rotate", {})
            (newer,) = await kms.generate([CONTEXT], others[0])
            assert newer.wrapped.ciphertext.startswith(b"vault:v2:"), "the pinned version is that of another key"

    asyncio.run(main())


def test_the_right_to_datakey_alone_is_enough_for_a_named_key(bao: OpenBao, key: str) -> None:
    async def main() -> None:
        other = f"{key}.other"
        bao.api("POST", f"transit/keys/{other}", {})
        rights = "".join(
            f'path "transit/{operation}/{other}" {{{{ capabilities = ["update"] }}}}\n'
            for operation in ("datakey/plaintext", "decrypt")
        )
        async with opened(bao.role(key, key, policy=POLICY + rights).settings()) as kms:
            (made,) = await kms.generate([CONTEXT], other)
            assert await kms.unwrap([(made.wrapped, CONTEXT)]) == [made.plaintext]
            (own,) = await kms.generate([CONTEXT])
            assert own.wrapped.key_id == key
            with pytest.raises(KMSDenied):
                await kms.generate([CONTEXT], f"{key}.foreign")
            with pytest.raises(NoSuchKey):
                await kms.generate([CONTEXT], "not/a/name")

    asyncio.run(main())


def test_rewrapping_keeps_each_object_under_the_key_that_was_named(bao: OpenBao, place: Place) -> None:
    here = {"Bucket": place.bucket, "Key": "one"}
    context = base64.b64encode(json.dumps({"department": "ledger"}).encode()).decode()
    put = place.client.put_object(
        **here, Body=SECRET, Tagging="colour=green", **named(place.one, SSEKMSEncryptionContext=context)
    )
    place.client.put_object(Bucket=place.bucket, Key="default", Body=SECRET)
    assert job(place.server, "rewrap")["done"] == 0
    bao.api("POST", f"transit/keys/{place.one}/rotate", {})
    assert job(place.server, "rewrap", "--dry-run")["done"] == 1
    report = job(place.server, "rewrap")
    assert (report["done"], report["failed"]) == (1, [])
    bao.api("POST", f"transit/keys/{place.one}/config", {"min_decryption_version": 2})
    found = job(place.server, "audit")["found"]
    assert [(row["encryption"], [key["key_id"] for key in row["master_keys"]]) for row in found] == [
        ("SSE-S3", [place.role.key]),
        ("SSE-KMS", [place.one]),
    ]
    head = place.client.head_object(**here)
    assert (head["ETag"], head["SSEKMSKeyId"]) == (put["ETag"], place.one)

    report = job(place.server, "rewrap", "--key", f"{place.one}={place.two}")
    assert (report["done"], report["failed"]) == (1, [])
    soft_delete(bao, place.one)
    try:
        got = place.client.get_object(**here)
        assert (got["Body"].read(), got["ETag"], got["SSEKMSKeyId"]) == (SECRET, put["ETag"], place.two)
        assert place.client.get_object_tagging(**here)["TagSet"] == TAGS["TagSet"]
    finally:
        undelete(bao, place.one)


def test_from_a_static_key_that_clients_named(bao: OpenBao, key: str, tmp_path: Path, bucket_name: str) -> None:
    here, unnamed = {"Bucket": bucket_name, "Key": "o"}, {"Bucket": bucket_name, "Key": "unnamed"}
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket=bucket_name)
        server.client().put_object(**here, Body=SECRET, **named("my-minio-key"))
        server.client().put_object(**unnamed, Body=SECRET, ServerSideEncryption="aws:kms")
    settings = {**bao.role(key, key).settings(), "STRONGROOM_READ_KEYS": MASTER_KEY}
    with Server(tmp_path, settings, workers=1) as server:
        report = job(server, "rewrap")
        (failed,) = report["failed"]
        assert (report["done"], failed["key"], "my-minio-key" in failed["reason"]) == (1, "o", True)
        assert server.client().head_object(**unnamed)["SSEKMSKeyId"] == key, "it is under whatever the default is"
        assert server.client().get_object(**here)["Body"].read() == SECRET
        report = job(server, "rewrap", "--key", f"my-minio-key={key}")
        assert (report["done"], report["failed"]) == (1, [])
    with Server(tmp_path, {**settings, "STRONGROOM_READ_KEYS": None}, workers=1) as server:
        got = server.client().get_object(**here)
        assert (got["Body"].read(), got["SSEKMSKeyId"]) == (SECRET, key)
