"""The commands and their flags. Flags of settings come from the settings' table, so that none is declared twice."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from strongroom import __version__
from strongroom.cli import bulk
from strongroom.cli.kms import add_kms_commands
from strongroom.cli.layout import absolute
from strongroom.cli.options import given_flags, parameter, with_flags
from strongroom.cli.outcome import FAILED, WRONG, stop_with
from strongroom.cli.server import serve_target
from strongroom.cli.sweep import run_sweep
from strongroom.config import TABLE, LocalDirectory, RemoteS3, Setting, SettingError, SharedFolder, Target
from strongroom.serving import CannotListen, CannotStart
from strongroom.serving.tls import BadCertificate
from strongroom.store.errors import StoreError

_app = typer.Typer(
    help="Strongroom: an encrypting S3 server.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich's tables cut off the names of variables
    # Tracebacks belong in the log; pretty ones may show local variables, and so secrets.
    pretty_exceptions_enable=False,
)


def run() -> int:
    """Run the command. Returns the exit code: 2 if a setting is wrong, 1 if the start fails for another reason."""
    try:
        result = _app(standalone_mode=True)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else FAILED
    return result if isinstance(result, int) else 0


@_app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"strongroom {__version__}")


def _show_version(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


@_app.callback()
def _top(
    _: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Strongroom: an encrypting S3 server."""


def _serve(target: Target, dev: bool, flags: Mapping[str, str | bool | None]) -> None:
    """Run a command that serves; it ends with the command's exit code."""
    try:
        code = serve_target(given_flags(flags, TABLE), target, dev)
    except SettingError as error:
        raise stop_with(error, WRONG) from None
    except BadCertificate as error:
        raise stop_with(f"STRONGROOM_CERTS_DIR (--certs-dir): {error}", WRONG) from None
    except CannotListen as error:
        raise stop_with(f"STRONGROOM_ADDRESS (--address): {error}", FAILED) from None
    except CannotStart as error:
        raise stop_with(error, FAILED) from None
    raise typer.Exit(code)


_DEV = Annotated[
    bool,
    typer.Option(
        "--dev",
        help="For development: credentials minioadmin/minioadmin, a master key made in ~/.strongroom/dev, and"
        " auto-encryption on, each unless it is given; on this machine only, unless an address is given.",
        show_default=False,
    ),
]


def _argument(name: str, kind: Any) -> inspect.Parameter:
    """An argument of a command; None by default if its type allows that."""
    optional = type(None) in get_args(get_args(kind)[0])
    return parameter(name, kind, None if optional else inspect.Parameter.empty)


def _serving(
    app: typer.Typer, function: Callable[..., None], argument: inspect.Parameter, settings: Sequence[Setting[object]]
) -> None:
    """Add a command that serves: it takes its argument, ``--dev``, and the flags of ``settings``."""
    app.command()(with_flags(function, [argument, parameter("dev", _DEV, False)], settings))


def _place(directory: str) -> Path:
    """The absolute path of a directory. Raises typer.Exit for an empty name."""
    try:
        return absolute("DIR", directory)
    except SettingError as error:
        raise stop_with(error, WRONG) from None


def server(directory: str, dev: bool, **flags: str | bool | None) -> None:
    """Serve S3 from a directory, which is made if it is not there.

    Every option of a setting can also be given by the variable named with it; an option stands above its variable.
    """
    _serve(LocalDirectory(_place(directory)), dev, flags)


_DIRECTORY = Annotated[
    str, typer.Argument(metavar="DIR", help="Where buckets and objects are kept.", show_default=False)
]
_serving(_app, server, _argument("directory", _DIRECTORY), [setting for setting in TABLE if not setting.backend])

_gateway = typer.Typer(help="Serve S3 from storage that others use too.", no_args_is_help=True, rich_markup_mode=None)
_app.add_typer(_gateway, name="gateway")


def nas(folder: str, dev: bool, **flags: str | bool | None) -> None:
    """Serve S3 from a folder that others use too, on a NAS say.

    Its folders are the buckets, their files the objects. Any number of gateways can serve one folder. Every option of a
    setting can also be given by the variable named with it; an option stands above its variable.
    """
    mask = os.umask(0o077)  # the caller's umask is for objects' files, which others may read; our own are private
    _serve(SharedFolder(_place(folder), mask), dev, flags)


_FOLDER = Annotated[str, typer.Argument(metavar="DIR", help="The shared folder; it must be there.", show_default=False)]
_serving(_gateway, nas, _argument("folder", _FOLDER), [setting for setting in TABLE if not setting.backend])


def s3(url: str | None, dev: bool, **flags: str | bool | None) -> None:
    """Serve S3 from another S3, which gets ciphertext to keep. Keeps no state: any number can share a backend.

    Every option of a setting can also be given by the variable named with it; an option stands above its variable.
    Credentials for the backend are those that the AWS tools would use, else the gateway's own.
    """
    _serve(RemoteS3(url), dev, flags)


_URL = Annotated[
    str | None,
    typer.Argument(metavar="URL", help="The backend, http[s]://HOST[:PORT]; without one, AWS.", show_default=False),
]
_serving(_gateway, s3, _argument("url", _URL), TABLE)


def sweep(url: str | None, bucket: list[str] | None, dry_run: bool, **flags: str | bool | None) -> None:
    """Remove what gateways to another S3 that ended early left there.

    These are records, uploads and PUTs without an object. Nothing that is younger than a day is touched. It can run
    beside gateways, and be stopped at any time.
    """
    try:
        code = run_sweep(given_flags(flags, TABLE), url, bucket or [], dry_run)
    except SettingError as error:
        raise stop_with(error, WRONG) from None
    except StoreError as error:
        raise stop_with(error, FAILED) from None
    raise typer.Exit(code)


_BUCKET = Annotated[
    list[str] | None,
    typer.Option("--bucket", metavar="NAME", help="Sweep this bucket only; may be given more than once."),
]
_DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.", show_default=False)]
_sweep_settings = [
    setting for setting in TABLE if setting.backend or setting.flag in ("--root-user-file", "--root-password-file")
]
_sweep_parameters = [_argument("url", _URL), _argument("bucket", _BUCKET), parameter("dry_run", _DRY_RUN, False)]
_app.command()(with_flags(sweep, _sweep_parameters, _sweep_settings))

bulk.register(_app)

_kms = typer.Typer(help="Look at and set up the KMS.", no_args_is_help=True, rich_markup_mode=None)
_app.add_typer(_kms, name="kms")
add_kms_commands(_kms)
