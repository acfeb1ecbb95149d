"""What is given for a setting, by a flag, a variable, or a file that one of them names; and what is wrong with it.

If a value is given in several ways, they must agree, except that a flag overrides its variable. For credentials and
keys there is no exception: there a contradiction is a mistake that could cost data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from strongroom.config.setting import Setting

T = TypeVar("T")

ReadFile = Callable[[Path], bytes]
"""The content of a file, up to :data:`MAX_FILE` + 1 bytes. Raises OSError."""

DOCKER_SECRETS = Path("/run/secrets")
MAX_FILE = 64 * 1024
_ASSIGNED = re.compile(r"\s*(?:export\s+)?(?:MINIO|STRONGROOM)_[A-Z_]+=")


class SettingError(Exception):
    """A setting is wrong. The message is one line: which one, what is wrong with it, what a right one looks like."""

    def __init__(self, name: str, wrong: str, right: str = "") -> None:
        super().__init__(f"{name}: {wrong}" + (f"; for example {right}" if right else ""))


class Given:
    """What was given for each setting, by flags, variables and files."""

    def __init__(self, environment: Mapping[str, str], flags: Mapping[str, str], read_file: ReadFile) -> None:
        self._environment = environment
        self._flags = flags
        self._read_file = read_file

    def value(self, setting: Setting[T], default: T) -> T:
        """The value of a setting, or ``default`` if nothing was given."""
        found = self.named(setting)
        return default if found is None else found[1]

    def named(self, setting: Setting[T]) -> tuple[str, T] | None:
        """The flag or variable that a setting was given by, and the value; None if nothing was given."""
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
            yield setting.flag, self.content(setting.flag, text) if setting.secret else text
        for name in setting.sources:
            text = self._environment.get(name, "")
            if setting.secret and name in self._environment and not text:
                # A key that was lost on its way (for example, an unset variable in a compose file) must be noticed.
                raise SettingError(name, "it is set, but empty; unset it or give a value", setting.example)
            if text:
                from_file = name not in setting.variables
                yield name, self.content(name, text) if from_file else text

    def file(self, setting: Setting[object]) -> Path | None:
        """The file that the value of a secret was read from; None if it was not read from a file."""
        found = self.named(setting)
        if found is None or found[0] in setting.variables:
            return None
        text = self._flags.get(found[0]) or self._environment[found[0]]
        return self._file(found[0], text)[0].absolute()

    def content(self, name: str, text: str) -> str:
        """The content of the file that a setting names: a Docker secret, else a path."""
        return self._file(name, text)[1]

    def _file(self, name: str, text: str) -> tuple[Path, str]:
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
                value = content.decode().rstrip("\r\n")
            except UnicodeDecodeError:
                raise SettingError(name, "the file does not hold text in UTF-8") from None
            if not value:
                raise SettingError(name, f"the file {str(path)!r} is empty")
            if _ASSIGNED.match(value):  # else that would become part of a key's name
                raise SettingError(name, "the file has to hold the value alone, without the setting's name before it")
            return path, value
        raise SettingError(name, f"there is no file {text!r}, neither as a path nor under {DOCKER_SECRETS}", right)
