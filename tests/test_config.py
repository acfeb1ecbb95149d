"""Settings: what is taken, what is refused and with which words, and that no secret is shown."""

from __future__ import annotations

import base64
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from strongroom.config import (
    TABLE,
    Address,
    LocalDirectory,
    SettingError,
    Settings,
    StaticKey,
    Vault,
    VaultPlace,
    load,
    secret_variables,
    transfer_keys,
)
from strongroom.config.document import markdown
from strongroom.secret import Secret

KEY = bytes(range(32))
HEX = "my-key:" + KEY.hex()
BASE64 = "my-key:" + base64.b64encode(KEY).decode()
MASTER_KEY = StaticKey("my-key", Secret(KEY))
ROOT = {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "correct horse"}


def read(
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    files: Mapping[str, bytes | OSError] | None = None,
    dev: bool = False,
) -> Settings:
    def read_file(path: Path) -> bytes:
        content = (files or {}).get(str(path), FileNotFoundError(2, "No such file"))
        if isinstance(content, OSError):
            raise content
        return content

    given = {"HOME": "/home/u", **({} if dev else ROOT), **(environment or {})}
    return load(given, flags or {}, read_file, LocalDirectory(Path("/data")), dev=dev, cores=3)


def refused(
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
    files: Mapping[str, bytes | OSError] | None = None,
    dev: bool = False,
) -> str:
    with pytest.raises(SettingError) as caught:
        read(environment, flags, files, dev)
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_the_defaults_that_documents_name_are_those_that_hold() -> None:
    compared = []
    for setting in TABLE:
        name, text = setting.variables[0], re.split("[;:,] ", setting.default)[0]
        if text == "none" or " " in text or text.startswith("~"):
            continue  # nothing, a sentence, or a path that a shell would make one
        others = VAULT if "VAULT" in name else {}
        assert read({**others, name: text}) == read(others), name
        compared.append(name)
    assert len(compared) >= 16, compared


def test_with_credentials_alone_everything_else_has_its_default() -> None:
    assert read() == Settings(
        target=LocalDirectory(Path("/data")),
        access_key="admin",
        secret_key=Secret("correct horse"),
        region="",
        domains=(),
        master_key=None,
        auto_encryption=False,
        allow_insecure_sse_c=False,
        compat=True,
        address=Address("", 9000),
        workers=3,
        certs_dir=Path("/home/u/.strongroom/certs"),
        log_format="text",
        idle_timeout=75,
        stop_timeout=75,
        bucket_key_seconds=0,
        access_log=None,
        public_metrics=False,
        cors_origins=("*",),
        sweep_age=24 * 3600,
        home=Path("/home/u/.strongroom"),
        dev=False,
    )


def test_each_setting_is_taken_from_its_variable() -> None:
    settings = read(
        {
            "MINIO_REGION": "eu-central-1",
            "MINIO_DOMAIN": "s3.example.com, Other.example",
            "MINIO_SSE_MASTER_KEY": HEX,
            "MINIO_SSE_AUTO_ENCRYPTION": "on",
            "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
            "STRONGROOM_COMPAT": "off",
            "STRONGROOM_ADDRESS": "[::1]:9443",
            "STRONGROOM_WORKERS": "7",
            "STRONGROOM_CERTS_DIR": "/certs",
            "STRONGROOM_LOG_FORMAT": "json",
            "STRONGROOM_IDLE_TIMEOUT": "15",
            "STRONGROOM_STOP_TIMEOUT": "8",
            "MINIO_API_CORS_ALLOW_ORIGIN": "https://app.example.com, https://*.example.org:8443,http://[::1]:80",
        }
    )
    assert settings.region == "eu-central-1"
    assert settings.domains == ("s3.example.com", "other.example")
    assert settings.master_key == MASTER_KEY
    assert settings.auto_encryption and settings.allow_insecure_sse_c and not settings.compat
    assert settings.address == Address("::1", 9443)
    assert (settings.workers, settings.log_format) == (7, "json")
    assert (settings.idle_timeout, settings.stop_timeout) == (15, 8)
    assert settings.certs_dir == Path("/certs")
    assert settings.cors_origins == ("https://app.example.com", "https://*.example.org:8443", "http://[::1]:80")


