"""Recognises what is in a directory that is to be served: what a MinIO left there is served in MinIO's layout."""

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
from strongroom.store.reserved import INTERNAL, RESERVED

_PRIVATE = 0o077
_ELSEWHERE = re.compile(r"(?:^|/)https?:/|\{\w+\.{3}\w+\}")  # a URL, whose "//" Path has made "/"; MinIO's ellipses
_SHARED = "this is the folder of a gateway; it is served as that, each object a file of its own (docs/nas.md)"
_LEFT = "MinIO left objects here; they are served where they lie, with new ones beside them (docs/migrate.md)"
_OTHERS = (
    f"there are other files here, which are not served: objects are kept in {INTERNAL!r}, beside them; a folder of"
    " files is served by `strongroom gateway nas DIR` (docs/nas.md)"
)
_NO_OTHERS = {INTERNAL, "lost+found"}
_OWN = {INTERNAL, RESERVED, SYSTEM}


def absolute(argument: str, directory: str) -> Path:
    """The absolute path of a directory. Raises SettingError for an empty name (from a variable that is not set)."""
    if not directory:
        raise SettingError(argument, "it is empty", "/srv/objects")
    return Path(directory).absolute()


def recognised(target: Target) -> tuple[Target, Sequence[str]]:
    """The target as it has to be served, and notes about it for people. Raises SettingError if it cannot be served."""
    if isinstance(target, RemoteS3):
        return target, []
    if target.path.name in _OWN:
        raise SettingError("DIR", f"name the directory that {str(target.path)!r} lies in, not that itself")
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
        pass  # NAS gateways of some releases left none
    except OSError as error:
        raise SettingError("DIR", f"cannot read {str(system / FORMAT)!r}: {error.strerror}") from None
    except NotCovered as error:
        raise SettingError("DIR", f"{str(target.path)!r} cannot be served: {error}") from None
    if isinstance(target, LocalDirectory):
        return SharedFolder(target.path, _PRIVATE), [_LEFT]
    return target, [_LEFT]


def _has_others(directory: Path) -> bool:
    """Whether a directory that is to become a server's holds other files."""
    with suppress(OSError), os.scandir(directory) as entries:
        return any(entry.name not in _NO_OTHERS for entry in entries)
    return False  # not there, or not readable: it will be made, or refused, later


def _refuse_several(directory: Path) -> None:
    """Refuse URLs and several drives, which `minio server` accepts; otherwise a directory of that name would be made.
    Raises SettingError.
    """
    if _ELSEWHERE.search(str(directory)) and not directory.exists():
        raise SettingError(
            "DIR",
            f"{str(directory)!r} does not name one directory of this machine; another S3 is served by"
            " `strongroom gateway s3 URL`, several drives are not (docs/migrate.md)",
            "/srv/objects",
        )


def _owner(path: Path) -> int | None:
    """The id of the owner; None if the path is not there, or cannot be looked at, which is reported later."""
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _refuse_root(directory: Path) -> None:
    """Raises SettingError if root would leave files that the server's user cannot read, in a server's directory or in
    one that is to become it.
    """
    if os.geteuid() != 0:
        return
    owner = _owner(directory / INTERNAL)
    if owner is None:
        owner = _owner(directory)
    if not owner:  # it is root's, or is still to be made
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
