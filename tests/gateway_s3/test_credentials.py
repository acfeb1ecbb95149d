"""Where the credentials for the backend come from, and what happens when those that end cannot be had anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from strongroom.secret import Secret
from strongroom.sigv4.sign import SigningCredential
from strongroom.store.errors import StoreError, Unavailable
from strongroom.store.s3 import credentials as module
from strongroom.store.s3.credentials import ChainedCredentials, find_credentials
from tests.backends import Backend, served_by
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.sts import Sts
from tests.http.raw import error_of
from tests.server import ACCESS_KEY, MASTER_KEY, SECRET_KEY, Server
from tests.waiting import comes

ROLE = "arn:aws:iam::1:role/storage"
EARLY = 15 * 60  # seconds of life below which botocore thinks of new ones


class Found:
    """Credentials as botocore's: ``left`` is what is left of their life; ``fails`` raises where they are had anew."""

    method = "test"

    def __init__(self, left: float) -> None:
        self.left = left
        self.asked = 0
        self.fails: Exception | None = None

    def refresh_needed(self, refresh_in: int | None = None) -> bool:
        return self.left < (EARLY if refresh_in is None else refresh_in)

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return SimpleNamespace(access_key=f"key-{self.asked}", secret_key="secret", token="token")


async def names(source: ChainedCredentials, requests: int) -> list[str]:
    """The access keys that as many requests at the same time are signed with."""
    return [credential.access_key for credential in await asyncio.gather(*(source.current() for _ in range(requests)))]


def test_requests_that_need_credentials_share_one_attempt() -> None:
    async def script() -> None:
        found = Found(left=3600)
        source = ChainedCredentials(found)
        assert await names(source, 10) == ["key-1"] * 10
        assert await names(source, 10) == ["key-1"] * 10
        assert found.asked == 1

    asyncio.run(script())


def test_credentials_that_end_are_had_anew_while_requests_go_on() -> None:
    async def script() -> None:
        found = Found(left=3600)
        source = ChainedCredentials(found)
        await source.current()
        found.left = EARLY - 1
        source._next = 0.0  # long ago
        assert await names(source, 3) == ["key-1"] * 3  # begun, and not waited for
        assert source._attempt is not None
        await source._attempt
        found.left = 3600
        assert await names(source, 1) == ["key-2"]
        assert found.asked == 2

    asyncio.run(script())


def test_requests_go_on_while_credentials_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        monkeypatch.setattr(module, "_SHORT_PAUSE", 0.0)
        found = Found(left=3600)
        source = ChainedCredentials(found)
        await source.current()
        found.left, found.fails, source._next = 61, RuntimeError("not now"), 0.0
        for _ in range(3):
            assert await names(source, 3) == ["key-1"] * 3
            await asyncio.sleep(0.05)
        assert found.asked == 2  # not at each request
        found.left = 59
        with pytest.raises(Unavailable, match="not now"):
            await source.current()
        found.fails = None
        assert await names(source, 3) == ["key-4"] * 3

    asyncio.run(script())
    assert "no new credentials for the backend" in caplog.text


def test_credentials_that_were_refused_are_looked_for_anew_but_not_at_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script() -> None:
        monkeypatch.setattr(module, "_chain", lambda: Found(left=7200))
        first = Found(left=3600)
        source = ChainedCredentials(first)
        await source.current()
        source.refused()  # just after they were had
        await source.current()
        assert source._found is first
        source._next = 0.0  # long ago
        source.refused()
        assert await names(source, 3) == ["key-1"] * 3
        assert source._found.left == 7200

    asyncio.run(script())


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ExpiredToken"}}, "AssumeRoleWithWebIdentity"),
        CredentialRetrievalError(provider="test", error_msg="no answer"),
        FileNotFoundError("the token"),
        RuntimeError("still expired"),
    ],
)
def test_whatever_a_chain_raises_is_said_to_be_unavailable(error: Exception) -> None:
    async def script() -> None:
        found = Found(left=0)
        found.fails = error
        with pytest.raises(Unavailable):
            await ChainedCredentials(found).current()

    asyncio.run(script())


def test_a_request_that_is_given_up_does_not_end_the_attempt_of_others() -> None:
    async def script() -> None:
        source = ChainedCredentials(Found(left=3600))
        given_up, other = (asyncio.create_task(source.current()) for _ in range(2))
        await asyncio.sleep(0)
        given_up.cancel()
        assert (await other).access_key == "key-1"

    asyncio.run(script())


