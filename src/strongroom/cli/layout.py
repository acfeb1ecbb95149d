"""Recognising what lies in a directory that is to be served: what a MinIO left there is served in its own layout."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from strongroom.config import LocalDirectory, RemoteS3, SettingError, SharedFolder, Target
from strongroom.legacy.errors import NotCovered
from strongroom.legacy.layout import FORMAT, MAX_FORMAT, SYSTEM, check_format
from strongroom.store.local.store import INTERNAL
from strongroom.store.nas.names import RESERVED

_PRIVATE = 0o077
_ELSEWHERE = re.compile(r"(?:^|/)https?:/|\{\w+\.{3}\w+\}")  # a URL, whose slashes Path has made one; MinIO's ellipses
_SHARED = "this is the folder of a gateway; it is served as that, each object a file of its own (docs/nas.md)"
_LEFT = "MinIO left objects here; they are served where they lie, with new ones beside them (docs/migrate.md)"
_OTHERS = (
    f"there are other files here, which are not served: objects are kept in {INTERNAL!r}, beside them; a folder of"
    " files is served by `strongroom gateway nas DIR` (docs/nas.md)"
)
_NO_OTHERS = {INTERNAL, "lost+found"}


def absolute(argument: str, directory: str) -> Path:
    """Where a directory is. Raises SettingError for an empty name (a variable that is not set), which is none."""
    if not directory:
        raise SettingError(argument, "it is empty", "/srv/objects")
    return Path(directory).absolute()


def recognised(target: Target) -> tuple[Target, Sequence[str]]:
    """The target as it has to be served, and what to tell of it. Raises SettingError where it cannot be."""
    if isinstance(target, RemoteS3):
        return target, []
    if isinstance(target, LocalDirectory):
        _refuse_several(target.path)
        _refuse_root(target.path)
    try:
        is_server, is_shared = (target.path / INTERNAL / "index.db").exists(), (target.path / RESERVED).is_dir()
    except OSError as error:
        raise SettingError("DIR", f"this user cannot look into {error.filename!r}: {error.strerror}") from None
    if is_server and (is_shared or isinstance(target, SharedFolder)):
        others = f"and {RESERVED!r}, of a gateway" if is_shared else "and is no shared folder"
        raise SettingError(
            "DIR",
            f"{str(target.path)!r} has {INTERNAL!r}, of a server, {others}: serve each from a directory of its own,"
            " or remove what is empty",
        )
    system = target.path / SYSTEM
    if not system.is_dir():
        if is_shared and isinstance(target, LocalDirectory):
            return SharedFolder(target.path, _PRIVATE), [_SHARED]
        new = isinstance(target, LocalDirectory) and not is_server
        return target, [_OTHERS] if new and _has_others(target.path) else []
    try:
        with (system / FORMAT).open("rb") as file:
            check_format(file.read(MAX_FORMAT))
    except FileNotFoundError:
        pass  # a NAS gateway of some releases left none
    except OSError as error:
        raise SettingError("DIR", f"cannot read {str(system / FORMAT)!r}: {error.strerror}") from None
    except NotCovered as error:
        raise SettingError("DIR", f"{str(target.path)!r} cannot be served: {error}") from None
    if isinstance(target, LocalDirectory):
        return SharedFolder(target.path, _PRIVATE), [_LEFT]
    return target, [_LEFT]


def _has_others(directory: Path) -> bool:
    """Whether a directory that is to become a server's has something of others in it."""
    with suppress(OSError), os.scandir(directory) as entries:
        return any(entry.name not in _NO_OTHERS for entry in entries)
    return False  # it will be made, or what is wrong with it be told


def _refuse_several(directory: Path) -> None:
    """Refuse URLs and several drives, which `minio server` takes: here, a directory of that name would be made. Raises
    SettingError.
    """
    if _ELSEWHERE.search(str(directory)) and not directory.exists():
        raise SettingError(
            "DIR",
            f"{str(directory)!r} does not name one directory of this machine; another S3 is served by"
            " `strongroom gateway s3 URL`, several drives are not (docs/migrate.md)",
            "/srv/objects",
        )


def _owner(path: Path) -> int | None:
    """Whose it is; None where it is not there. What cannot be read is told of where it is read."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _refuse_root(directory: Path) -> None:
    """Raises SettingError where root would leave files in a server's directory, or in one that is to become it, that
    the server's user cannot read.
    """
    if os.geteuid() != 0:
        return
    owner = _owner(directory / INTERNAL)
    if owner is None:
        owner = _owner(directory)
    if not owner:  # root's, or it is to be made
        return
    try:
        name = shown = pwd.getpwuid(owner).pw_name
    except KeyError:
        name, shown = f"'#{owner}'", f"the user with the id {owner}"
    raise SettingError(
        "DIR",
        f"{str(directory)!r} belongs to {shown}, who could not read what root writes there; run this as that user",
        f"sudo -u {name} strongroom …",
    )
