"""How `strongroom gateway s3` starts, and what stops its start: one line that says which setting is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from strongroom.store.s3 import parse_endpoint
from tests.backends import Backend, served_by
from tests.gateway_s3.conftest import Gateway
from tests.server import ACCESS_KEY, MASTER_KEY, SECRET_KEY, Server, free_port
from tests.waiting import comes

KMS = {"MINIO_SSE_MASTER_KEY": MASTER_KEY}


def refused(home: Path, url: str | None, **settings: str) -> str:
    """The line that a start ends with."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, **settings}
    command = [sys.executable, "-m", "strongroom", "gateway", "s3", *([url] if url else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("value", ["x", "s3,c", "s3;s3", "s3;x", "on"])
def test_another_value_for_double_encryption_is_refused(tmp_path: Path, value: str) -> None:
    line = refused(tmp_path, "https://backend.test", **KMS, MINIO_GATEWAY_SSE=value)
    assert line.startswith(f"strongroom: MINIO_GATEWAY_SSE: {value!r} is none of s3, c and s3;c")


def test_double_encryption_without_a_kms_is_refused(tmp_path: Path) -> None:
    line = refused(tmp_path, "https://backend.test", MINIO_GATEWAY_SSE="s3")
    assert line.startswith("strongroom: MINIO_GATEWAY_SSE: it is set, but there is no master key")


@pytest.mark.parametrize("url", ["http://backend.test", "HTTP://backend.test", " http://backend.test"])
def test_keys_of_clients_do_not_go_to_a_backend_over_plain_http(tmp_path: Path, url: str) -> None:
    line = refused(tmp_path, url, **KMS, MINIO_GATEWAY_SSE="s3;c")
    assert line.startswith("strongroom: MINIO_GATEWAY_SSE: c needs a backend with https")


@pytest.mark.parametrize(
    "url", ["backend.test", "ftp://backend.test", "http://", "http://a:b@backend.test", "http://backend.test/path"]
)
def test_a_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    assert refused(tmp_path, url, **KMS).startswith("strongroom: URL: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STRONGROOM_BACKEND_REGION", "no region"),
        ("STRONGROOM_BACKEND_STYLE", "hosts"),
        ("STRONGROOM_BACKEND_TIMEOUT", "0"),
        ("STRONGROOM_BACKEND_CA", "/no/such/file"),
    ],
)
def test_a_wrong_setting_of_the_backend_is_refused(tmp_path: Path, name: str, value: str) -> None:
    assert refused(tmp_path, "http://backend.test", **KMS, **{name: value}).startswith(f"strongroom: {name}")


def test_a_server_does_not_take_the_gateway_s_settings(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MINIO_GATEWAY_SSE": "s3", **KMS}
    environment |= {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    command = [sys.executable, "-m", "strongroom", "server", str(tmp_path / "data")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "MINIO_GATEWAY_SSE: only `strongroom gateway s3` serves it" in done.stderr


def test_the_gateway_s_own_pair_is_used_where_no_other_is_found(gateway: Gateway, tmp_path: Path) -> None:
    settings = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    with Backend("minio", tmp_path / "backend", settings=settings, keys=(ACCESS_KEY, SECRET_KEY)) as backend:
        server = gateway(
            backend,
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None, "AWS_EC2_METADATA_DISABLED": "true"},
            alone=True,
        )
        server.client().create_bucket(Bucket="own-pair")
        assert [bucket["Name"] for bucket in backend.client().list_buckets()["Buckets"]] == ["own-pair"]


def test_credentials_come_from_a_profile_too(minio: Backend, gateway: Gateway, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.write_text(f"[backend]\naws_access_key_id = {minio.keys[0]}\naws_secret_access_key = {minio.keys[1]}\n")
    server = gateway(
        minio,
        {
            "AWS_ACCESS_KEY_ID": None,
            "AWS_SECRET_ACCESS_KEY": None,
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_PROFILE": "backend",
        },
    )
    server.client().list_buckets()
    assert minio.keys[1] not in server.log


def told(server: Server) -> list[str]:
    """The lines of the log that say that the backend cannot be used."""
    return [line for line in server.log.splitlines() if "the backend cannot be used" in line]


@pytest.mark.parametrize(("secret", "reason"), [(None, "cannot be reached"), ("a-wrong-secret-key", "Signature")])
def test_a_backend_that_cannot_be_used_is_told_once_and_the_gateway_serves(
    minio: Backend, tmp_path: Path, secret: str | None, reason: str
) -> None:
    settings = {"AWS_SECRET_ACCESS_KEY": secret or minio.keys[1]}
    server = replace(served_by(minio, tmp_path, {**settings}), health="live")
    if secret is None:
        server.backend = f"http://127.0.0.1:{free_port()}"
    with server:
        assert comes(lambda: bool(told(server)))
        (line,) = told(server)
        assert " WARNING strongroom " in line and f"backend={server.backend}" in line and reason in line
    assert settings["AWS_SECRET_ACCESS_KEY"] not in server.log


def test_nothing_is_told_of_a_backend_that_answers(minio: Backend, tmp_path: Path) -> None:
    with served_by(minio, tmp_path, {}) as server:
        server.client().list_buckets()
    assert not told(server)


def test_a_bucket_is_a_host_name_or_the_start_of_a_path() -> None:
    aws, other = parse_endpoint(None), parse_endpoint("http://backend.test:9000")
    assert aws.address("eu-central-1", "bucket", "a b/ü") == (
        "bucket.s3.eu-central-1.amazonaws.com",
        "/a%20b/%C3%BC",
    )
    assert aws.address("us-east-1", "with.dots", "k") == ("s3.us-east-1.amazonaws.com", "/with.dots/k")
    assert aws.address("cn-north-1", "bucket")[0] == "bucket.s3.cn-north-1.amazonaws.com.cn"
    assert other.address("us-east-1", "bucket", "a//../b") == ("backend.test:9000", "/bucket/a//../b")
    assert parse_endpoint("https://backend.test:443", "virtual").address("x", "bucket") == ("bucket.backend.test", "/")


@pytest.mark.parametrize(
    ("url", "in_the_clear"),
    [
        ("https://backend.test", False),
        ("http://backend.test:9000", True),
        ("http://10.0.0.1", True),
        ("http://127.0.0.1:9000", False),
        ("http://[::1]:9000", False),
        (None, False),
    ],
)
def test_what_goes_to_another_machine_over_plain_http_can_be_read_on_the_way(
    url: str | None, in_the_clear: bool
) -> None:
    assert parse_endpoint(url).in_the_clear == in_the_clear


def test_what_a_minio_takes_for_its_administration_depends_on_where_buckets_are_named() -> None:
    by_path, by_host = (parse_endpoint("http://backend.test:9000", style) for style in ("path", "virtual"))
    for key in ("admin/v3/info", "kms/v1/status"):
        assert by_path.administers("minio", key)
        assert not by_path.administers("bucket", f"minio/{key}")
        assert by_host.administers("bucket", f"minio/{key}")
        assert not by_host.administers("minio", key)
        assert not parse_endpoint(None).administers("bucket", f"minio/{key}")
