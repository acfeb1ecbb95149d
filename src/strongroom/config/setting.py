"""What a setting is: its names, its parser, and its description for people. Knows no particular setting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """One setting.

    ``variables`` are its names in the environment, which all mean the same; messages use the first. ``flag`` is its
    name on the command line. For a ``secret``, the flag takes a file, since everybody can see a command line, and each
    variable may instead be given with ``_FILE`` appended to its name. ``default`` and ``example`` are text for people;
    what happens if nothing is set is up to whoever reads the setting. ``on_off`` marks flags that take no value,
    ``backend`` those of gateways to another S3.
    """

    variables: tuple[str, ...]
    flag: str
    parse: Callable[[str], T_co]
    metavar: str
    default: str
    example: str
    help: str
    secret: bool = False
    on_off: bool = False
    backend: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """All names in the environment that the setting can be read from."""
        return self.variables + tuple(name + "_FILE" for name in self.variables if self.secret)
