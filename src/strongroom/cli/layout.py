"""Recognising what lies in a directory that is to be served: what a MinIO left there is served in its own layout."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.config import LocalDirectory, RemoteS3, SettingError, SharedFolder, Target
from strongroom.legacy.errors import NotCovered
from strongroom.legacy.layout import FORMAT, MAX_FORMAT, SYSTEM, check_format

_PRIVATE = 0o077
_LEFT = "MinIO left objects here; they are served where they lie, with new ones beside them (docs/migrate.md)"


def recognised(target: Target) -> tuple[Target, Sequence[str]]:
    """The target as it has to be served, and what to tell of it. Raises SettingError where it cannot be."""
    if isinstance(target, RemoteS3):
        return target, []
    system = target.path / SYSTEM
    if not system.is_dir():
        return target, []
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
