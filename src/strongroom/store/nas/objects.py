"""Objects as files: giving drafts their names, changing records, removing. All this is done under the locks of names.

Methods block: they are for threads.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass

from strongroom.store.base import ENCRYPTED, FOUND, LEFT, Condition, Record, Stored
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchBucket, NoSuchObject, ObjectChanged, StoreError
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.finding import Finder, Found, read_annex
from strongroom.store.nas.folder import (
    NO_NAME,
    Folder,
    raise_for_taken,
    refusal,
    remove_empty,
    retried,
    status,
    sync,
    tries,
)
from strongroom.store.nas.layout import IDENTITY, MARK, Segment, encode_trailer
from strongroom.store.nas.left import Left
from strongroom.store.nas.names import Place
from strongroom.store.nas.probe import Traits

_COARSE_NS = 2_000_000_000  # FAT stores times in steps of two seconds


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be put: where, with which record, on which condition."""

    place: Place
    record: Record
    annex: bytes
    when: Condition

    @property
    def encrypted(self) -> bool:
        """Whether it is encrypted."""
        return ENCRYPTED in self.record


class Objects:
    """The objects of a folder."""

    def __init__(self, folder: Folder, traits: Traits, beside: BesideStore, left: Left | None = None) -> None:
        self._folder = folder
        self._traits = traits
        self._beside = beside
        self._left = left or Left(folder)  # as long as it is not opened, it finds nothing
        self.finder = Finder(folder, traits, beside, self._left)
        """Finds them."""

    # -- placing ---------------------------------------------------------------------------------------------------

    def put(self, draft: Draft, new: NewObject, segments: tuple[Segment, ...]) -> Stored:
        """Make an object of a draft that holds all stored bytes. In any case, the draft cannot be used afterwards.

        Raises NoSuchBucket, NameRefused, ConditionFailed, StoreFull.
        """
        alone = not new.encrypted and not self._traits.fine_times  # for _settle
        try:
            stored = None if alone else self._finish(draft, new, segments, 0)
            with self._folder.locked(new.place.name):
                stored = stored or self._finish(draft, new, segments, 0)
                self._place(draft, new.place, new.when)
                self._left.forget(new.place)
            return stored
        except BaseException:
            if not new.encrypted and draft.waits:  # an object that is visible, if not durable yet, keeps its record
                self._beside.forget(new.place, os.fstat(draft.descriptor))
            raise
        finally:
            draft.drop()

    @retried
    def check(self, place: Place, when: Condition) -> None:
        """Check early whether a condition is met: :meth:`put` decides anew. Raises the same errors."""
        try:
            self._check(place, when)
        except OSError as error:
            raise refusal(error, place.key) from error

    def _check(self, place: Place, when: Condition) -> None:
        with self._folder.walked(place.bucket, place.folders) as above:
            if above is not None:
                self._clear(above, place, when)
                return
        for length in range(len(place.folders)):
            with self._folder.walked(place.bucket, place.folders[:length]) as above:
                found = status(above, place.folders[length]) if above is not None else None
            if found is not None and not stat.S_ISDIR(found.st_mode):
                raise_for_taken(found, place)
        if when.identity is not None:
            raise ConditionFailed(place.name)

    def _finish(
        self, draft: Draft, new: NewObject, segments: tuple[Segment, ...], modified: int, mode: int | None = None
    ) -> Stored:
        """Write what belongs to the stored bytes, and make all durable. ``mode``: the file's; None for a new object."""
        identity = os.urandom(IDENTITY)
        size = sum(segment.length for segment in segments)
        if new.encrypted:
            modified = modified or time.time_ns()
            draft.append(encode_trailer(identity, modified, segments, new.record, new.annex))
        else:
            self._settle(draft, new.place)
            try:
                found = os.fstat(draft.descriptor)
                self._beside.keep(draft.descriptor, found, new.place, identity, new.record, new.annex)
            except OSError as error:
                raise refusal(error, new.place.key) from error
            modified = os.fstat(draft.descriptor).st_mtime_ns
        draft.finish(self._folder.file_mode if mode is None else mode)
        return Stored(new.place.key, size, modified, new.record, identity.hex())

    def _settle(self, draft: Draft, place: Place) -> None:
        """Make sure that the file's time does not change any more, since what lies beside it is bound to it.

        If times are coarse, it is set to a time that no file gets which others write from now on, and that the present
        file of this name does not have, so that the two differ even if they have the same length. The lock of the name
        is held then.
        """
        if not self._traits.steady_times:
            sync(draft.descriptor)
            # When a file that was written is closed, an SMB server changes its time, unless somebody has set it.
            now = os.fstat(draft.descriptor).st_mtime_ns
            os.utime(draft.descriptor, ns=(now, now))
        if not self._traits.fine_times:
            past = self._folder.now() // _COARSE_NS * _COARSE_NS - _COARSE_NS
            with self._folder.walked(place.bucket, place.folders) as above:
                old = status(above, place.leaf) if above is not None else None
            if old is not None and old.st_mtime_ns == past:
                past -= _COARSE_NS
            os.utime(draft.descriptor, ns=(past, past))

    def _place(self, draft: Draft, place: Place, when: Condition, group: int | None = None) -> None:
        """Give a finished draft its name, and the group ``group`` (None: that which new files in the folder get). The
        lock is held.
        """
        for _ in tries():
            try:
                with self._folder.made(place) as above:
                    old = self._clear(above, place, when)
                    folder = os.fstat(above)
                    if group is not None or folder.st_mode & stat.S_ISGID:  # the draft was made in the reserved folder
                        draft.hand_over(folder.st_gid if group is None else group)
                    if when.absent and self._traits.links:
                        draft.link(above, place.leaf)
                    else:
                        draft.rename(above, place.leaf)
                    sync(above)
            except FileExistsError:
                raise ConditionFailed(place.name) from None
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise refusal(error, place.key) from error
                if not draft.named:
                    continue  # the folder was removed meanwhile because it was empty
                return  # the object was there, and somebody has removed it with its folder
            if old is not None:
                self._beside.forget(place, old)  # it may say in plaintext what the new object keeps sealed
            return
        raise StoreError(f"the folders of {place.name!r} come and go too often")

    def _clear(self, above: int, place: Place, when: Condition) -> os.stat_result | None:
        """Check that the name may be written. Returns the status of what has it now. Raises ConditionFailed,
        NameRefused.
        """
        found = status(above, place.leaf)
        if found is not None and stat.S_ISDIR(found.st_mode) and remove_empty(above, place.leaf):
            found = None
        if found is None:
            if when.identity is not None:
                raise ConditionFailed(place.name)
            return None
        if not stat.S_ISREG(found.st_mode):
            raise_for_taken(found, place)
        if when.absent or (when.identity is not None and self.finder.identity_in(above, place) != when.identity):
            raise ConditionFailed(place.name)
        return found

    # -- changing and removing -------------------------------------------------------------------------------------

    def copy(self, descriptor: int, source: Found, new: NewObject) -> Stored:
        """Put the bytes of an open file under a name. Raises as :meth:`put`; ObjectChanged if they are no longer those
        that their record describes; Damaged.
        """
        if not _fits(new, source):
            raise StoreError(f"{new.place.name!r} cannot have the stored bytes of {source.stored.key!r}")
        draft = Draft(self._folder)
        try:
            segments = _clone(draft, descriptor, source, new.encrypted)
            if not new.encrypted and FOUND not in source.stored.record and _is_written(os.fstat(descriptor), source):
                raise ObjectChanged(f"others wrote into {source.stored.key!r} while it was copied")
        except BaseException:
            draft.drop()
            raise
        return self.put(draft, new, segments)

    def rewrite(self, new: NewObject, keep_annex: bool) -> Stored:
        """Replace the record (and annex) of an object. Raises NoSuchBucket, NoSuchObject, ConditionFailed, Damaged."""
        with self._folder.locked(new.place.name):
            descriptor, found = self.finder.open(new.place.bucket, new.place.key)
            try:
                if new.when.absent or new.when.identity not in (None, found.stored.identity):
                    raise ConditionFailed(new.place.name)
                annex = read_annex(descriptor, found) if keep_annex else new.annex
                return self._rewrite(descriptor, found, NewObject(new.place, new.record, annex, new.when))
            finally:
                os.close(descriptor)

    def _rewrite(self, descriptor: int, found: Found, new: NewObject) -> Stored:
        old = found.stored
        if not _fits(new, found):
            raise StoreError(f"{new.place.name!r} cannot have a record of the other kind")
        if not new.encrypted:
            identity, here = os.urandom(IDENTITY), os.fstat(descriptor)
            if _is_written(here, found):
                raise ConditionFailed(new.place.name)
            self._beside.keep(descriptor, here, new.place, identity, new.record, new.annex)
            sync(descriptor)
            if LEFT not in new.record:
                self._left.forget(new.place)
            return Stored(old.key, old.size, old.modified, new.record, identity.hex())
        draft = Draft(self._folder)
        try:
            segments = _clone(draft, descriptor, found, new.encrypted)
            here = os.fstat(descriptor)
            mode = stat.S_IMODE(here.st_mode) & 0o666 | 0o600  # those who could read the object still can
            stored = self._finish(draft, new, segments, old.modified, mode)
            self._place(draft, new.place, Condition(identity=old.identity), here.st_gid)
            self._left.forget(new.place)
            return stored
        finally:
            draft.drop()

    def remove(self, place: Place, when: Condition) -> bool:
        """Remove an object; True if there was one. Raises NoSuchBucket, ConditionFailed."""
        with self._folder.locked(place.name):
            found = self._remove(place, when)
            if found is not None:
                self._beside.forget(place, found)  # otherwise the next file of this name might get it
        if found is None:
            return False
        self._folder.prune(place)
        return True

    @retried
    def _remove(self, place: Place, when: Condition) -> os.stat_result | None:
        with self._folder.walked(place.bucket, place.folders) as above:
            found = _at(above, place) if above is not None else None
            if above is None or found is None or not stat.S_ISREG(found.st_mode):
                if when.identity is not None:
                    raise ConditionFailed(place.name)
                return None
            if when.absent or (when.identity is not None and self.finder.identity_in(above, place) != when.identity):
                raise ConditionFailed(place.name)
            try:
                os.unlink(place.leaf, dir_fd=above)
            except FileNotFoundError:
                return None
            sync(above)
        self._left.forget(place)
        return found

    def tidy(self, bucket: str) -> None:
        """Remove MinIO's documents beside objects of ours, which a process that was killed left there: if others put a
        file in the place of such an object, it would be taken for MinIO's.
        """
        for place in self._left.places(bucket):
            with self._folder.locked(place.name), suppress(NoSuchBucket, NoSuchObject, Damaged):
                descriptor, found = self.finder.open(bucket, place.key)
                os.close(descriptor)
                if LEFT not in found.stored.record:
                    self._left.forget(place)


