"""The commands that serve: from settings to a running server, and the banner which says that it runs."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from strongroom import __version__
from strongroom.cli.checks import check_backend, check_vault
from strongroom.cli.devkey import dev_master_key
from strongroom.cli.layout import recognised
from strongroom.cli.streams import give_up_output
from strongroom.config import (
    DEV_CREDENTIAL,
    LocalDirectory,
    RemoteS3,
    SettingError,
    Settings,
    SharedFolder,
    Target,
    from_process,
)
from strongroom.observe import logs
from strongroom.secret import Secret
from strongroom.serving import Application, serve
from strongroom.serving.hardening import harden
from strongroom.sigv4.keys import DEFAULT_REGION

if TYPE_CHECKING:
    from rich.console import Console

_log = logging.getLogger("strongroom")

_TWICE = (("s3", "SSE-S3 and SSE-KMS objects"), ("c", "SSE-C objects"))


def serve_target(flags: Mapping[str, str], target: Target, dev: bool) -> int:
    """Serve until a signal ends it. Returns the exit code.

    Raises SettingError, tls.BadCertificate, CannotListen, CannotStart if it cannot start; their messages are one line.
    """
    harden()  # before the keys are read
    target, notes = recognised(target)
    settings = from_process(flags, target, dev)
    logs.configure(settings.log_format)
    made = dev and not settings.keys.wrap
    if made:
        data = None if isinstance(target, RemoteS3) else target.path
        settings = replace(settings, master_key=dev_master_key(settings.home / "dev", data))
    if settings.vault is not None:
        check_vault(settings.vault.place)
    warnings = [*notes, *(_warnings(target) if isinstance(target, SharedFolder) else [])]
    if isinstance(target, LocalDirectory):
        _make_directory(target.path)
    elif isinstance(target, RemoteS3):
        check_backend(target, settings.backend)
    for warning in warnings:
        _log.warning("%s", warning)

    def announce(places: Sequence[tuple[str, int]], secure: bool) -> None:
        try:
            _announce(settings, places, secure, made, warnings)
        except OSError as error:  # a full disk, or a closed pipe: no reason not to serve
            _log.warning("the banner cannot be printed", extra={"reason": error.strerror})
            give_up_output()

    return serve(_build, settings, announce)


def _build(settings: Settings) -> Application:
    """Makes the application, in a worker. This process serves no requests, and does not import the modules for it."""
    from strongroom.app import build

    return build(settings)


def _warnings(target: SharedFolder) -> Sequence[str]:
    """Warnings about the file system of a shared folder. Raises SettingError if it cannot be served."""
    from strongroom.store.errors import StoreError
    from strongroom.store.nas import file_system_warnings

    if not target.path.is_dir():
        # It is not made: if a mount is missing, objects would be written to the disk below the mount point.
        raise SettingError("DIR", f"there is no folder {str(target.path)!r}; is it mounted?")
    try:
        return file_system_warnings(target.path)
    except StoreError as error:
        raise SettingError("DIR", str(error)) from None


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise SettingError("DIR", f"{str(directory)!r} is not a directory") from None
    except OSError as error:
        raise SettingError("DIR", f"cannot make {str(directory)!r}: {error.strerror}") from None
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SettingError("DIR", f"{str(directory)!r} cannot be written to by this user")


def _announce(
    settings: Settings, places: Sequence[tuple[str, int]], secure: bool, made: bool, warnings: Sequence[str]
) -> None:
    """Print the banner. It holds credentials only with --dev, and a secret key only if that is the well-known one."""
    from rich.console import Console  # workers load this module, too, and print nothing

    endpoints = _endpoints(places, secure)
    lines = [
        ("Endpoint", "  ".join(endpoints)),
        ("Region", settings.region or f"{DEFAULT_REGION}; requests signed for any are taken"),
        _where(settings),
        *_key_lines(settings),
        ("Auto-encryption", "on" if settings.auto_encryption else "off"),
        ("TLS", "on" if secure else "off"),
        ("Workers", str(settings.workers)),
        *(("Note", warning) for warning in warnings),
    ]
    console = Console(highlight=False)
    console.print(f"[bold]Strongroom {__version__}[/bold]", soft_wrap=True)
    for name, value in lines:
        console.print(f"  {name + ':':<17}{value}", soft_wrap=True, markup=False)
    if settings.dev:
        _announce_dev(console, settings, endpoints[0], made)
    console.file.flush()


def _key_lines(settings: Settings) -> list[tuple[str, str]]:
    vault, key = settings.vault, settings.master_key
    if vault is not None:
        version = f" (version {vault.key_version})" if vault.key_version else ""
        where = vault.place.endpoint + (f" (namespace {vault.place.namespace})" if vault.place.namespace else "")
        lines = [("KMS", where), ("Master key", vault.key_name + version)]
    else:
        lines = [("Master key", key.name if key else _without_key(settings.target))]
    if settings.read_keys:
        lines.append(("Read keys", ", ".join(read.name for read in settings.read_keys)))
    if settings.backend.sse:
        lines.append(("Encrypts twice", ", ".join(what for kind, what in _TWICE if kind in settings.backend.sse)))
    return lines


def _without_key(target: Target) -> str:
    if isinstance(target, RemoteS3):
        return "none: pass-through; nothing is encrypted here, the backend is asked to"
    return "none: SSE-S3 is not available"


def _where(settings: Settings) -> tuple[str, str]:
    target = settings.target
    if not isinstance(target, RemoteS3):
        return "Data", str(target.path)
    return "Backend", settings.backend_name


def _announce_dev(console: Console, settings: Settings, endpoint: str, made: bool) -> None:
    default = settings.secret_key == Secret(DEV_CREDENTIAL)
    secret_key = DEV_CREDENTIAL if default else "(the one that was given)"
    console.print(f"  {'Access key:':<17}{settings.access_key}", soft_wrap=True, markup=False)
    console.print(f"  {'Secret key:':<17}{secret_key}", soft_wrap=True, markup=False)
    console.print("\n[bold yellow]For development only.[/bold yellow]", soft_wrap=True)
    if made:
        where = settings.home / "dev" / "master.key"
        console.print(
            f"The master key lies in {where}; without that file, what is encrypted here cannot be read.",
            soft_wrap=True,
            markup=False,
        )
    console.print("To use it with mc:", soft_wrap=True)
    command = f"  mc alias set strongroom {endpoint} {settings.access_key} {secret_key if default else 'SECRET_KEY'}"
    console.print(command, soft_wrap=True, markup=False)


def _endpoints(places: Sequence[tuple[str, int]], secure: bool) -> list[str]:
    scheme = "https" if secure else "http"
    hosts: list[str] = []
    for host, port in places:
        if host in ("0.0.0.0", "::"):  # noqa: S104 - a comparison
            hosts += [f"127.0.0.1:{port}", f"{socket.gethostname()}:{port}"]
        else:
            hosts.append(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    # IPv4 addresses first: every client understands these.
    return [f"{scheme}://{host}" for host in sorted(dict.fromkeys(hosts), key=lambda host: host.startswith("["))]
