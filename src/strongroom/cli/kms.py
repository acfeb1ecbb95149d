"""``strongroom kms``: the status of the KMS, and what an administrator does to it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from strongroom.cli import kms_output as show
from strongroom.cli.checks import check_vault
from strongroom.cli.options import given_flags, parameter, with_flags
from strongroom.cli.outcome import FAILED, WRONG, stop_with
from strongroom.config import Administration, Setting, SettingError, administration_from_process, keys_from_process
from strongroom.config import table as settings
from strongroom.kms.base import KMSError, KMSStatus
from strongroom.kms.vault_admin import Plan, Unread, VaultAdmin
from strongroom.secret import Secret
from strongroom.serving.hardening import harden

T = TypeVar("T")

_PLACE: tuple[Setting[object], ...] = (
    settings.VAULT_ENDPOINT,
    settings.VAULT_NAMESPACE,
    settings.VAULT_CAPATH,
    settings.VAULT_CLIENT_CERT,
    settings.VAULT_CLIENT_KEY,
    settings.VAULT_TIMEOUT,
)
_ALL: tuple[Setting[object], ...] = (
    settings.SSE_MASTER_KEY,
    settings.KMS_SECRET_KEY,
    settings.READ_KEYS,
    settings.VAULT_AUTH_TYPE,
    settings.VAULT_APPROLE_ID,
    settings.VAULT_APPROLE_SECRET,
    settings.VAULT_KEY_NAME,
    settings.VAULT_KEY_VERSION,
    *_PLACE,
)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.", show_default=False)]
_NAME = Annotated[str, typer.Argument(metavar="NAME", help="The transit key.", show_default=False)]
_TOKEN = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file with a token that may change the KMS. [else BAO_TOKEN or VAULT_TOKEN]",
        show_default=False,
    ),
]
_ROLE = Annotated[str, typer.Option(metavar="NAME", help="The AppRole, and its policy.")]
_PERIOD = Annotated[str, typer.Option(metavar="DURATION", help="How long a token lives if it is not renewed.")]
_DRY = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.", show_default=False)]
_SECRET_FILE = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the secret id to this new file, not to the output.", show_default=False),
]


def status(as_json: bool, **flags: str | None) -> None:
    """Say whether the KMS of the settings works.

    Each provider wraps a data key and unwraps it. Fails if one does not.
    """

    async def look() -> Sequence[KMSStatus]:
        from strongroom.app import build_kms

        keys = keys_from_process(given_flags(flags, _ALL))
        if keys.vault is not None:
            check_vault(keys.vault.place)
        kms = build_kms(keys)
        if kms is None:
            raise SettingError(settings.VAULT_ENDPOINT.variables[0], "it is not set, and there is no static key either")
        logging.disable(logging.WARNING)  # warnings would only repeat what the status says
        await kms.start()
        try:
            return await kms.statuses()
        finally:
            await kms.stop()

    found = _run(look)
    show.statuses(found, as_json)
    if any(status.error for status in found):
        raise typer.Exit(FAILED)


def setup(
    role: str, period: str, token_file: Path | None, secret_id_file: Path | None, dry_run: bool, as_json: bool,
    **flags: str | None,
) -> None:  # fmt: skip
    """Set up a Vault or OpenBao for Strongroom.

    Makes transit, a key, AppRole, a policy and a role, each unless it exists, and a secret id. Prints the settings.
    """

    async def work() -> None:
        given = administration_from_process(given_flags(flags, (*_PLACE, settings.VAULT_KEY_NAME)), token_file)
        if given.key_name is None:
            raise SettingError(settings.VAULT_KEY_NAME.variables[0], "it is not set", settings.VAULT_KEY_NAME.example)
        plan = Plan(given.key_name, role, period)
        async with _admin(given) as admin:
            if dry_run:
                show.steps(await admin.steps(plan), as_json)
                return
            with _new_file(secret_id_file) as keep:
                steps, credentials = await admin.carry_out(plan)
                where = keep(credentials.secret_id)
            show.setup(steps, given.place, plan, credentials, where, as_json)

    _run(work)


def create(name: str, token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Make a transit key; one that is there stays as it is."""
    show.keys([_administer(token_file, flags, lambda admin: admin.create(name))], as_json)


