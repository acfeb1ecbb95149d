"""Flags of settings: made from the settings' table, so that none is declared twice."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer

from strongroom.config import Setting


def parameter(setting: Setting[object]) -> str:
    """The name of the parameter that takes a setting's flag."""
    return setting.flag.removeprefix("--").replace("-", "_")


def option(setting: Setting[object]) -> inspect.Parameter:
    """The parameter itself, as typer reads it; None where the flag is not given."""
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
    kind: Any = Annotated[bool | None if setting.on_off else str | None, option]
    return inspect.Parameter(parameter(setting), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