def test_a_directory_of_certificates_counts_as_named_wherever_it_was() -> None:
    assert not read().certs_named
    assert not read({"STRONGROOM_CERTS_DIR": ""}).certs_named
    assert read({"STRONGROOM_CERTS_DIR": "/certs"}).certs_named
    assert read(flags={"--certs-dir": "/certs"}).certs_named


def test_web_pages_can_be_kept_out() -> None:
    assert read({"MINIO_API_CORS_ALLOW_ORIGIN": "off"}).cors_origins == ()


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("MINIO_SITE_REGION", "region", "mars-1"), ("MINIO_KMS_SECRET_KEY", "master_key", MASTER_KEY)],
)
def test_the_names_of_later_releases_mean_the_same(name: str, field: str, value: object) -> None:
    assert getattr(read({name: BASE64 if name.endswith("KEY") else "mars-1"}), field) == value


def test_the_older_names_of_the_credentials_mean_the_same() -> None:
    old = {"MINIO_ACCESS_KEY": "older", "MINIO_SECRET_KEY": "older secret"}
    settings = load({"HOME": "/", **old}, {}, Path.read_bytes, LocalDirectory(Path("/data")), dev=False, cores=1)
    assert (settings.access_key, settings.secret_key) == ("older", Secret("older secret"))


def test_a_flag_stands_above_its_variable() -> None:
    settings = read({"MINIO_REGION": "eu-central-1", "STRONGROOM_COMPAT": "on"}, {"--region": "r", "--compat": "off"})
    assert settings.region == "r"
    assert not settings.compat


@pytest.mark.parametrize("word", ["on", "ON", "true", "True", "1"])
def test_all_that_minio_took_for_on_is_on(word: str) -> None:
    assert read({"MINIO_SSE_MASTER_KEY": HEX, "MINIO_KMS_AUTO_ENCRYPTION": word}).auto_encryption


@pytest.mark.parametrize("word", ["off", "false", "0"])
def test_all_that_minio_took_for_off_is_off(word: str) -> None:
    assert not read({"MINIO_SSE_MASTER_KEY": HEX, "MINIO_SSE_AUTO_ENCRYPTION": word}).auto_encryption


# -- secrets in files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_docker_secret_is_found_by_its_name(ending: bytes) -> None:
    files = {"/run/secrets/sse_key": HEX.encode() + ending}
    assert read({"MINIO_SSE_MASTER_KEY_FILE": "sse_key"}, files=files).master_key == MASTER_KEY


def test_a_secret_is_read_from_a_path() -> None:
    files = {"/etc/k": BASE64.encode(), "here": b"from a file"}
    assert read({"MINIO_KMS_SECRET_KEY_FILE": "/etc/k"}, files=files).master_key == MASTER_KEY
    files["/etc/k"] = HEX.encode()
    assert read(flags={"--sse-master-key-file": "/etc/k"}, files=files).master_key == MASTER_KEY


