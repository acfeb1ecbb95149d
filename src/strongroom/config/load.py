"""From an environment and flags to :class:`Settings`, or to one line that says what is wrong.

Settings for encryption that this release does not support are refused: ignoring them would store in plaintext what was
meant to be encrypted. So are MinIO's settings for access control and against removal.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from strongroom.config import table
from strongroom.config.cores import usable_cores
from strongroom.config.given import MAX_FILE, Given, ReadFile, SettingError
from strongroom.config.setting import Setting
from strongroom.config.values import (
    Address,
    Administration,
    Backend,
    Keys,
    RemoteS3,
    Settings,
    StaticKey,
    Target,
    Vault,
    VaultPlace,
)
from strongroom.secret import Secret

T = TypeVar("T")

DEV_CREDENTIAL = "minioadmin"
"""Access key and secret key of ``--dev``, known to everybody."""

ADMIN_TOKENS = ("BAO_TOKEN", "VAULT_TOKEN")
"""Variables that hold a token to change a Vault with; Vault's and OpenBao's own commands use the same names."""

_OF_AWS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
)
"""Variables of the AWS tools that hold a secret: needed only to call a backend."""

_TO_RUN = ("PATH", "HOME", "LANG", "LC_", "LD_", "DYLD_", "PYTHON")
"""Prefixes of the variables that a Python process may need to run at all."""

_OWN = "STRONGROOM_"
_KMS = ("MINIO_SSE_", "MINIO_KMS_", "MINIO_GATEWAY_SSE")
_PROTECTING = ("MINIO_IDENTITY_", "MINIO_POLICY_", "MINIO_ETCD_", "MINIO_WORM")

# What Kubernetes sets in each container for each Service of its namespace ("Discovering services" in its
# documentation): a Service may be called strongroom.
_OF_KUBERNETES = re.compile(
    r"\w+_(?:SERVICE_HOST=[0-9A-Fa-f.:]+|SERVICE_PORT(?:_\w+)?=\d+|PORT(?:_\d+_(?:TCP|UDP|SCTP))?=(?:tcp|udp|sctp)://\S+"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO=\w+|PORT=\d+|ADDR=[0-9A-Fa-f.:]+))"
)


def from_process(flags: Mapping[str, str], target: Target, dev: bool) -> Settings:
    """Settings from this process's environment and files. Raises SettingError."""
    with _environment(() if isinstance(target, RemoteS3) else _OF_AWS) as environment:
        return load(environment, flags, _read_file, target, dev=dev, cores=usable_cores())


def keys_from_process(flags: Mapping[str, str]) -> Keys:
    """Only the master keys, for commands that do not serve. Raises SettingError."""
    with _environment() as environment:
        return load_keys(environment, flags, _read_file)


def administration_from_process(flags: Mapping[str, str], token_file: Path | None) -> Administration:
    """What a command that changes a Vault needs. Raises SettingError.

    The token is read from a file or a variable, never from the command line, where everybody can see it.
    """
    with _environment() as environment:
        _refuse_unknown(environment)
        given = Given(environment, flags, _read_file)
        place = _vault_place(given, "this command changes a Vault")
        names = [name for name in ADMIN_TOKENS if environment.get(name)]
        if token_file is not None:
            token = given.content("--token-file", str(token_file)).strip()
        elif names:
            token = environment[names[0]].strip()
        else:
            token = ""
        if not token or not token.isascii() or not token.isprintable():
            raise SettingError(
                " or ".join(ADMIN_TOKENS), "there is no token that may change the KMS", "--token-file FILE"
            )
        return Administration(place, Secret(token), given.value(table.VAULT_KEY_NAME, None))


def load_keys(environment: Mapping[str, str], flags: Mapping[str, str], read_file: ReadFile) -> Keys:
    """The master keys that an environment and flags give. Raises SettingError."""
    _refuse_unserved(environment)
    return _keys(Given(environment, flags, read_file))


