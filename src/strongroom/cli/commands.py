"""The commands and their flags. Flags of settings come from the settings' table, so that none is declared twice."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom import __version__
from strongroom.cli.kms import add_kms_commands
from strongroom.cli.options import option as _option
from strongroom.cli.options import parameter as _parameter
from strongroom.cli.server import serve_target
from strongroom.config import TABLE, LocalDirectory, SettingError, SharedFolder, Target
from strongroom.serving import CannotListen, CannotStart
from strongroom.serving.tls import BadCertificate

_REFUSED = 2
_FAILED = 1

_app = typer.Typer(
    help="Strongroom: an encrypting S3 server.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # its tables cut off the names of variables
    # Tracebacks are the log's; and pretty ones may show local variables, secrets among them.
    pretty_exceptions_enable=False,
)


def run() -> int:
    """Run the command; the exit code: 2 where a setting is wrong, 1 where the start fails for another reason."""
    try:
        result = _app(standalone_mode=True)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else _FAILED
    return result if isinstance(result, int) else 0


@_app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"strongroom {__version__}")


def _serve(target: Target, dev: bool, flags: Mapping[str, str | bool | None]) -> None:
    """Run a command that serves; it ends with the command's exit code."""
    given: dict[str, str] = {}
    for setting in TABLE:
        value = flags[_parameter(setting)]
        if value is not None:
            given[setting.flag] = value if isinstance(value, str) else ("on" if value else "off")
    try:
        code = serve_target(given, target, dev)
    except SettingError as error:
        raise _stop(error, _REFUSED) from None
    except BadCertificate as error:
        raise _stop(f"STRONGROOM_CERTS_DIR (--certs-dir): {error}", _REFUSED) from None
    except (CannotListen, CannotStart) as error:
        raise _stop(error, _FAILED) from None
    raise typer.Exit(code)


def _stop(reason: object, code: int) -> typer.Exit:
    line = " ".join(str(reason).split())
    print(f"strongroom: {line}", file=sys.stderr)
    return typer.Exit(code)


_DEV = Annotated[
    bool,
    typer.Option(
        "--dev",
        help="For development: credentials minioadmin/minioadmin, a master key made in ~/.strongroom/dev, and"
        " auto-encryption on, each unless it is given; on this machine only, unless an address is given.",
        show_default=False,
    ),
]


def _serving(app: typer.Typer, function: Callable[..., None], **arguments: Any) -> None:
    """Make a command that serves of a function: ``arguments``, ``--dev``, and the flags of all settings.

    typer reads a signature; the function gets the one that the table gives.
    """
    parameters = [
        *(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind) for name, kind in arguments.items()),
        inspect.Parameter("dev", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_DEV),
        *map(_option, TABLE),
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command()(function)


def server(directory: Path, dev: bool, **flags: str | bool | None) -> None:
    """Serve S3 from a directory, which is made if it is not there.

    Every option of a setting can also be given by the variable named with it; an option stands above its variable.
    """
    _serve(LocalDirectory(directory.absolute()), dev, flags)


_DIRECTORY = Annotated[
    Path, typer.Argument(metavar="DIR", help="Where buckets and objects are kept.", show_default=False)
]
_serving(_app, server, directory=_DIRECTORY)


_gateway = typer.Typer(
    help="Serve S3 in front of storage that is there already.", no_args_is_help=True, rich_markup_mode=None
)
_app.add_typer(_gateway, name="gateway")


def nas(folder: Path, dev: bool, **flags: str | bool | None) -> None:
    """Serve S3 from a folder that others use too, on a NAS say: its folders are the buckets, their files the objects.

    Any number of gateways can serve one folder. Every option of a setting can also be given by the variable named
    with it; an option stands above its variable.
    """
    mask = os.umask(0o077)  # that of whoever starts it, for files that others shall read; ours are private
    _serve(SharedFolder(folder.absolute(), mask), dev, flags)


_FOLDER = Annotated[
    Path, typer.Argument(metavar="DIR", help="The shared folder; it must be there.", show_default=False)
]
_serving(_gateway, nas, folder=_FOLDER)


_kms = typer.Typer(help="Look at and set up the KMS.", no_args_is_help=True, rich_markup_mode=None)
_app.add_typer(_kms, name="kms")
add_kms_commands(_kms)