@pytest.mark.parametrize(
    "failure",
    [
        CredentialRetrievalError(provider="x", error_msg="y"),
        KeyError("AccessKeyId"),
        ValueError("no date"),
        TypeError(),
    ],
)
def test_what_does_not_answer_at_the_start_or_makes_no_sense_is_asked_again(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [failure, None, Found(left=3600)]

    def chain() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def script() -> None:
        monkeypatch.setattr(module, "_chain", chain)
        monkeypatch.setattr(module, "_SHORT_PAUSE", 0.0)
        source = await find_credentials(SigningCredential("own", Secret("own")))
        with pytest.raises(Unavailable, match="there are none"):
            await source.current()
        assert (await source.current()).access_key == "key-1"

    asyncio.run(script())


def test_a_role_that_comes_after_the_start_takes_the_place_of_the_gateway_s_own_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def script() -> None:
        monkeypatch.setattr(module, "_chain", lambda: None)  # what asks the instance takes no answer for no role
        source = await find_credentials(SigningCredential("own", Secret("own")))
        assert (await source.current()).access_key == "own"
        source.refused()
        assert (await source.current()).access_key == "own", "there is still none"
        monkeypatch.setattr(module, "_chain", lambda: Found(left=3600))
        monkeypatch.setattr(source, "_next", 0.0)  # long ago
        source.refused()
        assert (await source.current()).access_key == "key-1"

    asyncio.run(script())


def test_who_hands_out_credentials_is_not_asked_at_each_request_while_there_are_none() -> None:
    async def script() -> None:
        found = Found(left=0)
        found.fails = RuntimeError("not now")
        source = ChainedCredentials(found)
        for _ in range(5):
            with pytest.raises(Unavailable, match="not now"):
                await source.current()
        assert found.asked == 1

    asyncio.run(script())


def test_what_hangs_holds_up_requests_for_a_while_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(module, "_chain", end.wait)
    monkeypatch.setattr(module, "_PATIENCE", 0.2)
    monkeypatch.setattr(module, "_LOST", 0.5)

    async def script() -> None:
        source = await find_credentials(SigningCredential("own", Secret("own")))
        with pytest.raises(Unavailable, match="no answer"):
            await source.current()
        await asyncio.sleep(0.5)
        monkeypatch.setattr(module, "_chain", lambda: Found(left=3600))
        monkeypatch.setattr(module, "_SHORT_PAUSE", 0.0)
        monkeypatch.setattr(source, "_failure", ("", 0.0))
        assert (await source.current()).access_key == "key-1", "the attempt that hangs was given up"

    try:
        asyncio.run(asyncio.wait_for(script(), 10))
    finally:
        end.set()


@pytest.mark.parametrize(
    "given",
    [
        ("key\n", "secret", None),
        ("kéy", "secret", None),
        ("key", "secret", "token\r\nx-a: b"),
        ("key", None, None),
        (5, "s", ""),
    ],
)
def test_credentials_that_nothing_can_be_signed_with_are_had_anew(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script() -> None:
        found = Found(left=3600)
        unusable = SimpleNamespace(**dict(zip(("access_key", "secret_key", "token"), given, strict=True)))
        monkeypatch.setattr(found, "get_frozen_credentials", lambda: unusable)
        monkeypatch.setattr(module, "_chain", lambda: Found(left=3600))
        monkeypatch.setattr(module, "_SHORT_PAUSE", 0.0)
        source = ChainedCredentials(found)
        with pytest.raises(Unavailable, match="the credentials for the backend cannot be had: the"):
            await source.current()
        assert (await source.current()).access_key == "key-1"

    asyncio.run(script())


def test_an_endless_error_is_not_logged_as_a_whole() -> None:
    async def script() -> None:
        found = Found(left=0)
        found.fails = CredentialRetrievalError(provider="x", error_msg="<html>\n" * 100_000)
        with pytest.raises(Unavailable) as caught:
            await ChainedCredentials(found).current()
        assert len(str(caught.value)) < 1000

    asyncio.run(script())


def test_wrong_settings_of_the_chain_are_an_error_and_no_chain_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def found() -> Any:
        return await find_credentials(SigningCredential("own", Secret("own")))

    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async def used() -> SigningCredential:
        source = await find_credentials(SigningCredential("own", Secret("own")))
        return await source.current()

    assert asyncio.run(used()).access_key == "own"
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(StoreError, match="nosuch"):
        asyncio.run(found())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"AWS_PROFILE": "nosuch"}, "The config profile (nosuch) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "alone"}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "key\n", "AWS_SECRET_ACCESS_KEY": "secret"}, "the access key has characters"),
    ],
)
def test_wrong_settings_of_the_chain_stop_the_start(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {
        "MINIO_ROOT_USER": ACCESS_KEY,
        "MINIO_ROOT_PASSWORD": SECRET_KEY,
        "MINIO_SSE_MASTER_KEY": MASTER_KEY,
    }
    command = [sys.executable, "-m", "strongroom", "gateway", "s3", "--address", "127.0.0.1:0", "http://127.0.0.1:1"]
    done = subprocess.run(command, env=environment | settings, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert said in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("master_key", [MASTER_KEY, None], ids=["encrypting", "passing through"])
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
        ({"AWS_SECRET_ACCESS_KEY": "another-secret"}, "SignatureDoesNotMatch"),
        ({"AWS_SESSION_TOKEN": "no-token"}, "InvalidToken"),
    ],
)
def test_a_client_is_not_told_that_its_credentials_are_wrong_where_the_gateway_s_are(
    minio: Backend, tmp_path: Path, bucket_name: str, wrong: dict[str, str | None], code: str, master_key: str | None
) -> None:
    settings = {"MINIO_SSE_MASTER_KEY": master_key, "MINIO_SSE_AUTO_ENCRYPTION": None, **wrong}
    minio.client().create_bucket(Bucket=bucket_name)
    with replace(served_by(minio, tmp_path, settings), health="live", workers=1) as server:
        for operation, arguments in (("put_object", {"Key": "key", "Body": b"content"}), ("list_objects_v2", {})):
            refused = error_of(getattr(server.client(), operation), Bucket=bucket_name, **arguments)
            assert refused == ("ServiceUnavailable", 503)
        # An answer to HEAD does not say why it refuses; a copy begins with one, too.
        source = f"{bucket_name}/key"
        assert error_of(server.client().head_object, Bucket=bucket_name, Key="key")[1] == 503
        assert error_of(server.client().copy_object, Bucket=bucket_name, Key="key", CopySource=source)[1] == 503
        assert f"HEAD {source}: the backend refuses the credentials of this server: {code}" in server.log


