"""From an environment and flags to :class:`Settings`, or to one line that says what is wrong.

Two ways of giving one value must agree, except that a flag stands above its variable; for credentials and keys not
even that, because there a contradiction is a mistake that costs data. A setting that names encryption which this
release does not serve is refused: to ignore it would be to store in plaintext what was meant to be encrypted.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from strongroom.config import table
from strongroom.config.table import Setting
from strongroom.config.values import Address, Backend, MasterKey, RemoteS3, Settings, Target
from strongroom.secret import Secret

T = TypeVar("T")

ReadFile = Callable[[Path], bytes]
"""The content of a file, up to :data:`MAX_FILE` + 1 bytes. Raises OSError."""

DEV_CREDENTIAL = "minioadmin"
"""Access key and secret key of ``--dev``, known to everybody."""

DOCKER_SECRETS = Path("/run/secrets")
MAX_FILE = 64 * 1024

_OWN = "STRONGROOM_"
_KMS = ("MINIO_SSE_", "MINIO_KMS_", "MINIO_GATEWAY_SSE")


class SettingError(Exception):
    """A setting is wrong. The message is one line: which one, what is wrong with it, what a right one looks like."""

    def __init__(self, name: str, wrong: str, right: str = "") -> None:
        super().__init__(f"{name}: {wrong}" + (f"; for example {right}" if right else ""))


def from_process(flags: Mapping[str, str], target: Target, dev: bool) -> Settings:
    """Settings from this process's environment and files. Raises SettingError."""
    environment = dict(os.environ)
    environment.setdefault("HOME", os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    try:
        return load(environment, flags, _read_file, target, dev=dev, cores=len(os.sched_getaffinity(0)))
    finally:
        # What a worker does not need is not handed down to it: it would stand in its /proc/PID/environ.
        for name in secret_variables():
            os.environ.pop(name, None)


def secret_variables() -> frozenset[str]:
    """The names of the environment variables that hold a secret themselves."""
    return frozenset(name for setting in table.TABLE if setting.secret for name in setting.variables)


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

    With ``dev`` and without a master key, ``master_key`` is None although ``auto_encryption`` may be on: whoever
    calls makes a key then.
    """
    _refuse_unserved(environment)
    given = _Given(environment, flags, read_file)
    access_key, secret_key = _credentials(given, dev)
    master_key = _master_key(given)
    auto_encryption = given.value(table.AUTO_ENCRYPTION, dev)
    if auto_encryption and master_key is None and not dev:
        raise SettingError(
            table.AUTO_ENCRYPTION.variables[0], "it is on, but there is no master key", table.SSE_MASTER_KEY.example
        )
    home = Path(environment.get("HOME") or "/") / ".strongroom"
    return Settings(
        target=target,
        access_key=access_key,
        secret_key=secret_key,
        region=given.value(table.REGION, "us-east-1"),
        domains=given.value(table.DOMAINS, ()),
        master_key=master_key,
        auto_encryption=auto_encryption,
        allow_insecure_sse_c=given.value(table.ALLOW_INSECURE_SSE_C, False),
        compat=given.value(table.COMPAT, True),
        # The credentials of --dev are known to everyone, so by default only this machine can use them.
        address=given.value(table.ADDRESS, Address("localhost" if dev else "", 9000)),
        workers=given.value(table.WORKERS, max(1, cores)),
        certs_dir=given.value(table.CERTS_DIR, home / "certs").absolute(),
        log_format=given.value(table.LOG_FORMAT, "text"),
        idle_timeout=given.value(table.IDLE_TIMEOUT, 60),
        home=home,
        dev=dev,
        backend=_backend(given, target, master_key is not None or dev),
    )


class _Given:
    """What was given for each setting, wherever it may stand."""

    def __init__(self, environment: Mapping[str, str], flags: Mapping[str, str], read_file: ReadFile) -> None:
        self._environment = environment
        self._flags = flags
        self._read_file = read_file

    def value(self, setting: Setting[T], default: T) -> T:
        """The value of a setting, or ``default`` where nothing was given."""
        found = self.named(setting)
        return default if found is None else found[1]

    def named(self, setting: Setting[T]) -> tuple[str, T] | None:
        """The value of a setting with the name that it was given under, None where nothing was given."""
        first: tuple[str, T] | None = None
        for name, text in self._sources(setting):
            try:
                value = setting.parse(text)
            except ValueError as error:
                raise SettingError(name, str(error), setting.example) from None
            if first is None:
                first = name, value
                if name == setting.flag and not setting.secret:
                    break
            elif first[1] != value:
                raise SettingError(name, f"it contradicts {first[0]}; set one of them")
        return first

    def _sources(self, setting: Setting[T]) -> Iterator[tuple[str, str]]:
        if setting.flag in self._flags:
            text = self._flags[setting.flag]
            yield setting.flag, self._content(setting.flag, text) if setting.secret else text
        for name in setting.sources:
            text = self._environment.get(name, "")
            if setting.secret and name in self._environment and not text:
                # A key that was lost on its way (an unset variable in a compose file, say) must not go unnoticed.
                raise SettingError(name, "it is set, but empty; unset it or give a value", setting.example)
            if text:
                from_file = name not in setting.variables
                yield name, self._content(name, text) if from_file else text

    def _content(self, name: str, text: str) -> str:
        """The content of the file that a setting names: a Docker secret, else a path."""
        right = "a Docker secret's name or a path"
        for path in (DOCKER_SECRETS / text, Path(text)):
            try:
                content = self._read_file(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not a path"
                raise SettingError(name, f"cannot read {str(path)!r}: {reason}", right) from None
            if len(content) > MAX_FILE:
                raise SettingError(name, f"the file is longer than {MAX_FILE:,} bytes", right)
            try:
                return content.decode().rstrip("\r\n")
            except UnicodeDecodeError:
                raise SettingError(name, "the file does not hold text in UTF-8") from None
        raise SettingError(name, f"there is no file {text!r}, neither as a path nor under {DOCKER_SECRETS}", right)


def _credentials(given: _Given, dev: bool) -> tuple[str, Secret]:
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


def _master_key(given: _Given) -> MasterKey | None:
    hexadecimal, encoded = given.named(table.SSE_MASTER_KEY), given.named(table.KMS_SECRET_KEY)
    if hexadecimal is None or encoded is None:
        found = hexadecimal or encoded
        return found[1] if found else None
    if hexadecimal[1] != encoded[1]:
        raise SettingError(encoded[0], f"it is another master key than {hexadecimal[0]}; set one of them")
    return hexadecimal[1]


def _backend(given: _Given, target: Target, has_kms: bool) -> Backend:
    sse = given.named(table.GATEWAY_SSE)
    if sse is not None:
        name, kinds = sse
        if not isinstance(target, RemoteS3):
            raise SettingError(name, "only `strongroom gateway s3` serves it; unset it")
        if not has_kms:
            raise SettingError(name, "it is set, but there is no master key", table.SSE_MASTER_KEY.example)
        if "c" in kinds and (target.url or "https:").lower().startswith("http:"):
            raise SettingError(name, "c needs a backend with https: clients' keys do not go over plain HTTP")
    ca = given.value(table.BACKEND_CA, None)
    return Backend(
        region=given.value(table.BACKEND_REGION, "us-east-1"),
        style=given.value(table.BACKEND_STYLE, "auto"),
        ca=ca.absolute() if ca else None,
        timeout=given.value(table.BACKEND_TIMEOUT, 60),
        sse=sse[1] if sse else frozenset(),
    )


def _refuse_unserved(environment: Mapping[str, str]) -> None:
    known = {name for setting in table.TABLE for name in setting.sources}
    for name in sorted(environment):
        if name in known:
            continue
        if name.startswith(_KMS) and environment[name]:
            raise SettingError(name, "this release does not serve it" + _meant(name, known) + "; unset it")
        if name.startswith(_OWN):
            raise SettingError(name, "there is no such setting" + _meant(name, known))


def _meant(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.85)
    return f" (did you mean {close[0]}?)" if close else ""


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE + 1)
