"""``strongroom kms``, as an administrator runs it against a real OpenBao."""

from __future__ import annotations

import json
import shlex
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Command
from tests.mounts import small_file_system
from tests.openbao import POLICY, OpenBao, Refused
from tests.proxy import Proxy
from tests.server import MASTER_KEY


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def place(bao: OpenBao) -> dict[str, str]:
    """The settings and the token of whoever administers this OpenBao over TLS."""
    assert bao.certs is not None
    return {
        "MINIO_SSE_VAULT_ENDPOINT": bao.endpoint,
        "MINIO_SSE_VAULT_CAPATH": str(bao.certs / "ca.crt"),
        "BAO_TOKEN": bao.root,
    }


def as_json(command: Command, *arguments: str, **environment: str) -> Any:
    done = command.run("kms", *arguments, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def settings_of(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in shlex.split(text))


def test_setup_makes_everything_and_what_it_prints_are_the_settings(
    command: Command, tmp_path: Path, certificates: Path
) -> None:
    with OpenBao(tmp_path / "bao", certificates) as bao:
        arguments = ["kms", "setup", "--sse-vault-key-name", "my-key"]
        would = command.run(*arguments, "--dry-run", **place(bao))
        assert would.stdout.count("would ") == 6, would
        assert "transit/" not in bao.api("GET", "sys/mounts")["data"], "nothing was done"
        done = command.run(*arguments, **place(bao))
        assert done.returncode == 0 and done.stderr.count("done: ") == 6
        settings = settings_of(done.stdout)
        (status,) = as_json(command, "status", **settings)
        assert (status["ok"], status["provider"], status["key_id"]) == (True, "transit", "my-key")
        assert 0 < status["token_seconds"] <= 300
        again = command.run(*arguments, **place(bao))
        assert again.stderr.count("there already: ") == 5, "the secret id is new each time"
        other = command.run(*arguments[:-1], "other-key", **place(bao))
        assert other.returncode == 1 and "choose another name with --role" in other.stderr


def test_a_role_is_granted_more_keys(command: Command, tls_bao: OpenBao, key: str) -> None:
    more, role = f"{key}.more", ["--role", f"{key}-Role"]
    for _ in range(2):
        settings = as_json(command, "setup", "--sse-vault-key-name", key, *role, **place(tls_bao))["settings"]
    as_json(command, "key", "create", more, **place(tls_bao))
    other = settings | {"MINIO_SSE_VAULT_KEY_NAME": more}
    assert command.run("kms", "status", **other).returncode == 1
    for _ in range(2):
        (granted,) = as_json(command, "key", "grant", more, *role, **place(tls_bao))
        assert granted["name"] == more
    for its_settings in (settings, other):
        assert as_json(command, "status", **its_settings)[0]["ok"]
    policy = tls_bao.api("GET", f"sys/policies/acl/{key}-Role")["data"]["policy"]
    assert policy.count(f'"transit/decrypt/{more}"') == policy.count(f'"transit/decrypt/{key}"') == 1
    missing = command.run("kms", "key", "grant", f"{key}.missing", *role, **place(tls_bao))
    assert missing.returncode == 1 and "there is no transit key" in missing.stderr
    nobody = command.run("kms", "key", "grant", more, "--role", f"{key}-nobody", **place(tls_bao))
    assert nobody.returncode == 1 and "there is no policy" in nobody.stderr
    assert command.run("kms", "key", "grant", more, "--role", "a/b", **place(tls_bao)).returncode == 1


@pytest.mark.parametrize(
    "written",
    [
        '# path "transit/decrypt/{key}" {{ capabilities = ["update"] }}',
        'path "transit/decrypt/{key}" {{ capabilities = ["update"] }}',
        'path "transit/decrypt/{key}" {{ capabilities = ["read"] }}\npath "transit/encrypt/{key}" {{}}',
    ],
)
def test_a_policy_that_names_a_key_and_does_not_let_it_be_used_grants_nothing(
    command: Command, tls_bao: OpenBao, key: str, written: str
) -> None:
    role = tls_bao.role(key, key, policy=written)
    settings = {name: value for name, value in role.settings().items() if value is not None}
    assert command.run("kms", "status", **settings).returncode == 1
    setup = command.run("kms", "setup", "--sse-vault-key-name", key, "--role", key, **place(tls_bao))
    assert setup.returncode == 1 and "does not grant the key" in setup.stderr
    for _ in range(2):
        as_json(command, "key", "grant", key, "--role", key, **place(tls_bao))
    assert as_json(command, "status", **settings)[0]["ok"]
    assert tls_bao.api("GET", f"sys/policies/acl/{key}")["data"]["policy"].count("no more") == 1


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('{{"path": {{"transit/decrypt/other": {{"capabilities": ["update"]}}}}}}', "is JSON"),
        ('\n {{"path": {{}}}}', "is JSON"),
        ('path "transit/encrypt/{key}" {{ capabilities = ["deny"] }}', "denies the key"),
        (POLICY + 'path "transit/decrypt/{key}" {{ capabilities = ["deny"] }}', "denies the key"),
    ],
)
def test_a_grant_that_would_not_be_heeded_is_refused(
    command: Command, tls_bao: OpenBao, key: str, written: str, says: str
) -> None:
    tls_bao.role(key, key, policy=written)
    done = command.run("kms", "key", "grant", key, "--role", key, **place(tls_bao))
    assert done.returncode == 1 and says in done.stderr
    setup = command.run("kms", "setup", "--sse-vault-key-name", key, "--role", key, **place(tls_bao))
    assert setup.returncode == 1 and "does not grant the key" in setup.stderr