def test_credentials_are_read_from_files() -> None:
    names = {"MINIO_ACCESS_KEY_FILE": "access", "MINIO_SECRET_KEY_FILE": "/secret"}
    files = {"/run/secrets/access": b"somebody\n", "/secret": b"long enough\n"}
    settings = load(
        {"HOME": "/", **names}, {}, lambda path: files[str(path)], LocalDirectory(Path("/")), dev=False, cores=1
    )
    assert (settings.access_key, settings.secret_key) == ("somebody", Secret("long enough"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (PermissionError(13, "Permission denied"), "cannot read '/run/secrets/k': Permission denied"),
        (IsADirectoryError(21, "Is a directory"), "cannot read '/run/secrets/k': Is a directory"),
        (b"\xff\xfe", "does not hold text in UTF-8"),
        (b"x" * 70_000, "longer than 65,536 bytes"),
        (b"\n", "the file '/run/secrets/k' is empty"),
        (b"MINIO_SSE_MASTER_KEY=k:" + b"0" * 64, "has to hold the value alone"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(content: bytes | OSError, says: str) -> None:
    line = refused({"MINIO_SSE_MASTER_KEY_FILE": "k"}, files={"/run/secrets/k": content})
    assert line.startswith("MINIO_SSE_MASTER_KEY_FILE: ")
    assert says in line


def test_a_file_that_is_nowhere_is_named() -> None:
    line = refused({"MINIO_SSE_MASTER_KEY_FILE": "absent"})
    assert "there is no file 'absent', neither as a path nor under /run/secrets" in line


# -- what is wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"MINIO_ROOT_USER": "ab"}, "MINIO_ROOT_USER: it must have at least 3 characters"),
        ({"MINIO_ROOT_USER": "a/b=c"}, "cannot stand in an access key"),
        ({"MINIO_ROOT_PASSWORD": "1234567"}, "MINIO_ROOT_PASSWORD: it must have at least 8 characters"),
        ({"MINIO_ROOT_PASSWORD": "pässwörter"}, "only printable ASCII"),
        ({"MINIO_ACCESS_KEY": "other"}, "MINIO_ACCESS_KEY: it contradicts MINIO_ROOT_USER; set one of them"),
        ({"MINIO_REGION": "a b"}, "MINIO_REGION: 'a b' is not a region's name"),
        ({"MINIO_DOMAIN": "ok.example,-bad"}, "MINIO_DOMAIN: '-bad' is not a domain"),
        ({"MINIO_API_CORS_ALLOW_ORIGIN": "app.example.com"}, "'app.example.com' is not an origin"),
        ({"MINIO_API_CORS_ALLOW_ORIGIN": "https://*.*"}, "'https://*.*' is not an origin"),
        ({"MINIO_API_CORS_ALLOW_ORIGIN": "https://example.com/path"}, "is not an origin (SCHEME://HOST"),
        ({"MINIO_SSE_MASTER_KEY": "no colon"}, 'there is no ":" between a name and a key'),
        ({"MINIO_SSE_MASTER_KEY": ":" + KEY.hex()}, "there is no name before"),
        ({"MINIO_SSE_MASTER_KEY": HEX[:-1]}, "the key has 63 characters, not 64 hex digits"),
        ({"MINIO_SSE_MASTER_KEY": HEX[:-1] + "g"}, "not hex digits"),
        ({"MINIO_SSE_MASTER_KEY": "n" * 256 + ":" + KEY.hex()}, "the name is longer than 255 bytes"),
        ({"MINIO_SSE_MASTER_KEY": ""}, "it is set, but empty"),
        ({"MINIO_KMS_SECRET_KEY": "my-key:!!!"}, "the key is not base64"),
        ({"MINIO_KMS_SECRET_KEY": "my-key:AAAA"}, "the key has 3 bytes, not 32"),
        ({"MINIO_SSE_AUTO_ENCRYPTION": "maybe"}, "'maybe' is neither on nor off"),
        ({"MINIO_SSE_AUTO_ENCRYPTION": "on"}, "it is on, but there is no master key"),
        (
            {"MINIO_SSE_AUTO_ENCRYPTION": "on", "MINIO_KMS_AUTO_ENCRYPTION": "off"},
            "MINIO_KMS_AUTO_ENCRYPTION: it contradicts MINIO_SSE_AUTO_ENCRYPTION",
        ),
        ({"STRONGROOM_ADDRESS": "9000"}, "'9000' is not HOST:PORT"),
        ({"STRONGROOM_ADDRESS": "::1:9000"}, "is not HOST:PORT"),
        ({"STRONGROOM_ADDRESS": ":65536"}, "'65536' is not a port"),
        ({"STRONGROOM_WORKERS": "0"}, "'0' is not a whole number from 1 to 1,024"),
        ({"STRONGROOM_WORKERS": "²"}, "is not a whole number"),
        ({"STRONGROOM_IDLE_TIMEOUT": "-1"}, "is not a whole number"),
        ({"STRONGROOM_LOG_FORMAT": "xml"}, "'xml' is neither text nor json"),
    ],
)
def test_a_wrong_value_is_refused_with_the_settings_name(environment: dict[str, str], says: str) -> None:
    line = refused(environment)
    assert says in line
    assert line.split(":")[0] in environment


def test_a_wrong_value_comes_with_a_right_one() -> None:
    assert refused({"STRONGROOM_WORKERS": "many"}).endswith("for example STRONGROOM_WORKERS=4")


def test_two_master_keys_are_refused_and_the_same_one_in_two_forms_is_not() -> None:
    both = {"MINIO_SSE_MASTER_KEY": HEX, "MINIO_KMS_SECRET_KEY": BASE64}
    assert read(both).master_key == MASTER_KEY
    both["MINIO_KMS_SECRET_KEY"] = "other:" + BASE64.partition(":")[2]
    assert "it is another master key than MINIO_SSE_MASTER_KEY" in refused(both)


def test_a_flag_does_not_quietly_replace_a_master_key() -> None:
    files = {"/k": b"other:" + KEY.hex().encode()}
    line = refused({"MINIO_SSE_MASTER_KEY": HEX}, {"--sse-master-key-file": "/k"}, files)
    assert "it contradicts --sse-master-key-file" in line


@pytest.mark.parametrize("only", ["MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD"])
def test_one_half_of_the_credentials_alone_is_refused(only: str) -> None:
    with pytest.raises(SettingError, match=f"it is not set, but {only} is"):
        load({only: ROOT[only]}, {}, Path.read_bytes, LocalDirectory(Path("/data")), dev=True, cores=1)


def test_without_credentials_there_is_no_server() -> None:
    with pytest.raises(SettingError, match=r"there are no root credentials.*--dev"):
        load({}, {}, Path.read_bytes, LocalDirectory(Path("/data")), dev=False, cores=1)


@pytest.mark.parametrize(
    "name",
    ["MINIO_SSE_VAULT_TOKEN", "MINIO_KMS_KES_ENDPOINT"],
)
def test_encryption_that_is_not_served_is_refused_and_not_ignored(name: str) -> None:
    assert refused({name: "x"}) == f"{name}: this release does not serve it; unset it"


def test_a_misspelt_setting_is_refused_with_the_right_spelling() -> None:
    line = refused({"STRONGROOM_WORKER": "2"})
    assert line == "STRONGROOM_WORKER: there is no such setting (did you mean STRONGROOM_WORKERS?)"
    assert "did you mean MINIO_SSE_MASTER_KEY?" in refused({"MINIO_SSE_MASTERKEY": HEX})


def test_commands_that_serve_nothing_refuse_misspelt_settings_too() -> None:
    with pytest.raises(SettingError, match="did you mean STRONGROOM_SOURCE_ACCESS_KEY"):
        transfer_keys("source", {"STRONGROOM_SOURCE_ACCES_KEY": "admin"}, Path.read_bytes)


def test_what_kubernetes_sets_for_a_service_of_our_name_does_no_harm() -> None:
    of_a_service = {
        "SERVICE_HOST": "10.96.0.7",
        "SERVICE_PORT": "9000",
        "SERVICE_PORT_S3": "9000",
        "PORT": "tcp://[fd00::7]:9000",
        "PORT_9000_TCP": "tcp://10.96.0.7:9000",
        "PORT_9000_TCP_PROTO": "tcp",
        "PORT_9000_TCP_PORT": "9000",
        "PORT_9000_TCP_ADDR": "10.96.0.7",
    }
    for service in ("STRONGROOM", "STRONGROOM_GATEWAY", "MINIO_ETCD"):
        assert read({f"{service}_{name}": value for name, value in of_a_service.items()}) == read()
    assert refused({"STRONGROOM_PORT": "9000"}) == "STRONGROOM_PORT: there is no such setting", "somebody meant it"


def test_other_settings_of_minio_do_no_harm() -> None:
    assert read({"MINIO_BROWSER": "off", "MINIO_STORAGE_CLASS_STANDARD": "EC:2"}) == read()


# -- Vault ---------------------------------------------------------------------------------------------------------

VAULT = {
    "MINIO_SSE_VAULT_ENDPOINT": "https://vault.example:8200/",
    "MINIO_SSE_VAULT_APPROLE_ID": "role",
    "MINIO_SSE_VAULT_APPROLE_SECRET": "hunter2",
    "MINIO_SSE_VAULT_KEY_NAME": "my-key",
}


def test_a_vault_needs_four_settings_and_takes_more() -> None:
    place = VaultPlace("https://vault.example:8200")
    least = Vault(place, Secret("role"), Secret("hunter2"), None, "my-key")
    assert read({**VAULT, "MINIO_SSE_AUTO_ENCRYPTION": "on"}).vault == least
    more = {
        "MINIO_SSE_VAULT_AUTH_TYPE": "approle",
        "MINIO_SSE_VAULT_KEY_VERSION": "3",
        "MINIO_SSE_VAULT_CAPATH": "/ca",
        "MINIO_SSE_VAULT_NAMESPACE": "/a/b/",
        "STRONGROOM_VAULT_CLIENT_CERT": "/c",
        "STRONGROOM_VAULT_CLIENT_KEY": "/k",
        "STRONGROOM_VAULT_TIMEOUT": "3",
    }
    place = VaultPlace("https://vault.example:8200", "a/b", Path("/ca"), Path("/c"), Path("/k"), 3)
    assert read({**VAULT, **more}).vault == Vault(place, Secret("role"), Secret("hunter2"), None, "my-key", 3)


def test_a_scheme_in_capitals_has_tls_as_any_other() -> None:
    given = {**VAULT, "MINIO_SSE_VAULT_CAPATH": "/ca"}
    assert read({**given, "MINIO_SSE_VAULT_ENDPOINT": "HTTPS://vault.example:8200/"}) == read(given)
    assert "the endpoint is http://" in refused({**given, "MINIO_SSE_VAULT_ENDPOINT": "HTTP://vault.example:8200"})


def test_the_secrets_of_a_vault_are_read_from_files_and_the_secret_ids_is_remembered() -> None:
    given = {name: value for name, value in VAULT.items() if "APPROLE" not in name}
    given |= {"MINIO_SSE_VAULT_APPROLE_ID_FILE": "role", "MINIO_SSE_VAULT_APPROLE_SECRET_FILE": "/secret"}
    vault = read(given, files={"/run/secrets/role": b"role\n", "/secret": b"hunter2\n"}).vault
    assert vault is not None and (vault.role_id, vault.secret_id) == (Secret("role"), Secret("hunter2"))
    assert vault.secret_id_file == Path("/secret")


def test_a_vault_and_a_static_key_are_one_kms_too_many_unless_the_key_only_reads() -> None:
    line = refused({**VAULT, "MINIO_SSE_MASTER_KEY": HEX})
    assert line.startswith("MINIO_SSE_VAULT_ENDPOINT: it is set, and MINIO_SSE_MASTER_KEY too: there can be one KMS")
    assert read({**VAULT, "STRONGROOM_READ_KEYS": HEX}).read_keys == (MASTER_KEY,)


def test_read_keys_stand_in_a_list_or_one_a_line_in_either_form() -> None:
    other = StaticKey("other", Secret(bytes(32)))
    expected = (MASTER_KEY, other)
    assert read({**VAULT, "STRONGROOM_READ_KEYS": f"{BASE64}, other:{'00' * 32},"}).read_keys == expected
    files = {"/keys": f"# old\n{HEX}\n\nother:{'00' * 32}\n".encode()}
    assert read({**VAULT, "STRONGROOM_READ_KEYS_FILE": "/keys"}, files=files).read_keys == expected
    assert read({"MINIO_SSE_MASTER_KEY": HEX, "STRONGROOM_READ_KEYS": HEX}).read_keys == (), "it reads anyway"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"MINIO_SSE_VAULT_ENDPOINT": ""}, "MINIO_SSE_VAULT_ENDPOINT: it is not set, but MINIO_SSE_VAULT_APPROLE_ID"),
        ({"MINIO_SSE_VAULT_KEY_NAME": ""}, "MINIO_SSE_VAULT_KEY_NAME: it is not set, but MINIO_SSE_VAULT_ENDPOINT is"),
        ({"MINIO_SSE_VAULT_APPROLE_ID": ""}, "MINIO_SSE_VAULT_APPROLE_ID: it is set, but empty"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "vault:8200"}, "is not a URL that begins with https:// or http://"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://"}, "is not a URL"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://h:x"}, "is not a URL"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://h,https://i"}, "and names one host"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://h\\i"}, "and names one host"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://h:8200/v1/"}, "the /v1 at the end of 'https://h:8200/v1/' is added"),
        ({"MINIO_SSE_VAULT_ENDPOINT": "https://hunter2@h"}, "credentials, a query or a fragment cannot stand in"),
        ({"MINIO_SSE_VAULT_AUTH_TYPE": "token"}, "MINIO_SSE_VAULT_AUTH_TYPE: 'token' is not approle"),
        ({"MINIO_SSE_VAULT_KEY_NAME": "a/b"}, "MINIO_SSE_VAULT_KEY_NAME: 'a/b' is not the name of a transit key"),
        ({"MINIO_SSE_VAULT_KEY_VERSION": "-1"}, "MINIO_SSE_VAULT_KEY_VERSION: '-1' is not a whole number"),
        ({"STRONGROOM_VAULT_CLIENT_KEY": "/k"}, "STRONGROOM_VAULT_CLIENT_CERT: it is not set, but"),
        ({"STRONGROOM_VAULT_TIMEOUT": "0"}, "STRONGROOM_VAULT_TIMEOUT: '0' is not a whole number from 1"),
        ({"STRONGROOM_READ_KEYS": "name:hunter2"}, "STRONGROOM_READ_KEYS: key 1: the key has 7 characters"),
        ({"STRONGROOM_READ_KEYS": f"{HEX},my-key:{'00' * 32}"}, "key 2: there is another key with this name"),
        (
            {"MINIO_SSE_VAULT_ENDPOINT": "http://vault", "MINIO_SSE_VAULT_CAPATH": "/ca"},
            "MINIO_SSE_VAULT_CAPATH: it is set, but the endpoint is http://",
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_a_vault_is_refused_with_its_name(changed: dict[str, str], says: str) -> None:
    line = refused({**VAULT, **changed})
    assert says in line and "hunter2" not in line


def test_read_keys_alone_are_no_kms() -> None:
    assert "STRONGROOM_READ_KEYS: it is set, but no KMS that wraps new keys" in refused({"STRONGROOM_READ_KEYS": HEX})


def test_a_read_key_is_not_another_key_of_the_master_keys_name() -> None:
    line = refused({"MINIO_SSE_MASTER_KEY": HEX, "STRONGROOM_READ_KEYS": f"my-key:{'00' * 32}"})
    assert "'my-key' has the name of the master key, but is another" in line


# -- --dev ---------------------------------------------------------------------------------------------------------


def test_dev_brings_credentials_auto_encryption_and_stays_on_this_machine() -> None:
    settings = read(dev=True)
    assert (settings.access_key, settings.secret_key) == ("minioadmin", Secret("minioadmin"))
    assert settings.auto_encryption
    assert settings.address == Address("localhost", 9000)


def test_dev_yields_to_what_is_set() -> None:
    settings = read({**ROOT, "MINIO_SSE_AUTO_ENCRYPTION": "off", "STRONGROOM_ADDRESS": ":1"}, dev=True)
    assert (settings.access_key, settings.auto_encryption, settings.address.port) == ("admin", False, 1)


# -- secrets stay secret -------------------------------------------------------------------------------------------


def test_no_secret_shows_itself() -> None:
    shown = repr(read({"MINIO_SSE_MASTER_KEY": HEX}))
    assert "correct horse" not in shown
    assert KEY.hex() not in shown and repr(KEY) not in shown


@pytest.mark.parametrize("text", ["hunter2-hunter2", "my-key:hunter2-hunter2", "hunter2-hunter2:"])
@pytest.mark.parametrize("name", ["MINIO_SSE_MASTER_KEY", "MINIO_KMS_SECRET_KEY"])
def test_no_complaint_repeats_a_secret(name: str, text: str) -> None:
    assert "hunter2" not in refused({name: text})
    assert "hunter2" not in refused({name + "_FILE": "k"}, files={"/run/secrets/k": text.encode()})


def test_settings_can_be_handed_to_a_worker() -> None:
    settings = read({"MINIO_SSE_MASTER_KEY": HEX})
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_no_secret_has_a_flag_for_its_value() -> None:
    assert {setting.flag for setting in TABLE if setting.secret} == {
        "--root-user-file",
        "--root-password-file",
        "--sse-master-key-file",
        "--kms-secret-key-file",
        "--read-keys-file",
        "--sse-vault-approle-id-file",
        "--sse-vault-approle-secret-file",
    }
    assert secret_variables() >= {"MINIO_SSE_MASTER_KEY", "BAO_TOKEN", "STRONGROOM_SOURCE_SECRET_KEY"}
    assert "MINIO_SSE_MASTER_KEY_FILE" not in secret_variables()


def test_the_page_about_settings_is_what_the_table_says() -> None:
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text() == markdown(), "run python -m strongroom.config.document > docs/settings.md"
