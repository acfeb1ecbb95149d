"""Objects as files: finding out what a file holds, giving drafts their names, removing. All under the locks of names.

Methods block: they are for threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from dataclasses import dataclass

from strongroom.store.base import (
    ENCRYPTED,
    FOUND,
    LEFT,
    Condition,
    ConditionFailed,
    Damaged,
    NameRefused,
    NoSuchObject,
    Record,
    Stored,
    StoreError,
)
from strongroom.store.nas.beside import BesideStore
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.folder import FILE, FOLDER, Folder, raise_for_taken, refusal, retried, status, sync
from strongroom.store.nas.layout import (
    IDENTITY,
    MARK,
    TAIL,
    LayoutInvalid,
    Segment,
    Trailer,
    decode_trailer,
    encode_trailer,
    trailer_length,
)
from strongroom.store.nas.left import Left
from strongroom.store.nas.names import Place, place_of
from strongroom.store.nas.probe import Traits

_END = 4096  # bytes that are read at the end of a file: mostly all of a record
_AGAIN = 64
_COARSE_NS = 2_000_000_000  # FAT keeps even seconds
_MAX_DEPTH = 600  # of folders: more than a key has room for
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds. ``whole``: all bytes of the file, where it is small. ``trailer``: where it is encrypted."""

    stored: Stored
    segments: tuple[Segment, ...]
    annex: bytes = b""
    trailer: Trailer | None = None
    whole: bytes | None = None


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
        self._left = left or Left(folder)  # unopened, it knows of nothing

    # -- finding ---------------------------------------------------------------------------------------------------

    @retried
    def open(self, bucket: str, key: str, small: int = 0) -> tuple[int, Found]:
        """Open an object: a descriptor, and what it holds, whole where it has up to ``small`` bytes.

        Raises NoSuchBucket, NoSuchObject, Damaged.
        """
        try:
            place = place_of(bucket, key)
        except NameRefused:
            with self._folder.bucket(bucket):
                raise NoSuchObject(f"{bucket}/{key}") from None
        with self._folder.walked(bucket, place.folders) as above:
            if above is None:
                raise NoSuchObject(place.name)
            return self.open_in(above, place, small)

    def open_in(self, above: int, place: Place, small: int = 0) -> tuple[int, Found]:
        """As :meth:`open`, in the open folder of the place."""
        for _ in range(_AGAIN):
            descriptor = _opened(above, place)
            try:
                found = self.describe(descriptor, place, small)
                if not self._lacks_document(found) or self._is_still(descriptor, above, place):
                    return descriptor, found
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
        raise StoreError(f"{place.name!r} is replaced too often")

    def describe(self, descriptor: int, place: Place, small: int = 0) -> Found:
        """What an open file holds. Raises NoSuchObject where it is no plain file, Damaged."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise NoSuchObject(place.name)
        beside = self._beside.find(descriptor, found, place)
        size, modified = found.st_size, found.st_mtime_ns
        start = os.pread(descriptor, size if size <= small else len(MARK), 0)
        whole = start if size <= small and len(start) == size else None
        document = None
        if beside is None:
            if start.startswith(MARK):
                trailer = self._trailer(descriptor, size, place, whole)
                stored = Stored(place.key, trailer.size, trailer.modified, trailer.record, trailer.identity.hex())
                return Found(stored, trailer.segments, trailer=trailer, whole=whole)
            document = self._left.document(place, start, size)
            if not document and self._left.exists:  # it may have been adopted since it was looked at
                beside = self._beside.find(descriptor, found, place)
        if beside is not None:
            stored = Stored(place.key, size, modified, beside.record, beside.identity.hex())
            return Found(stored, (Segment(0, size),), beside.annex, whole=whole)
        record = {FOUND: b""} if document is None else {LEFT: document}
        stored = Stored(place.key, size, modified, record, self._identity(found, document or b""))
        return Found(stored, (Segment(0, size),), whole=whole)

    def _lacks_document(self, found: Found) -> bool:
        """Whether an object may be one of MinIO's whose document ended when another took its place."""
        record = found.stored.record
        return self._left.exists and (FOUND in record or record.get(LEFT) == b"")

    def _is_still(self, descriptor: int, above: int, place: Place) -> bool:
        """Whether an open file has its name still, and is as it was. Raises NoSuchObject.

        The name is opened anew: that asks a NAS, which a look at its status may not.
        """
        again = _opened(above, place)
        try:
            return self._known(os.fstat(again)) == self._known(os.fstat(descriptor))
        finally:
            os.close(again)

    def _trailer(self, descriptor: int, size: int, place: Place, whole: bytes | None) -> Trailer:
        try:
            if whole is not None:
                return decode_trailer(whole, size, len(MARK))
            return read_trailer(descriptor, size, len(MARK))
        except LayoutInvalid as error:
            raise Damaged(f"{place.name!r}: {error}") from error

    def _identity(self, found: os.stat_result, document: bytes) -> str:
        """The identity of a file that others put there: its inode, size and times, and MinIO's document beside it."""
        known = "/".join(map(str, self._known(found)))
        return hashlib.sha256(known.encode() + document).hexdigest()[: 2 * IDENTITY]

    def _known(self, found: os.stat_result) -> list[int]:
        """What tells a file that others put there from another in its place."""
        known = [found.st_size, found.st_mtime_ns]
        if self._traits.inodes:
            known += [found.st_ino, found.st_ctime_ns]
        return known

    # -- placing ---------------------------------------------------------------------------------------------------

    def put(self, draft: Draft, new: NewObject, segments: tuple[Segment, ...]) -> Stored:
        """Make an object of a draft that holds all stored bytes. The draft is done with, whatever comes.

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
            if not new.encrypted:
                self._beside.forget(new.place, os.fstat(draft.descriptor))
            raise
        finally:
            draft.drop()

    @retried
    def check(self, place: Place, when: Condition) -> None:
        """See whether a condition holds now: :meth:`put` decides anew. Raises as it does."""
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
        """Write what belongs to the stored bytes, and make all durable; readable as ``mode`` says, None for as new."""
        identity = os.urandom(IDENTITY)
        size = sum(segment.length for segment in segments)
        if new.encrypted:
            modified = modified or time.time_ns()
            draft.append(encode_trailer(identity, modified, segments, new.record, new.annex))
        else:
            self._settle(draft, new.place)
            try:
                self._beside.keep(draft.descriptor, new.place, identity, new.record, new.annex)
            except OSError as error:
                raise refusal(error, new.place.key) from error
            modified = os.fstat(draft.descriptor).st_mtime_ns
        draft.finish(self._folder.file_mode if mode is None else mode)
        return Stored(new.place.key, size, modified, new.record, identity.hex())

    def _settle(self, draft: Draft, place: Place) -> None:
        """See that the file's time is what it stays, since what lies beside it is bound to it.

        Where times are coarse, it is set to one that no file has which others write from now on, nor the one that is
        there now, so that the two differ even if they are of one length. The lock of the name is held then.
        """
        if not self._traits.steady_times:
            sync(draft.descriptor)
        if not self._traits.fine_times:
            past = self._folder.now() // _COARSE_NS * _COARSE_NS - _COARSE_NS
            with self._folder.walked(place.bucket, place.folders) as above:
                old = status(above, place.leaf) if above is not None else None
            if old is not None and old.st_mtime_ns == past:
                past -= _COARSE_NS
            os.utime(draft.descriptor, ns=(past, past))

    def _place(self, draft: Draft, place: Place, when: Condition) -> None:
        """Give a finished draft its name. The lock of the name is held."""
        for _ in range(_AGAIN):
            try:
                with self._folder.made(place) as above:
                    old = self._clear(above, place, when)
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
                    continue  # the folder was removed meanwhile, being empty
                return  # it was there, and somebody removed it with its folder
            if old is not None and not self._traits.attributes:
                self._beside.forget(place, old)
            return
        raise StoreError(f"the folders of {place.name!r} come and go too often")

    def _clear(self, above: int, place: Place, when: Condition) -> os.stat_result | None:
        """See that the name may be written; the status of what has it now. Raises ConditionFailed, NameRefused."""
        found = status(above, place.leaf)
        if found is not None and stat.S_ISDIR(found.st_mode) and remove_empty(above, place.leaf):
            found = None
        if found is None:
            if when.identity is not None:
                raise ConditionFailed(place.name)
            return None
        if not stat.S_ISREG(found.st_mode):
            raise_for_taken(found, place)
        if when.absent or (when.identity is not None and self._identity_in(above, place) != when.identity):
            raise ConditionFailed(place.name)
        return found

    def _identity_in(self, above: int, place: Place) -> str | None:
        try:
            descriptor, found = self.open_in(above, place)
        except (NoSuchObject, Damaged):
            return None
        os.close(descriptor)
        return found.stored.identity

    # -- changing and removing -------------------------------------------------------------------------------------

    def copy(self, descriptor: int, source: Found, new: NewObject) -> Stored:
        """Put the bytes of an open file under a name. Raises as :meth:`put`."""
        if not _fits(new, source):
            raise StoreError(f"{new.place.name!r} cannot have the stored bytes of {source.stored.key!r}")
        draft = Draft(self._folder)
        try:
            segments = _clone(draft, descriptor, source, new.encrypted)
        except BaseException:
            draft.drop()
            raise
        return self.put(draft, new, segments)

    def rewrite(self, new: NewObject, keep_annex: bool) -> Stored:
        """Replace the record (and annex) of an object. Raises NoSuchBucket, NoSuchObject, ConditionFailed, Damaged."""
        with self._folder.locked(new.place.name):
            descriptor, found = self.open(new.place.bucket, new.place.key)
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
            identity = os.urandom(IDENTITY)
            self._beside.keep(descriptor, new.place, identity, new.record, new.annex)
            sync(descriptor)
            if LEFT not in new.record:
                self._left.forget(new.place)
            return Stored(old.key, old.size, old.modified, new.record, identity.hex())
        draft = Draft(self._folder)
        try:
            segments = _clone(draft, descriptor, found, new.encrypted)
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o666 | 0o600  # whoever could read it still can
            stored = self._finish(draft, new, segments, old.modified, mode)
            self._place(draft, new.place, Condition(identity=old.identity))
            self._left.forget(new.place)
            return stored
        finally:
            draft.drop()

    def remove(self, place: Place, when: Condition) -> bool:
        """Remove an object; True if there was one. Raises NoSuchBucket, ConditionFailed."""
        with self._folder.locked(place.name):
            found = self._remove(place, when)
        if found is None:
            return False
        if not self._traits.attributes:
            self._beside.forget(place, found)
        self._folder.prune(place)
        return True

    @retried
    def _remove(self, place: Place, when: Condition) -> os.stat_result | None:
        with self._folder.walked(place.bucket, place.folders) as above:
            found = status(above, place.leaf) if above is not None else None
            if above is None or found is None or not stat.S_ISREG(found.st_mode):
                if when.identity is not None:
                    raise ConditionFailed(place.name)
                return None
            if when.absent or (when.identity is not None and self._identity_in(above, place) != when.identity):
                raise ConditionFailed(place.name)
            try:
                os.unlink(place.leaf, dir_fd=above)
            except FileNotFoundError:
                return None
            sync(above)
        self._left.forget(place)
        return found


def _opened(above: int, place: Place) -> int:
    """A descriptor of what has the name of a place. Raises NoSuchObject."""
    try:
        return os.open(place.leaf, FILE, dir_fd=above)
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise NoSuchObject(place.name) from None
        raise


def read_trailer(descriptor: int, size: int, first: int) -> Trailer:
    """The trailer of an open file of ``size`` bytes. Raises LayoutInvalid."""
    length = min(size, _END)
    end = os.pread(descriptor, length, size - length)
    needed = trailer_length(end[-TAIL:])
    if needed > size:
        raise LayoutInvalid("the file is shorter than was recorded")
    if needed > length:
        end = os.pread(descriptor, needed, size - needed)
        if len(end) != needed:
            raise LayoutInvalid("the file is shorter than it was a moment ago")
    return decode_trailer(end, size, first)


def read_annex(descriptor: int, found: Found) -> bytes:
    """The annex of an object in an open file."""
    if found.trailer is None:
        return found.annex
    return os.pread(descriptor, found.trailer.annex_length, found.trailer.annex_at)


def remove_empty(above: int, name: bytes, depth: int = _MAX_DEPTH) -> bool:
    """Remove a folder if there is nothing in it but empty folders; whether it is gone."""
    if not depth:
        return False  # deeper than any key, so it is not ours
    try:
        descriptor = os.open(name, FOLDER, dir_fd=above)
    except FileNotFoundError:
        return True
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False) or not remove_empty(
                    descriptor, os.fsencode(entry.name), depth - 1
                ):
                    return False
    finally:
        os.close(descriptor)
    try:
        os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _fits(new: NewObject, source: Found) -> bool:
    """Whether a record can go with stored bytes: encrypted with encrypted, which those that MinIO left may be, too."""
    return new.encrypted == (source.trailer is not None) or (new.encrypted and LEFT in source.stored.record)


def _clone(draft: Draft, descriptor: int, source: Found, encrypted: bool) -> tuple[Segment, ...]:
    """Copy the stored bytes of an open file to the beginning of a draft; where they are in it."""
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