def test_what_cannot_be_used_is_not_taken_for_set_up(command: Command, tls_bao: OpenBao, key: str) -> None:
    environment, namespace = place(tls_bao), f"{key}-other"
    tls_bao.api("POST", f"transit/keys/{key}.rsa", {"type": "rsa-2048"})
    tls_bao.api("POST", f"auth/approle/role/{key}-theirs", {"token_policies": "theirs"})
    tls_bao.api("POST", f"sys/namespaces/{namespace}", {})
    tls_bao.api("POST", "sys/mounts/transit", {"type": "kv"}, namespace=namespace)
    as_json(command, "key", "create", key, **environment)
    setup = ("setup", "--dry-run", "--sse-vault-key-name")
    for arguments, more, says in (
        ((*setup, f"{key}.rsa", "--role", key), {}, "is of the type rsa-2048, which wraps no data keys"),
        (("key", "create", f"{key}.rsa"), {}, "is of the type rsa-2048, which wraps no data keys"),
        (("key", "grant", f"{key}.rsa"), {}, "is of the type rsa-2048, which wraps no data keys"),
        ((*setup, key, "--role", f"{key}-theirs"), {}, f"without the policy '{key}-theirs'"),
        ((*setup, key), {"MINIO_SSE_VAULT_NAMESPACE": namespace}, "mounted at transit/ is of the type kv"),
    ):
        done = command.run("kms", *arguments, **environment | more)
        assert done.returncode == 1 and says in done.stderr