@contextlib.contextmanager
def _environment(unneeded: Sequence[str] = ()) -> Iterator[Mapping[str, str]]:
    """A copy of this process's environment. Afterwards, secrets and ``unneeded`` are removed from the original."""
    environment = dict(os.environ)
    environment.setdefault("HOME", os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    try:
        yield environment
    finally:
        # Workers must not inherit what they do not need: it would be readable in their /proc/PID/environ.
        for name in (*secret_variables(), *unneeded):
            os.environ.pop(name, None)


@contextlib.contextmanager
def bare_environment() -> Iterator[None]:
    """While a process starts that needs no settings: it inherits none, nor any secret that is meant for others."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if not name.startswith(_TO_RUN)}
    try:
        yield
    finally:
        os.environ.update(taken)


def secret_variables() -> frozenset[str]:
    """The names of the environment variables that hold a secret themselves."""
    own = (name for setting in table.ALL if setting.secret for name in setting.variables)
    return frozenset((*own, *ADMIN_TOKENS))


def load(
    environment: Mapping[str, str],
    flags: Mapping[str, str],
    read_file: ReadFile,
    target: Target,
    *,
    dev: bool,
    cores: int,
) -> Settings:
    """Validated settings; ``flags`` maps a flag's name to its text. Raises SettingError.

    With ``dev`` and without a KMS, ``master_key`` is None although ``auto_encryption`` may be on: then the caller makes
    a key.
    """
    _refuse_unserved(environment)
    given = Given(environment, flags, read_file)
    access_key, secret_key = _credentials(given, dev)
    keys = _keys(given)
    auto_encryption = given.value(table.AUTO_ENCRYPTION, dev)
    if auto_encryption and not keys.wrap and not dev:
        raise SettingError(
            table.AUTO_ENCRYPTION.variables[0], "it is on, but there is no master key", table.SSE_MASTER_KEY.example
        )
    home = Path(environment.get("HOME") or "/") / ".strongroom"
    access_log: Path | None = given.value(table.ACCESS_LOG, None)
    return Settings(
        target=target,
        access_key=access_key,
        secret_key=secret_key,
        region=given.value(table.REGION, ""),
        domains=given.value(table.DOMAINS, ()),
        master_key=keys.master_key,
        auto_encryption=auto_encryption,
        allow_insecure_sse_c=given.value(table.ALLOW_INSECURE_SSE_C, False),
        compat=given.value(table.COMPAT, True),
        # The credentials of --dev are known to everyone, so by default only this machine can use them.
        address=given.value(table.ADDRESS, Address("localhost" if dev else "", 9000)),
        workers=given.value(table.WORKERS, cores),
        certs_dir=given.value(table.CERTS_DIR, home / "certs").absolute(),
        log_format=given.value(table.LOG_FORMAT, "text"),
        idle_timeout=given.value(table.IDLE_TIMEOUT, 75),
        stop_timeout=given.value(table.STOP_TIMEOUT, 75),
        sweep_age=given.value(table.SWEEP_AGE, 24 * 3600),
        bucket_key_seconds=given.value(table.BUCKET_KEY_SECONDS, 0),
        access_log=access_log.absolute() if access_log else None,
        public_metrics=given.value(table.PUBLIC_METRICS, False),
        cors_origins=given.value(table.CORS_ORIGINS, ("*",)),
        home=home,
        notify_socket=environment.get("NOTIFY_SOCKET", ""),
        dev=dev,
        vault=keys.vault,
        read_keys=keys.read_keys,
        backend=_backend(given, target, keys.wrap or dev),
        certs_named=given.named(table.CERTS_DIR) is not None,
    )


def transfer_keys(role: str, environment: Mapping[str, str], read_file: ReadFile) -> tuple[str, Secret] | None:
    """The credentials for the ``role`` ("source", "target") of an import or export, None if none are set.

    Raises SettingError.
    """
    _refuse_unknown(environment)
    access_setting, secret_setting = table.TRANSFER[role]
    given = Given(environment, {}, read_file)
    access_key, secret_key = given.named(access_setting), given.named(secret_setting)
    if access_key is None and secret_key is None:
        return None
    if access_key is None or secret_key is None:
        missing = access_setting if access_key is None else secret_setting
        raise SettingError(missing.variables[0], "it is not set, but the other one of the pair is", missing.example)
    return access_key[1], secret_key[1]


def transfer_keys_from_process(role: str) -> tuple[str, Secret] | None:
    """As :func:`transfer_keys`, from this process's environment and files."""
    return transfer_keys(role, os.environ, _read_file)


def insecure_sse_c_from_process() -> bool:
    """Whether this process's environment allows clients' keys over plain HTTP. Raises SettingError."""
    return Given(os.environ, {}, _read_file).value(table.ALLOW_INSECURE_SSE_C, False)


def _credentials(given: Given, dev: bool) -> tuple[str, Secret]:
    user, password = table.ACCESS_KEY.variables[0], table.SECRET_KEY.variables[0]
    access_key = given.named(table.ACCESS_KEY)
    secret_key = given.named(table.SECRET_KEY)
    if access_key is not None and secret_key is not None:
        return access_key[1], secret_key[1]
    if access_key is not None:
        raise SettingError(password, f"it is not set, but {access_key[0]} is", table.SECRET_KEY.example)
    if secret_key is not None:
        raise SettingError(user, f"it is not set, but {secret_key[0]} is", table.ACCESS_KEY.example)
    if dev:
        return DEV_CREDENTIAL, Secret(DEV_CREDENTIAL)
    right = f"{table.ACCESS_KEY.example} {table.SECRET_KEY.example}, or --dev to try things out"
    raise SettingError(f"{user} and {password}", "there are no root credentials", right)


def _master_key(given: Given) -> StaticKey | None:
    hexadecimal, encoded = given.named(table.SSE_MASTER_KEY), given.named(table.KMS_SECRET_KEY)
    if hexadecimal is None or encoded is None:
        found = hexadecimal or encoded
        return found[1] if found else None
    if hexadecimal[1] != encoded[1]:
        raise SettingError(encoded[0], f"it is another master key than {hexadecimal[0]}; set one of them")
    return hexadecimal[1]


def _keys(given: Given) -> Keys:
    static = given.named(table.SSE_MASTER_KEY) or given.named(table.KMS_SECRET_KEY)
    master_key = _master_key(given)
    vault = _vault(given)
    if static is not None and vault is not None:
        raise SettingError(
            table.VAULT_ENDPOINT.variables[0],
            f"it is set, and {static[0]} too: there can be one KMS; give the static key as a read key",
            table.READ_KEYS.example,
        )
    read_keys = given.value(table.READ_KEYS, ())
    if read_keys and vault is None and master_key is None:
        raise SettingError(
            table.READ_KEYS.variables[0], "it is set, but no KMS that wraps new keys", table.VAULT_ENDPOINT.example
        )
    for key in read_keys:
        if master_key is not None and key.name == master_key.name and key != master_key:
            raise SettingError(
                table.READ_KEYS.variables[0], f"its key {key.name!r} has the name of the master key, but is another"
            )
    return Keys(master_key, vault, tuple(key for key in read_keys if key != master_key))


_VAULT = (
    table.VAULT_ENDPOINT,
    table.VAULT_AUTH_TYPE,
    table.VAULT_APPROLE_ID,
    table.VAULT_APPROLE_SECRET,
    table.VAULT_KEY_NAME,
    table.VAULT_KEY_VERSION,
    table.VAULT_NAMESPACE,
    table.VAULT_CAPATH,
    table.VAULT_CLIENT_CERT,
    table.VAULT_CLIENT_KEY,
    table.VAULT_TIMEOUT,
)


def _vault(given: Given) -> Vault | None:
    named = [found[0] for setting in _VAULT if (found := given.named(setting)) is not None]
    if not named:
        return None
    because = f"{named[0]} is"
    return Vault(
        place=_vault_place(given, because),
        role_id=_required(given, table.VAULT_APPROLE_ID, because),
        secret_id=_required(given, table.VAULT_APPROLE_SECRET, because),
        secret_id_file=given.file(table.VAULT_APPROLE_SECRET),
        key_name=_required(given, table.VAULT_KEY_NAME, because),
        key_version=given.value(table.VAULT_KEY_VERSION, 0),
    )


def _vault_place(given: Given, because: str) -> VaultPlace:
    endpoint = _required(given, table.VAULT_ENDPOINT, because)
    client_cert, client_key = given.value(table.VAULT_CLIENT_CERT, None), given.value(table.VAULT_CLIENT_KEY, None)
    if client_key is not None and client_cert is None:
        _required(given, table.VAULT_CLIENT_CERT, f"{table.VAULT_CLIENT_KEY.variables[0]} is")
    if endpoint.startswith("http:"):
        for setting in (table.VAULT_CAPATH, table.VAULT_CLIENT_CERT):
            if (found := given.named(setting)) is not None:
                raise SettingError(found[0], "it is set, but the endpoint is http://", table.VAULT_ENDPOINT.example)
    return VaultPlace(
        endpoint=endpoint,
        namespace=given.value(table.VAULT_NAMESPACE, ""),
        ca_path=given.value(table.VAULT_CAPATH, None),
        client_cert=client_cert,
        client_key=client_key,
        timeout=given.value(table.VAULT_TIMEOUT, 10),
    )


def _required(given: Given, setting: Setting[T], because: str) -> T:
    found = given.named(setting)
    if found is None:
        raise SettingError(setting.variables[0], f"it is not set, but {because}", setting.example)
    return found[1]


def _backend(given: Given, target: Target, has_kms: bool) -> Backend:
    sse = given.named(table.GATEWAY_SSE)
    if sse is not None:
        name, kinds = sse
        if not isinstance(target, RemoteS3):
            raise SettingError(name, "only `strongroom gateway s3` serves it; unset it")
        if not has_kms:
            raise SettingError(name, "it is set, but there is no master key", table.SSE_MASTER_KEY.example)
        if "c" in kinds and target.url and _has_no_tls(target.url):
            raise SettingError(name, "c needs a backend with https: clients' keys do not go over plain HTTP")
    ca = given.value(table.BACKEND_CA, None)
    return Backend(
        region=given.value(table.BACKEND_REGION, "us-east-1"),
        style=given.value(table.BACKEND_STYLE, "auto"),
        ca=ca.absolute() if ca else None,
        timeout=given.value(table.BACKEND_TIMEOUT, 60),
        sse=sse[1] if sse else frozenset(),
    )


def _has_no_tls(url: str) -> bool:
    """Whether a URL means plain HTTP, read as whoever uses it reads it: blanks before it are no part of it."""
    try:
        return urlsplit(url).scheme == "http"
    except ValueError:
        return False  # it is no URL, which stops the start as well


def _refuse_unserved(environment: Mapping[str, str]) -> None:
    for name in _unknown(environment):
        if name.startswith((*_KMS, *_PROTECTING)) and environment[name].lower() not in ("", "off", "false"):
            raise SettingError(name, "this release does not serve it" + _meant(name) + "; unset it")
    _refuse_unknown(environment)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse mistyped names of our own settings, whether or not the command uses the setting that was meant."""
    for name in _unknown(environment):
        if name.startswith(_OWN):
            raise SettingError(name, "there is no such setting" + _meant(name))


def _unknown(environment: Mapping[str, str]) -> list[str]:
    names = sorted(environment.keys() - _known())
    return [name for name in names if not _OF_KUBERNETES.fullmatch(f"{name}={environment[name]}")]


def _known() -> set[str]:
    return {name for setting in table.ALL for name in setting.sources}


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name, _known(), 1, 0.85)
    return f" (did you mean {close[0]}?)" if close else ""


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE + 1)
