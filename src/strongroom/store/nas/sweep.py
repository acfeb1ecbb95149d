"""The sweep: removes what gateways that were killed, and clients that went away, left in the reserved folder.

It removes only what nobody has used for ``age``, by the clock of the folder itself; a gateway that writes to an upload
or a file touches it regularly. One gateway sweeps at a time. Methods block: they are for threads.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress

from strongroom.store.errors import StoreError
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.folder import Folder, names_in, open_below, opened_below, remove_tree, status
from strongroom.store.nas.layout import LayoutUnknown
from strongroom.store.nas.left import Left
from strongroom.store.nas.names import place_of
from strongroom.store.nas.uploads import Uploads

_log = logging.getLogger("strongroom.store")

_SHARDS = 256
_HOUR_NS = 3_600_000_000_000


class Sweep:
    """Sweeps a folder. ``age`` is in seconds."""

    def __init__(self, folder: Folder, uploads: Uploads, beside: BesideStore, left: Left, age: int) -> None:
        self._folder = folder
        self._uploads = uploads
        self._beside = beside
        self._left = left
        self._age = age * 1_000_000_000

    def run(self) -> None:
        """Sweep once, unless another gateway is sweeping. What cannot be removed is left for the next time."""
        try:
            with self._folder.locked_if_free("sweep") as free:
                gone = self._sweep(self._folder.now()) if free else 0
        except Exception as error:  # whatever it is, the next sweep may pass
            foreseen = isinstance(error, (OSError, StoreError))
            _log.warning("the sweep of %s stopped early: %s", self._folder.path, error, exc_info=not foreseen)
            return
        if gone:
            _log.info("swept %d unfinished files and uploads from %s", gone, self._folder.path)

    def _sweep(self, now: int) -> int:
        since = now - self._age
        gone = self._drafts(since) + self._idle_uploads(since) + self._left.sweep(since)
        self._sidecars(now, f"{now // _HOUR_NS % _SHARDS:02x}")
        return gone

    def _drafts(self, since: int) -> int:
        area, gone = self._folder.area("tmp"), 0
        for name in names_in(area):
            found = status(area, os.fsencode(name))
            if found is None or found.st_mtime_ns >= since:
                continue
            try:
                if stat.S_ISDIR(found.st_mode):
                    remove_tree(area, name)
                else:
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=area)
            except OSError as error:
                _log.warning("%s cannot be swept from %s yet: %s", name, self._folder.path, error)
                continue
            gone += 1
        return gone

    def _idle_uploads(self, since: int) -> int:
        gone, area = 0, self._folder.area("uploads")
        for bucket in names_in(area):
            with opened_below(area, os.fsencode(bucket)) as descriptor:
                uploads = [] if descriptor is None else names_in(descriptor)
            gone += sum(self._uploads.end_if_idle(bucket, upload, since) for upload in uploads)
        return gone

    def _sidecars(self, now: int, shard: str) -> None:
        """Remove the sidecars of files that are gone from one shard: another each hour, so all within eleven days."""
        area = self._folder.area("beside")
        descriptor = open_below(area, shard.encode())
        if descriptor is None:
            return
        try:
            for name in names_in(descriptor):
                found = status(descriptor, os.fsencode(name))
                if found is None or found.st_mtime_ns >= now - self._age:
                    continue  # its file may not have been placed yet
                if self._is_void(f"{shard}/{name}"):
                    with suppress(FileNotFoundError):
                        os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def _is_void(self, name: str) -> bool:
        try:
            beside = self._beside.read_sidecar(name)
        except LayoutUnknown:
            return False  # it is a later release's
        if beside is None:
            return True
        bucket, _, key = beside.name.partition("/")
        try:
            place = place_of(bucket, key)
            with self._folder.walked(bucket, place.folders) as above:
                return self._beside.is_void(beside, None if above is None else status(above, place.leaf))
        except StoreError:
            return True
        except PermissionError:
            return False  # a folder on the way is closed to us, so the file may be there
