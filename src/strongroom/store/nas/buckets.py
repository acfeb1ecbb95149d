"""Buckets: folders of the shared folder, with their settings in the reserved one.

Methods block: they are for threads.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from strongroom.store.base import Bucket
from strongroom.store.errors import BucketExists, BucketNotEmpty, Damaged, NameRefused, NoSuchBucket
from strongroom.store.mapping import encode_mapping
from strongroom.store.nas.beside import open_own, write_whole
from strongroom.store.nas.folder import Folder, names_in, opened_below, remove_empty, remove_moved, sync
from strongroom.store.nas.layout import LayoutInvalid, decode_record
from strongroom.store.nas.names import is_bucket_name
from strongroom.store.nas.uploads import end
from strongroom.store.nas.walk import closed_below

_CREATED = "created"
_SETTING = "setting:"
_MAX = 1024 * 1024


class Buckets:
    """The buckets of a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def get(self, name: str) -> Bucket:
        """The bucket of this name. Raises NoSuchBucket, Damaged."""
        with self._folder.bucket(name) as descriptor:
            return self._described(name, descriptor)

    def _described(self, name: str, descriptor: int) -> Bucket:
        kept = self._kept(name)
        created = kept.get(_CREATED)
        try:
            # If others made the folder, there is no portable way to learn when.
            moment = int(created) if created else os.fstat(descriptor).st_mtime_ns
        except ValueError as error:
            raise Damaged(f"the settings of the bucket {name!r} are damaged: {error}") from error
        settings = {key.removeprefix(_SETTING): value for key, value in kept.items() if key.startswith(_SETTING)}
        return Bucket(name, moment, settings)

    def all(self) -> list[Bucket]:
        """All buckets, by name. Settings that cannot be read are left out here: :meth:`get` says what is wrong."""
        names = [name for name in names_in(self._folder.root) if is_bucket_name(name)]
        found = []
        for name in sorted(names):
            # Passed over: a file, a link, a bucket that is gone by now, or one that is closed to us.
            with suppress(NoSuchBucket, PermissionError), self._folder.bucket(name) as descriptor:
                try:
                    found.append(self._described(name, descriptor))
                except (OSError, Damaged):
                    found.append(Bucket(name, os.fstat(descriptor).st_mtime_ns))
        return found

    def closed(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """The folders that are closed to us in these buckets (in all buckets if none is named): for each, the bucket
        and what the keys in it begin with. No listing shows what lies there.
        """
        found = []
        for name in names or [name for name in sorted(names_in(self._folder.root)) if is_bucket_name(name)]:
            try:
                with suppress(NoSuchBucket), self._folder.bucket(name) as descriptor:
                    found += [(name, prefix.decode()) for prefix in closed_below(descriptor, b"")]
            except PermissionError:
                found.append((name, ""))
        return found

    def create(self, name: str) -> Bucket:
        """Make a bucket. Raises BucketExists, NameRefused."""
        if not is_bucket_name(name):
            raise NameRefused(f"{name!r} cannot be the name of a bucket here")
        with self._folder.locked(f"{name}/"):
            left = self._uploads_of(name)
            created = time.time_ns()
            # First of all, since this asks the NAS; a look whether the folder exists may be answered from NFS's cache.
            try:
                self._folder.make_bucket(name)
            except FileExistsError:
                raise BucketExists(name) from None
            try:
                self._keep(name, {_CREATED: str(created).encode()})  # replaces those of a bucket that others removed
            except BaseException:
                with suppress(OSError):
                    os.rmdir(name, dir_fd=self._folder.root)  # without its settings (no space, say) it must not stay
                raise
            for upload in left:
                end(self._folder, name, upload)
        return Bucket(name, created)

    def _uploads_of(self, name: str) -> list[str]:
        """The ids of the open uploads of a bucket, even of one that is gone."""
        with opened_below(self._folder.area("uploads"), name.encode()) as above:
            return [] if above is None else names_in(above)

    def set(self, name: str, setting: str, document: bytes | None) -> None:
        """Store or remove a setting. Raises NoSuchBucket."""
        with self._folder.locked(f"{name}/"), self._folder.bucket(name):
            kept = {**self._kept(name)}
            kept.pop(_SETTING + setting, None)
            if document is not None:
                kept[_SETTING + setting] = document
            self._keep(name, kept)

    def leave(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting unless there is one. Returns the one that is stored now. Raises NoSuchBucket."""
        with self._folder.locked(f"{name}/"), self._folder.bucket(name):
            kept = self._kept(name)
            found = kept.get(_SETTING + setting)
            if found is None:
                self._keep(name, {**kept, _SETTING + setting: document})
        return document if found is None else found

    def delete(self, name: str) -> None:
        """Remove a bucket that holds nothing but empty folders, with its open uploads. Raises as
        Store.delete_bucket.
        """
        with self._folder.locked(f"{name}/"):
            with self._folder.bucket(name):
                pass
            if not remove_empty(self._folder.root, name.encode()):
                raise BucketNotEmpty(name)
            sync(self._folder.root)
            self._forget(name)

    def _kept(self, name: str) -> Mapping[str, bytes]:
        try:
            descriptor = open_own(self._folder.area("buckets"), name)
        except FileNotFoundError:
            return {}
        except Damaged as error:
            raise Damaged(f"the settings of the bucket are damaged: {error}") from None
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(_MAX)
        try:
            return decode_record(content)
        except LayoutInvalid as error:
            raise Damaged(f"the settings of the bucket {name!r} are damaged: {error}") from error

    def _keep(self, name: str, kept: Mapping[str, bytes]) -> None:
        write_whole(self._folder, self._folder.area("buckets"), name, encode_mapping(kept))

    def _forget(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._folder.area("buckets"))
        gone, tmp = secrets.token_hex(16), self._folder.area("tmp")
        with suppress(FileNotFoundError):
            os.rename(name, gone, src_dir_fd=self._folder.area("uploads"), dst_dir_fd=tmp)
            remove_moved(tmp, gone)