def _at(above: int, place: Place) -> os.stat_result | None:
    """The status of what has the name of a place; None if there is nothing, or the file system cannot hold the name."""
    try:
        return status(above, place.leaf)
    except OSError as error:
        if error.errno in NO_NAME:
            return None
        raise


def _is_written(here: os.stat_result, found: Found) -> bool:
    """Whether others have written into the open file of a plain object since it was found."""
    return (here.st_size, here.st_mtime_ns) != (found.stored.size, found.stored.modified)


def _fits(new: NewObject, source: Found) -> bool:
    """Whether a record can go with stored bytes: one of an encrypted object with encrypted bytes (those that MinIO left
    may be encrypted, too), one of a plain object with plain bytes.
    """
    return new.encrypted == (source.trailer is not None) or (new.encrypted and LEFT in source.stored.record)


def _clone(draft: Draft, descriptor: int, source: Found, encrypted: bool) -> tuple[Segment, ...]:
    """Copy the stored bytes of an open file to the beginning of a draft. Returns where they are in it."""
    if encrypted and source.trailer is None:
        draft.append(MARK)  # MinIO's files have none
        draft.align()
        at = draft.position
        draft.clone(descriptor, 0, source.stored.size)
        return (Segment(at, source.stored.size),)
    draft.clone(descriptor, 0, _end(source))
    return source.segments


def _end(found: Found) -> int:
    return max((segment.offset + segment.length for segment in found.segments), default=len(MARK))
