"""The parameters of commands. Flags of settings are made from the settings' table, so that none is declared twice.

typer reads a function's signature to learn the parameters of a command. A function whose flags come from the table is
given a signature made here, and takes those flags as ``**flags``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from strongroom.config import Setting


def parameter(name: str, kind: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    """A parameter of a command: its type as typer reads it, and its default, if it has one."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def with_flags(
    function: Callable[..., None], own: Sequence[inspect.Parameter], settings: Sequence[Setting[object]]
) -> Callable[..., None]:
    """The function, with a signature made of its ``own`` parameters and the flags of ``settings``."""
    signature = inspect.Signature([*own, *map(_flag, settings)])
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def given_flags(flags: Mapping[str, str | bool | None], settings: Sequence[Setting[object]]) -> dict[str, str]:
    """The text of each flag ("--region") that was given, in the form in which the settings are loaded."""
    given: dict[str, str] = {}
    for setting in settings:
        value = flags.get(_name(setting))
        if value is not None:
            given[setting.flag] = value if isinstance(value, str) else ("on" if value else "off")
    return given


def _name(setting: Setting[object]) -> str:
    """The name of the parameter that takes a setting's flag."""
    return setting.flag.removeprefix("--").replace("-", "_")


def _flag(setting: Setting[object]) -> inspect.Parameter:
    """The parameter that takes a setting's flag; its value is None if the flag is not given."""
    declared = f"{setting.flag}/--no-{setting.flag[2:]}" if setting.on_off else setting.flag
    text = f"{setting.help} [{', '.join(setting.sources)}; default: {setting.default}]"
    if setting.secret:
        text = f"A file (a Docker secret's name, or a path) with: {text}"
    option = typer.Option(
        declared,
        metavar=None if setting.on_off else "FILE" if setting.secret else setting.metavar,
        help=text,
        show_default=False,
    )
    return parameter(_name(setting), Annotated[bool | None if setting.on_off else str | None, option], None)