def test_setup_works_in_a_namespace_and_keeps_the_secret_id_to_a_file(
    command: Command, tls_bao: OpenBao, tmp_path: Path, key: str
) -> None:
    tls_bao.api("POST", f"sys/namespaces/{key}", {})
    file = tmp_path / "secret-id"
    (tmp_path / "token").write_text(tls_bao.root + "\n")
    environment = place(tls_bao) | {"BAO_TOKEN": "", "MINIO_SSE_VAULT_NAMESPACE": key}
    arguments = ["--sse-vault-key-name", "k", "--secret-id-file", str(file), "--token-file", str(tmp_path / "token")]
    settings = as_json(command, "setup", *arguments, **environment)["settings"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert settings["MINIO_SSE_VAULT_APPROLE_SECRET_FILE"] == str(file)
    assert settings["MINIO_SSE_VAULT_NAMESPACE"] == key and file.read_text().strip() not in settings.values()
    assert as_json(command, "status", **settings)[0]["ok"]
    again = command.run("kms", "setup", *arguments, **environment)
    assert again.returncode == 2 and "--secret-id-file: cannot make" in again.stderr


def test_what_setup_makes_takes_no_mistyped_key_and_lets_no_stranger_lock_the_server_out(
    command: Command, tls_bao: OpenBao, key: str
) -> None:
    tls_bao.api("POST", f"sys/namespaces/{key}", {})
    environment = place(tls_bao) | {"MINIO_SSE_VAULT_NAMESPACE": key}
    settings = as_json(command, "setup", "--sse-vault-key-name", "key", **environment)["settings"]
    with pytest.raises(Refused, match="key not found"):
        tls_bao.api("POST", "transit/encrypt/kye", {"plaintext": "AAAA"}, namespace=key)
    assert tls_bao.api("LIST", "transit/keys", namespace=key)["data"]["keys"] == ["key"]
    guess = {"role_id": settings["MINIO_SSE_VAULT_APPROLE_ID"], "secret_id": "a guess"}
    for _ in range(10):
        with pytest.raises(Refused, match="invalid role or secret ID"):
            tls_bao.api("POST", "auth/approle/login", guess, namespace=key)
    for _ in range(2):
        assert as_json(command, "status", **settings)[0]["ok"]


def test_keys_are_made_listed_rotated_disabled_and_enabled(command: Command, tls_bao: OpenBao, key: str) -> None:
    environment = place(tls_bao)
    (made,) = as_json(command, "key", "create", key, **environment)
    assert made == {"name": key, "latest": 1, "least": 1, "disabled": False, "kind": "aes256-gcm96"}
    assert as_json(command, "key", "create", key, **environment) == [made], "made once"
    assert made in as_json(command, "key", "list", **environment)
    assert as_json(command, "key", "rotate", key, **environment)[0]["latest"] == 2
    assert as_json(command, "key", "disable", key, **environment)[0]["disabled"]
    assert as_json(command, "key", "disable", key, **environment)[0]["disabled"], "once more does no harm"
    assert "is disabled: strongroom kms key enable" in command.run("kms", "key", "rotate", key, **environment).stderr
    shown = command.run("kms", "key", "list", **environment).stdout
    assert any(key in line and "disabled" in line for line in shown.splitlines())
    (enabled,) = as_json(command, "key", "enable", key, **environment)
    assert not enabled["disabled"] and enabled["least"] == 1


def test_a_key_that_the_token_may_not_read_hides_no_other(command: Command, tls_bao: OpenBao, key: str) -> None:
    for name in (key, f"{key}-secret"):
        tls_bao.api("POST", f"transit/keys/{name}", {})
    policy = f"""path "transit/keys" {{ capabilities = ["list"] }}
                 path "transit/keys/*" {{ capabilities = ["read"] }}
                 path "transit/keys/{key}-secret" {{ capabilities = ["deny"] }}"""
    tls_bao.api("POST", f"sys/policies/acl/{key}", {"policy": policy})
    token = tls_bao.api("POST", "auth/token/create", {"policies": [key]})["auth"]["client_token"]
    environment = place(tls_bao) | {"BAO_TOKEN": token}
    done = command.run("kms", "key", "list", "--json", **environment)
    listed = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.returncode == 1
    assert not listed[key]["disabled"]
    assert "permission denied" in listed[f"{key}-secret"]["error"]
    shown = command.run("kms", "key", "list", **environment)
    assert shown.returncode == 1 and f"{key}-secret: the KMS" in shown.stdout


def test_where_keys_cannot_be_soft_deleted_all_former_versions_are_denied(
    command: Command, bao: OpenBao, key: str
) -> None:
    """As with Vault; whatever versions the key lets wrap."""
    bao.api("POST", f"transit/keys/{key}", {})
    bao.api("POST", f"transit/keys/{key}/config", {"min_encryption_version": 1})
    with Proxy(bao.port, lambda data: data.replace(b"/soft-delete", b"/unheard-of-")) as vault:
        environment = {"MINIO_SSE_VAULT_ENDPOINT": vault.endpoint, "BAO_TOKEN": bao.root}
        (denied,) = as_json(command, "key", "disable", key, **environment)
        assert (denied["latest"], denied["least"], denied["disabled"]) == (2, 2, False)
        (granted,) = as_json(command, "key", "enable", key, **environment)
        assert (granted["latest"], granted["least"]) == (2, 1)


def test_enabling_also_grants_versions_that_were_denied(command: Command, tls_bao: OpenBao, key: str) -> None:
    as_json(command, "key", "create", key, **place(tls_bao))
    as_json(command, "key", "rotate", key, **place(tls_bao))
    tls_bao.api("POST", f"transit/keys/{key}/config", {"min_decryption_version": 2})
    assert as_json(command, "key", "enable", key, **place(tls_bao))[0]["least"] == 1


def test_enabling_a_key_that_has_lost_its_first_versions_grants_those_that_it_has(
    command: Command, tls_bao: OpenBao, key: str
) -> None:
    as_json(command, "key", "create", key, **place(tls_bao))
    for _ in range(2):
        as_json(command, "key", "rotate", key, **place(tls_bao))
    config = f"transit/keys/{key}/config"
    tls_bao.api("POST", config, {"min_decryption_version": 2, "min_encryption_version": 2})
    tls_bao.api("POST", f"transit/keys/{key}/trim", {"min_available_version": 2})
    tls_bao.api("POST", config, {"min_decryption_version": 3, "min_encryption_version": 3})
    as_json(command, "key", "disable", key, **place(tls_bao))
    (enabled,) = as_json(command, "key", "enable", key, **place(tls_bao))
    assert (enabled["disabled"], enabled["least"]) == (False, 2)


def test_status_shows_every_provider_and_why_one_does_not_work(command: Command, tls_bao: OpenBao, key: str) -> None:
    role = tls_bao.role(key, key)
    settings = {name: value for name, value in role.settings(STRONGROOM_READ_KEYS=MASTER_KEY).items() if value}
    works = command.run("kms", "status", **settings)
    assert works.returncode == 0
    rows = [line for line in works.stdout.splitlines() if "yes" in line]
    assert len(rows) == 2 and key in rows[0] and tls_bao.endpoint in rows[0] and "my-minio-key" in rows[1]
    tls_bao.api("DELETE", f"transit/keys/{key}/soft-delete")
    broken = command.run("kms", "status", **settings)
    assert broken.returncode == 1
    assert f"transit, {key}: the master key '{key}'" in broken.stdout and "is disabled" in broken.stdout
    gone = command.run("kms", "status", **settings | {"MINIO_SSE_VAULT_ENDPOINT": "https://127.0.0.1:1"})
    assert gone.returncode == 1 and "Connection refused" in gone.stdout


@pytest.mark.parametrize("arguments", [("status",), ("key", "list"), ("setup", "--dry-run")])
def test_who_sends_a_token_over_plain_http_is_warned(
    command: Command, bao: OpenBao, key: str, arguments: tuple[str, ...]
) -> None:
    settings = {name: value for name, value in bao.role(key, key).settings().items() if value}
    elsewhere = bao.endpoint.replace("127.0.0.1", "0.0.0.0")  # no address of this machine only, as far as can be told
    for endpoint, warnings in ((bao.endpoint, 0), (elsewhere, 1)):
        there = {"MINIO_SSE_VAULT_ENDPOINT": endpoint, "BAO_TOKEN": bao.root}
        done = command.run("kms", *arguments, **settings | there)
        assert done.stderr.count("the KMS is asked over plain HTTP") == warnings


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"MINIO_SSE_VAULT_CAPATH": "absent"}, "MINIO_SSE_VAULT_CAPATH: cannot read"),
        ({"MINIO_SSE_VAULT_CAPATH": "empty"}, "MINIO_SSE_VAULT_CAPATH: there is no certificate in PEM"),
        ({"STRONGROOM_VAULT_CLIENT_CERT": "empty"}, "STRONGROOM_VAULT_CLIENT_CERT: "),
    ],
)
def test_files_that_say_how_to_trust_a_kms_are_tried_before_the_server_starts(
    command: Command, tmp_path: Path, files: dict[str, str], says: str
) -> None:
    (tmp_path / "empty").write_text("")
    settings = {
        "MINIO_ROOT_USER": "admin",
        "MINIO_ROOT_PASSWORD": "correct horse",
        "MINIO_SSE_VAULT_ENDPOINT": "https://127.0.0.1:1",
        "MINIO_SSE_VAULT_APPROLE_ID": "role",
        "MINIO_SSE_VAULT_APPROLE_SECRET": "secret",
        "MINIO_SSE_VAULT_KEY_NAME": "key",
        "BAO_TOKEN": "token",
        **{name: str(tmp_path / file) for name, file in files.items()},
    }
    for arguments in (("server", str(tmp_path / "data")), ("kms", "status"), ("kms", "key", "list")):
        done = command.run(*arguments, **settings)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert says in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        (["status"], {}, 2, "MINIO_SSE_VAULT_ENDPOINT: it is not set"),
        (["key", "list"], {}, 2, "MINIO_SSE_VAULT_ENDPOINT: it is not set"),
        (
            ["key", "list"],
            {"MINIO_SSE_VAULT_ENDPOINT": "http://127.0.0.1:1"},
            2,
            "BAO_TOKEN or VAULT_TOKEN: there is no token",
        ),
        (
            ["key", "list"],
            {"MINIO_SSE_VAULT_ENDPOINT": "http://127.0.0.1:1", "VAULT_TOKEN": "hunter2"},
            1,
            "the KMS at http://127.0.0.1:1 is not available",
        ),
        (
            ["key", "rotate", "../../sys/seal"],
            {"MINIO_SSE_VAULT_ENDPOINT": "http://127.0.0.1:1", "VAULT_TOKEN": "hunter2"},
            1,
            "is not the name of a transit key",
        ),
    ],
)
def test_what_is_missing_is_one_line(
    command: Command, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    done = command.run("kms", *arguments, **environment)
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith("strongroom: ") and done.stderr.count("\n") == 1
    assert says in done.stderr and "hunter2" not in done.stderr


def test_a_key_that_is_not_there_and_a_token_that_may_not_are_told_apart(
    command: Command, tls_bao: OpenBao, key: str
) -> None:
    absent = command.run("kms", "key", "disable", key, **place(tls_bao))
    assert absent.returncode == 1 and f"there is no transit key '{key}'" in absent.stderr
    powerless = tls_bao.api("POST", "auth/token/create", {"policies": ["default"]})["auth"]["client_token"]
    denied = command.run("kms", "key", "list", **place(tls_bao) | {"BAO_TOKEN": powerless})
    assert denied.returncode == 1 and "permission denied" in denied.stderr
    assert powerless not in denied.stderr


def test_a_secret_id_for_which_there_is_no_space_is_said_to_be_lost(
    command: Command, tls_bao: OpenBao, tmp_path: Path, key: str
) -> None:
    with small_file_system(tmp_path / "full", 1) as full:
        with suppress(OSError), (full / "filling").open("wb", buffering=0) as filling:
            while filling.write(bytes(4096)):
                pass
        file = full / "secret-id"
        arguments = ["--sse-vault-key-name", key, "--role", key, "--secret-id-file", str(file)]
        done = command.run("kms", "setup", *arguments, **place(tls_bao))
        assert (done.returncode, done.stderr.count("\n"), file.exists()) == (2, 1, False), done.stderr
        assert "--secret-id-file: the new secret id is lost" in done.stderr