# -- with a service account's role ----------------------------------------------------------------------------------


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file with a service account's token."""
    path = tmp_path / "token"
    path.write_text("first-identity")
    return path


@pytest.fixture
def sts(minio: Backend) -> Iterator[Sts]:
    with Sts(minio, lifetime=3600) as running:
        yield running


def with_role(gateway: Gateway, minio: Backend, sts: Sts, token: Path) -> Server:
    """A gateway that has nothing but a role."""
    return gateway(
        minio,
        {
            "AWS_ACCESS_KEY_ID": None,
            "AWS_SECRET_ACCESS_KEY": None,
            "AWS_ROLE_ARN": ROLE,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ENDPOINT_URL_STS": sts.endpoint,
            "AWS_REGION": "us-east-1",
        },
        alone=True,
    )


def test_a_role_is_taken_with_a_web_identity(
    minio: Backend, gateway: Gateway, sts: Sts, token: Path, bucket_name: str
) -> None:
    server = with_role(gateway, minio, sts, token)
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    client.put_object(Bucket=bucket_name, Key="large", Body=bytes(20 << 20))
    assert client.get_object(Bucket=bucket_name, Key="large")["Body"].read() == bytes(20 << 20)
    assert set(sts.tokens) == {"first-identity"}
    for given in sts.given:
        assert given["SecretAccessKey"] not in server.log
        assert given["SessionToken"] not in server.log
    assert "first-identity" not in server.log


def test_a_role_s_credentials_are_had_anew(
    minio: Backend, gateway: Gateway, sts: Sts, token: Path, bucket_name: str
) -> None:
    sts.lifetime = 30  # too short to begin a request with: each asks anew, with the token that is there now
    server = with_role(gateway, minio, sts, token)
    client = server.client()
    client.create_bucket(Bucket=bucket_name)
    token.write_text("second-identity")
    client.put_object(Bucket=bucket_name, Key="key", Body=b"content")
    assert sts.tokens[-1] == "second-identity"

    sts.refuses = True
    assert error_of(client.get_object, Bucket=bucket_name, Key="key") == ("ServiceUnavailable", 503)
    token.unlink()
    assert error_of(client.get_object, Bucket=bucket_name, Key="key") == ("ServiceUnavailable", 503)

    token.write_text("third-identity")
    sts.refuses = False
    assert comes(lambda: error_of(client.get_object, Bucket=bucket_name, Key="key") == ("", 200))
    assert client.get_object(Bucket=bucket_name, Key="key")["Body"].read() == b"content"
