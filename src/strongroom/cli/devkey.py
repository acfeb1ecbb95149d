"""The master key of ``--dev``: made once, in the user's own file, apart from the data that it encrypts."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from strongroom.config import SettingError, StaticKey
from strongroom.config.parse import hex_master_key

_NAME = "strongroom-dev"
_MAX = 1024


def dev_master_key(directory: Path, data: Path | None) -> StaticKey:
    """The key in ``directory``, made if there is none. Raises SettingError if it cannot be kept or trusted.

    The file is whole or absent, whatever happens while it is made; two processes that make it at once get the same key.
    """
    if data is not None and directory.resolve().is_relative_to(data.resolve()):
        raise SettingError(
            "--dev", f"the master key would lie in the data directory ({str(directory)!r}); choose another"
        )
    file = directory / "master.key"
    try:
        if not os.path.lexists(file):
            _make(directory, file)
        return _read(file)
    except OSError as error:
        raise SettingError("--dev", f"cannot keep a master key in {str(file)!r}: {error.strerror}") from None


def _make(directory: Path, file: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = directory / f".{secrets.token_hex(8)}"
    opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(opened, "w") as out:
            out.write(f"{_NAME}:{secrets.token_hex(32)}\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(fresh, file)
        except FileExistsError:
            return  # another process was faster: its key is used
    finally:
        fresh.unlink()
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _read(file: Path) -> StaticKey:
    opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(opened, "rb") as content:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            raise SettingError("--dev", f"{str(file)!r} is not a file of this user's own")
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise SettingError(
                "--dev", f"{str(file)!r} can be read by others; chmod 600 it, or remove it for a new key"
            )
        text = content.read(_MAX)
    try:
        return hex_master_key(text.decode("ascii", "replace"))
    except ValueError as error:
        raise SettingError("--dev", f"{str(file)!r} holds no master key: {error}") from None
