"""A server whose master key is in OpenBao: the switch, losses of the KMS, the move from a static key."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends import served_by
from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.jobs import run_job
from tests.kms.load import Load
from tests.kms.test_transit import (
    Switch,
    give_policy,
    lower_version,
    raise_version,
    soft_delete,
    take_policy,
    undelete,
)
from tests.openbao import OpenBao, Role
from tests.proxy import Proxy
from tests.server import MASTER_KEY, NAS, SERVER, Server
from tests.waiting import comes

SECRET = b"what must never lie on the disk as it is"
BODY = SECRET * 100
DISABLED = ("KMS.DisabledException", 400)


@pytest.fixture(scope="module")
def role(bao: OpenBao) -> Role:
    return bao.role("server", "server")


@pytest.fixture(scope="module")
def vault_server(tmp_path_factory: pytest.TempPathFactory, role: Role) -> Iterator[Server]:
    """Its key's version is pinned, so that raising the least version denies new objects, too."""
    settings = role.settings(
        MINIO_SSE_VAULT_KEY_VERSION="1", STRONGROOM_ALLOW_INSECURE_SSE_C="on", MINIO_SSE_AUTO_ENCRYPTION=None
    )
    with Server(tmp_path_factory.mktemp("vault-server"), settings) as running:
        yield running


@pytest.fixture
def vault_bucket(vault_server: Server, bucket_name: str) -> str:
    vault_server.client().create_bucket(Bucket=bucket_name)
    return bucket_name


def printed(server: Server, text: str) -> bool:
    """Whether the server prints a text; the banner comes when all workers serve."""
    return comes(lambda: text in server.log, 60)


def stored_anywhere(server: Server, text: bytes) -> bool:
    return any(text in file.read_bytes() for file in server.directory.rglob("*") if file.is_file())


