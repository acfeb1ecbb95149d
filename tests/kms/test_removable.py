"""Whether a key, or a version of it, may be denied or removed: jobs name what needs it beside objects, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import served_by
from tests.customer_keys import SSE_C
from tests.jobs import job
from tests.kms.test_sse_kms import granting
from tests.openbao import OpenBao, Role
from tests.server import NAS, SERVER, Server


@pytest.fixture
def role(bao: OpenBao, key: str) -> Role:
    return bao.role(key, key)


@pytest.fixture(params=["server", "nas", "minio"])
def server(request: pytest.FixtureRequest, tmp_path: Path, role: Role) -> Iterator[Server]:
    backend = request.getfixturevalue("minio") if request.param == "minio" else None
    settings = role.settings(STRONGROOM_ALLOW_INSECURE_SSE_C="on")
    command = NAS if request.param == "nas" else SERVER
    with served_by(backend, tmp_path, settings, command=command, workers=1) as running:
        yield running


def deny_first_version(bao: OpenBao, key: str) -> None:
    bao.api("POST", f"transit/keys/{key}/config", {"min_decryption_version": 2})


def test_audit_names_the_tags_of_an_open_upload_and_what_gateways_write_by(
    bao: OpenBao, role: Role, server: Server, bucket_name: str
) -> None:
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    here = {"Bucket": bucket_name, "Key": "of-client"}
    client.put_object(Bucket=bucket_name, Key="first", Body=b"", ServerSideEncryption="AES256")
    client.delete_object(Bucket=bucket_name, Key="first")
    client.create_multipart_upload(**here, Tagging="colour=green", **SSE_C)
    bao.api("POST", f"transit/keys/{role.key}/rotate", {})
    checks = 0 if server.command == SERVER and server.backend is None else 1
    report = job(server, "audit", "--bucket", bucket_name)
    first = f"master key '{role.key}' (transit, version 1)"
    assert report["failed"] == []
    assert report["notes"] == [f"1 check value: {first}"] * checks + [f"1 open upload: {first}"]

    deny_first_version(bao, role.key)
    failed = job(server, "audit", "--bucket", bucket_name)["failed"]
    said = [(failure["key"], failure["reason"].split(":")[0]) for failure in failed]
    assert [key for key, _ in said] == [""] * checks + ["of-client"]
    assert all("the check value" in reason for key, reason in said if not key)


def test_a_bucket_that_goes_on_using_a_key_is_named(bao: OpenBao, role: Role, server: Server, bucket_name: str) -> None:
    old = f"{role.key}.old"
    bao.api("POST", f"transit/keys/{old}", {})
    bao.write_policy(role.name, role.key, granting(old))
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": f"alias/{old}"}}
    client.put_bucket_encryption(Bucket=bucket_name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    move = ("rewrap", "--bucket", bucket_name, "--key", f"{old}={role.key}")
    (failed,) = job(server, *move)["failed"]
    assert (failed["bucket"], failed["key"]) == (bucket_name, "")
    assert f"default encryption names the master key {old!r}" in failed["reason"]
    assert f"1 default encryption of a bucket: {old!r}" in job(server, "audit", "--bucket", bucket_name)["notes"]
    client.delete_bucket_encryption(Bucket=bucket_name)
    assert job(server, *move)["failed"] == []