def list_keys(token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """List the transit keys. Fails if one cannot be read, and lists the others."""
    found = _administer(token_file, flags, lambda admin: admin.keys())
    show.keys(found, as_json)
    if any(isinstance(key, Unread) for key in found):
        raise typer.Exit(FAILED)


def grant(name: str, role: str, token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Let a role that setup made use another key, too.

    It is one that clients and buckets name (SSE-KMS).
    """
    show.keys([_administer(token_file, flags, lambda admin: admin.grant(name, role))], as_json)


def rotate(name: str, token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Give a key a new version, which wraps new data keys.

    The former ones go on to unwrap.
    """
    show.keys([_administer(token_file, flags, lambda admin: admin.rotate(name))], as_json)


def disable(name: str, token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Deny a key to everybody, until it is enabled.

    It is denied from the next request on.
    """
    show.keys([_administer(token_file, flags, lambda admin: admin.disable(name))], as_json)


def enable(name: str, token_file: Path | None, as_json: bool, **flags: str | None) -> None:
    """Grant a key again, in all its versions."""
    show.keys([_administer(token_file, flags, lambda admin: admin.enable(name))], as_json)


def add_kms_commands(app: typer.Typer) -> None:
    """Add the commands to ``strongroom kms``."""
    json, token = ("as_json", _JSON, False), ("token_file", _TOKEN, None)
    _add(app, "status", status, [json], _ALL)
    own = [
        ("role", _ROLE, "strongroom"),
        ("period", _PERIOD, "5m"),
        token,
        ("secret_id_file", _SECRET_FILE, None),
        ("dry_run", _DRY, False),
        json,
    ]
    _add(app, "setup", setup, own, (*_PLACE, settings.VAULT_KEY_NAME))
    helped = "Make, list, grant, rotate, disable and enable keys."
    key = typer.Typer(help=helped, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(key, name="key")
    _add(key, "list", list_keys, [token, json], _PLACE)
    named = ("name", _NAME, inspect.Parameter.empty)
    for name, function in (("create", create), ("rotate", rotate), ("disable", disable), ("enable", enable)):
        _add(key, name, function, [named, token, json], _PLACE)
    _add(key, "grant", grant, [named, ("role", _ROLE, "strongroom"), token, json], _PLACE)


def _add(
    app: typer.Typer,
    name: str,
    function: Callable[..., None],
    own: Sequence[tuple[str, Any, Any]],
    settings: Sequence[Setting[object]],
) -> None:
    """Add a command with parameters of its ``own`` (name, type, default) and the flags of ``settings``."""
    parameters = [parameter(word, kind, default) for word, kind, default in own]
    app.command(name)(with_flags(function, parameters, settings))


def _administer(
    token_file: Path | None, flags: Mapping[str, str | None], act: Callable[[VaultAdmin], Awaitable[T]]
) -> T:
    async def work() -> T:
        async with _admin(administration_from_process(given_flags(flags, _PLACE), token_file)) as admin:
            return await act(admin)

    return _run(work)


@contextlib.asynccontextmanager
async def _admin(given: Administration) -> AsyncIterator[VaultAdmin]:
    from strongroom.app import vault_address
    from strongroom.kms.vault_client import VaultClient

    check_vault(given.place)
    client = VaultClient(vault_address(given.place))
    await client.start()
    try:
        yield VaultAdmin(client, given.token)
    finally:
        await client.stop()


@contextlib.contextmanager
def _new_file(path: Path | None) -> Iterator[Callable[[Secret], Path | None]]:
    """Yields a function that writes a secret to a new private file and returns its path; if ``path`` is None, it writes
    nothing and returns None.

    The file is made before there is a secret that could be lost, and removed if there is an error.
    """
    if path is None:
        yield lambda secret: None
        return
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingError("--secret-id-file", f"cannot make {str(path)!r}: {error.strerror}") from None

    def keep(secret: Secret) -> Path:
        try:
            with os.fdopen(os.dup(opened), "wb") as file:
                file.write(secret.reveal() + b"\n")
                file.flush()
                os.fsync(opened)
        except OSError as error:
            raise SettingError(
                "--secret-id-file", f"the new secret id is lost: cannot write {str(path)!r}: {error.strerror}"
            ) from None
        return path.absolute()

    try:
        yield keep
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(opened)


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` to its end; an error is printed as one line. Raises typer.Exit."""
    harden()  # this process holds secrets
    try:
        return asyncio.run(work())
    except (SettingError, KMSError) as error:
        raise stop_with(error, FAILED if isinstance(error, KMSError) else WRONG) from None