def test_objects_are_sealed_under_the_key_in_the_kms(vault_server: Server, vault_bucket: str, role: Role) -> None:
    client = vault_server.client()
    client.put_object(Bucket=vault_bucket, Key="k", Body=BODY, ServerSideEncryption="AES256")
    assert client.get_object(Bucket=vault_bucket, Key="k")["Body"].read() == BODY
    assert client.head_object(Bucket=vault_bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert not stored_anywhere(vault_server, SECRET)
    assert printed(vault_server, f"KMS:             {role.bao.endpoint}")
    assert printed(vault_server, f"Master key:      {role.key} (version 1)")


@pytest.mark.parametrize(
    ("disable", "enable", "error"),
    [
        (soft_delete, undelete, DISABLED),
        (raise_version, lower_version, DISABLED),
        (take_policy, give_policy, ("AccessDenied", 403)),
    ],
)
def test_a_disabled_key_denies_at_the_very_next_request_and_an_enabled_one_grants(
    bao: OpenBao,
    vault_server: Server,
    vault_bucket: str,
    role: Role,
    disable: Switch,
    enable: Switch,
    error: tuple[str, int],
) -> None:
    sealed = {"Bucket": vault_bucket, "Key": "sealed"}
    vault_server.client().put_object(**sealed, Body=b"first", ServerSideEncryption="AES256")
    vault_server.client().put_object(Bucket=vault_bucket, Key="plain", Body=b"plain")
    vault_server.client().put_object(Bucket=vault_bucket, Key="c", Body=b"client's", **SSE_C)
    disable(bao, role.key)
    try:
        for _ in range(8):  # each on a connection of its own: they reach every worker
            client = vault_server.client()
            assert error_of(client.get_object, **sealed) == error
            assert error_of(client.put_object, **sealed, Body=BODY, ServerSideEncryption="AES256") == error
        assert error_of(client.create_multipart_upload, **sealed, ServerSideEncryption="AES256") == error
        assert error_of(client.head_object, **sealed)[1] == error[1]
        copied = {"Bucket": vault_bucket, "Key": "copy", "CopySource": f"{vault_bucket}/sealed"}
        assert error_of(client.copy_object, **copied) == error
        # What needs no key of the KMS goes on.
        assert client.get_object(Bucket=vault_bucket, Key="plain")["Body"].read() == b"plain"
        assert client.get_object(Bucket=vault_bucket, Key="c", **SSE_C)["Body"].read() == b"client's"
        client.put_object(Bucket=vault_bucket, Key="plain", Body=b"plain again")
        client.put_object(Bucket=vault_bucket, Key="c", Body=b"client's again", **SSE_C)
        listed = client.list_objects_v2(Bucket=vault_bucket)["Contents"]
        assert [(entry["Key"], entry["Size"]) for entry in listed] == [("c", 14), ("plain", 11), ("sealed", 5)]
    finally:
        enable(bao, role.key)
    for _ in range(8):
        assert vault_server.client().get_object(**sealed)["Body"].read() == b"first"
    client.put_object(**sealed, Body=b"second", ServerSideEncryption="AES256")
    assert client.get_object(**sealed)["Body"].read() == b"second"
    assert not stored_anywhere(vault_server, SECRET)
    assert f"{error[0]}: the" in vault_server.log and repr(role.key) in vault_server.log


def test_an_object_can_be_deleted_while_its_key_is_disabled(
    bao: OpenBao, vault_server: Server, vault_bucket: str, role: Role
) -> None:
    client = vault_server.client()
    client.put_object(Bucket=vault_bucket, Key="k", Body=BODY, ServerSideEncryption="AES256")
    soft_delete(bao, role.key)
    try:
        client.delete_object(Bucket=vault_bucket, Key="k")
    finally:
        undelete(bao, role.key)
    assert "Contents" not in client.list_objects_v2(Bucket=vault_bucket)


def test_an_upload_whose_key_is_disabled_on_the_way_leaves_nothing_behind(
    bao: OpenBao, vault_server: Server, vault_bucket: str, role: Role
) -> None:
    client = vault_server.client()
    names = {"Bucket": vault_bucket, "Key": "k"}
    upload = client.create_multipart_upload(**names, ServerSideEncryption="AES256")["UploadId"]
    part = client.upload_part(**names, UploadId=upload, PartNumber=1, Body=BODY)
    soft_delete(bao, role.key)
    try:
        assert error_of(client.upload_part, **names, UploadId=upload, PartNumber=2, Body=BODY) == DISABLED
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        assert error_of(client.complete_multipart_upload, **names, UploadId=upload, MultipartUpload=parts) == DISABLED
        assert "Contents" not in client.list_objects_v2(Bucket=vault_bucket)
        assert not stored_anywhere(vault_server, SECRET)
    finally:
        undelete(bao, role.key)
    client.complete_multipart_upload(**names, UploadId=upload, MultipartUpload=parts)
    assert client.get_object(**names)["Body"].read() == BODY


def test_tokens_that_are_revoked_under_load_fail_no_request(
    bao: OpenBao, vault_server: Server, vault_bucket: str
) -> None:
    client = vault_server.client()
    client.put_object(Bucket=vault_bucket, Key="k", Body=BODY, ServerSideEncryption="AES256")
    load = Load(vault_server, vault_bucket, ["k"], clients=16)
    thread = threading.Thread(target=load.run, args=(10_000,))
    thread.start()
    revoked = 0
    try:
        for count in (200, 400, 600):
            while len(load.statuses) < count:
                thread.join(0.05)
            revoked += bao.revoke_tokens()
        while len(load.statuses) < 900:
            thread.join(0.05)
    finally:
        load.stop()
        thread.join()
    assert revoked >= 3
    assert set(load.statuses) == {200} and load.bodies == {BODY}


def test_64_clients_take_at_most_one_call_for_8_unwraps(
    bao: OpenBao, tmp_path: Path, role: Role, bucket_name: str
) -> None:
    with Proxy(bao.port) as proxy, Server(tmp_path, role.settings(proxy.endpoint)) as server:
        client = server.client()
        client.create_bucket(Bucket=bucket_name)
        keys = [f"k{number}" for number in range(64)]
        for key in keys:
            client.put_object(Bucket=bucket_name, Key=key, Body=os.urandom(4096))
        load = Load(server, bucket_name, keys)
        proxy.requests.clear()
        load.run(20)
        assert set(load.statuses) == {200} and len(load.statuses) == 64 * 20
        assert 0 < proxy.requests[f"transit/decrypt/{role.key}"] <= len(load.statuses) / 8


def test_a_kms_that_is_restarted_sealed_under_load_costs_503s_and_no_object(tmp_path: Path, bucket_name: str) -> None:
    with OpenBao(tmp_path / "bao") as bao:
        bao.prepare()
        settings = bao.role("r", "k").settings(STRONGROOM_VAULT_TIMEOUT="2", STRONGROOM_ALLOW_INSECURE_SSE_C="on")
        with Server(tmp_path / "server", settings) as server:
            client = server.client()
            client.create_bucket(Bucket=bucket_name)
            client.put_object(Bucket=bucket_name, Key="k", Body=BODY)
            client.put_object(Bucket=bucket_name, Key="c", Body=b"client's", **SSE_C)
            load = Load(server, bucket_name, ["k"], clients=8)
            thread = threading.Thread(target=load.run, args=(1_000_000,))
            thread.start()
            try:
                bao.stop()
                bao.start()
                error = ("ServiceUnavailable", 503)
                assert error_of(client.get_object, Bucket=bucket_name, Key="k") == error
                assert error_of(client.put_object, Bucket=bucket_name, Key="k", Body=b"other") == error
                assert error_of(client.put_object, Bucket=bucket_name, Key="new", Body=BODY) == error
                assert client.get_object(Bucket=bucket_name, Key="c", **SSE_C)["Body"].read() == b"client's"
                retrying = server.client(retries={"mode": "standard", "max_attempts": 10})
                unsealing = threading.Timer(0.5, bao.unseal)
                unsealing.start()
                assert retrying.get_object(Bucket=bucket_name, Key="k")["Body"].read() == BODY
                unsealing.join()
                good = load.statuses.count(200)
                while load.statuses.count(200) < good + 100:
                    thread.join(0.05)
            finally:
                load.stop()
                thread.join()
            assert set(load.statuses) == {200, 503} and load.bodies == {BODY}
            assert load.statuses[-8:] == [200] * 8
            listed = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket_name)["Contents"]]
            assert listed == ["c", "k"]
            assert not stored_anywhere(server, SECRET)
            assert "sealed" in server.log


