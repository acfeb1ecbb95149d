"""What a setting is: its names, its parser, and what is said of it to people. Knows none of the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Setting(Generic[T_co]):
    """One setting.

    ``variables`` are its names in the environment: the first is the one that messages prefer, the others mean the same.
    ``flag`` is its name on the command line; for a ``secret`` it takes a file, since everybody can see a command
    line, and each variable may be given with ``_FILE`` behind its name instead. ``default`` and ``example`` are text
    for people; what is done where nothing is set is up to the reader. ``on_off`` marks flags that take no value,
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