def test_a_kms_that_hangs_for_less_than_the_timeout_fails_no_request(
    bao: OpenBao, tmp_path: Path, role: Role, bucket_name: str
) -> None:
    with Proxy(bao.port) as proxy, Server(tmp_path, role.settings(proxy.endpoint)) as server:
        client = server.client()
        client.create_bucket(Bucket=bucket_name)
        client.put_object(Bucket=bucket_name, Key="k", Body=BODY)
        load = Load(server, bucket_name, ["k"], clients=16)
        thread = threading.Thread(target=load.run, args=(1_000_000,))
        thread.start()
        try:
            for count in (100, 300):
                while len(load.statuses) < count:
                    thread.join(0.05)
                proxy.hold()
                time.sleep(1)
                proxy.release()
            while len(load.statuses) < 500:
                thread.join(0.05)
        finally:
            load.stop()
            thread.join()
        assert set(load.statuses) == {200} and load.bodies == {BODY}


def test_a_server_starts_without_its_kms_and_uses_it_when_it_comes(
    bao: OpenBao, tmp_path: Path, role: Role, bucket_name: str
) -> None:
    with Proxy(bao.port) as proxy:
        proxy.hold()
        settings = role.settings(
            proxy.endpoint,
            STRONGROOM_VAULT_TIMEOUT="1",
            STRONGROOM_ALLOW_INSECURE_SSE_C="on",
            MINIO_SSE_AUTO_ENCRYPTION=None,
        )
        with Server(tmp_path, settings, workers=1) as server:
            client = server.client()
            client.create_bucket(Bucket=bucket_name)
            client.put_object(Bucket=bucket_name, Key="plain", Body=b"plain")
            client.put_object(Bucket=bucket_name, Key="c", Body=b"client's", **SSE_C)
            sealed = {"Bucket": bucket_name, "Key": "sealed", "Body": BODY, "ServerSideEncryption": "AES256"}
            assert error_of(client.put_object, **sealed) == ("ServiceUnavailable", 503)
            assert f"the KMS at {proxy.endpoint} is not available: no answer within 1 s" in server.log
            proxy.release()
            client.put_object(**sealed)
            assert client.get_object(Bucket=bucket_name, Key="sealed")["Body"].read() == BODY


@pytest.mark.parametrize("backend", ["nas", "minio"])
def test_a_gateway_whose_key_is_deleted_starts_and_serves_what_needs_none(
    bao: OpenBao, request: pytest.FixtureRequest, tmp_path: Path, key: str, bucket_name: str, backend: str
) -> None:
    """Also each worker that takes the place of one that died: else the first would end the gateway."""
    role = bao.role(key, key)
    may = {"exportable": True, "allow_plaintext_backup": True, "deletion_allowed": True}
    bao.api("POST", f"transit/keys/{role.key}/config", may)
    sealed = {"Bucket": bucket_name, "Key": "sealed", "Body": BODY, "ServerSideEncryption": "AES256"}
    behind = request.getfixturevalue(backend) if backend != "nas" else None
    settings = role.settings(MINIO_SSE_AUTO_ENCRYPTION=None)
    with served_by(behind, tmp_path, settings, command=NAS if behind is None else SERVER) as server:
        client = server.client()
        client.create_bucket(Bucket=bucket_name)
        client.put_object(**sealed)
        client.put_object(Bucket=bucket_name, Key="plain", Body=b"plain")
        backup = bao.api("GET", f"transit/backup/{role.key}")["data"]["backup"]
        bao.api("DELETE", f"transit/keys/{role.key}")
        server.stop()
        server.start()
        client = server.client()
        assert client.get_object(Bucket=bucket_name, Key="plain")["Body"].read() == b"plain"
        assert error_of(client.put_object, **sealed) == ("KMS.NotFoundException", 400)
        assert error_of(client.get_object, Bucket=bucket_name, Key="sealed") == ("KMS.NotFoundException", 400)
        bao.restore(role.key, backup)
        client.put_object(**sealed)
        assert client.get_object(Bucket=bucket_name, Key="sealed")["Body"].read() == BODY


def test_what_does_not_start_because_its_key_is_another_of_that_name_gives_its_token_back(
    bao: OpenBao, tmp_path: Path, key: str
) -> None:
    role = bao.role(key, key)
    with Server(tmp_path, role.settings(), workers=1, command=NAS) as server:
        pass
    bao.api("POST", f"transit/keys/{key}/config", {"deletion_allowed": True})
    bao.api("DELETE", f"transit/keys/{key}")
    bao.api("POST", f"transit/keys/{key}", {})
    before = bao.api("LIST", "auth/token/accessors")["data"]["keys"]
    audit = run_job(server, "audit")
    assert audit.returncode == 1
    assert audit.stderr.endswith("its key of that name is another\n") and audit.stderr.count("\n") == 1
    assert set(bao.api("LIST", "auth/token/accessors")["data"]["keys"]) <= set(before)


def test_a_server_that_is_moved_from_a_static_key_reads_both_kinds(
    tmp_path: Path, role: Role, bucket_name: str
) -> None:
    names = {"Bucket": bucket_name}
    with Server(tmp_path, workers=1) as server:
        client = server.client()
        client.create_bucket(**names)
        client.put_object(**names, Key="old", Body=b"under the static key")
    (tmp_path / "keys").write_text(f"# what we had before\n{MASTER_KEY}\n")
    with Server(tmp_path, role.settings(STRONGROOM_READ_KEYS_FILE=str(tmp_path / "keys")), workers=1) as server:
        client = server.client()
        client.put_object(**names, Key="new", Body=b"under the key in the KMS")
        assert client.get_object(**names, Key="old")["Body"].read() == b"under the static key"
        assert client.get_object(**names, Key="new")["Body"].read() == b"under the key in the KMS"
        assert printed(server, "Read keys:       my-minio-key")
    with Server(tmp_path, role.settings(), workers=1) as server:
        client = server.client()
        assert client.get_object(**names, Key="new")["Body"].read() == b"under the key in the KMS"
        assert error_of(client.get_object, **names, Key="old") == ("KMS.NotFoundException", 400)


def test_no_secret_of_the_kms_stands_in_the_log(vault_server: Server, role: Role) -> None:
    assert role.secret_id not in vault_server.log
    assert role.role_id not in vault_server.log
    for pid in [vault_server.process.pid if vault_server.process else 0, *vault_server.worker_pids()]:
        assert role.secret_id not in Path(f"/proc/{pid}/cmdline").read_text()
    for pid in vault_server.worker_pids():
        assert role.secret_id not in Path(f"/proc/{pid}/environ").read_text()
