"""Open multipart uploads: each has a folder in the reserved one, with a file for the upload and one for each part.

A part's file holds its stored bytes, padded to the alignment, and a trailer. Completion puts the parts into one draft,
sharing their blocks if the file system can, else copying in the kernel. Methods block: they are for threads.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from strongroom.store.base import ALWAYS, Part, PartPage, Record, Stored, Upload
from strongroom.store.errors import Damaged, NoSuchBucket, NoSuchUpload, PartChanged
from strongroom.store.mapping import encode_mapping
from strongroom.store.nas.beside import open_own, write_whole
from strongroom.store.nas.drafts import Draft
from strongroom.store.nas.finding import read_trailer
from strongroom.store.nas.folder import Folder, names_in, open_below, opened_below, refusal, remove_moved, sync
from strongroom.store.nas.layout import (
    MARK,
    LayoutInvalid,
    Segment,
    Trailer,
    aligned,
    decode_record,
    encode_trailer,
)
from strongroom.store.nas.names import Place, is_bucket_name
from strongroom.store.nas.objects import NewObject, Objects
from strongroom.store.paging import order_of

UPLOAD = "upload"
_KEY, _STARTED, _RECORD = "key", "started", "record"
_MAX = 2 * 1024 * 1024
_ID_LENGTH = 32


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An open upload, as the writer of a part needs it."""

    folder: Folder
    bucket: str
    upload_id: str

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The descriptor of its folder. Raises NoSuchUpload."""
        descriptor = _open(self.folder, self.bucket, self.upload_id)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def touch(self) -> None:
        """Mark it as in use, for the sweep."""
        with suppress(NoSuchUpload), self.opened() as descriptor:
            os.utime(descriptor)

    def put_part(self, draft: Draft, number: int, size: int, record: Record, identity: bytes, modified: int) -> Part:
        """Make a part of a draft with its stored bytes, which cannot be used afterwards. Raises NoSuchUpload,
        StoreFull.
        """
        try:
            draft.align()
            draft.append(encode_trailer(identity, modified, [Segment(0, size)], record))
            draft.finish(0o600)
            with self.opened() as descriptor:
                try:
                    draft.rename(descriptor, _part_name(number))
                except FileNotFoundError:
                    raise NoSuchUpload(self.upload_id) from None
                except OSError as error:
                    raise refusal(error, self.upload_id) from error
                sync(descriptor)
        finally:
            draft.drop()
        return Part(number, size, modified, record, identity.hex())


class Uploads:
    """The open uploads of a folder."""

    def __init__(self, folder: Folder, objects: Objects) -> None:
        self._folder = folder
        self._objects = objects

    def create(self, place: Place, record: Record, token: bytes) -> Upload:
        """Open an upload, durably. Raises NoSuchBucket, NameRefused, StoreFull."""
        upload = Upload(place.key, token.hex(), time.time_ns(), record)
        content = {
            _KEY: place.key.encode(),
            _STARTED: str(upload.started).encode(),
            _RECORD: encode_mapping(record),
        }
        with self._folder.bucket(place.bucket):
            self._objects.check(place, ALWAYS)  # the name is refused now, not when all parts are there
            area = self._folder.area("uploads")
            try:
                with suppress(FileExistsError):
                    os.mkdir(place.bucket, 0o700, dir_fd=area)
                    sync(area)
                with _folder_in(area, place.bucket) as bucket:
                    os.mkdir(upload.upload_id, 0o700, dir_fd=bucket)
                    with _folder_in(bucket, upload.upload_id) as made:
                        write_whole(self._folder, made, UPLOAD, encode_mapping(content))
                    sync(bucket)
            except FileNotFoundError:
                raise NoSuchBucket(place.bucket) from None  # it was deleted meanwhile, with its uploads
            except OSError as error:
                raise refusal(error, place.key) from error
        return upload

    def get(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload. Raises NoSuchBucket, NoSuchUpload."""
        with self._folder.bucket(bucket), OpenUpload(self._folder, bucket, upload_id).opened() as descriptor:
            upload = _read(descriptor, upload_id)
        if upload is None or upload.key != key:
            raise NoSuchUpload(upload_id)
        return upload

    def all(self, bucket: str) -> list[Upload]:
        """All open uploads of a bucket, by key, time and id, except damaged ones: their keys are not known. Raises
        NoSuchBucket.
        """
        return sorted((found for found in self._each(bucket) if isinstance(found, Upload)), key=order_of)

    def damaged(self, bucket: str) -> list[str]:
        """What is wrong with the open uploads of a bucket that are damaged. Raises NoSuchBucket."""
        return sorted(str(found) for found in self._each(bucket) if isinstance(found, Damaged))

    def _each(self, bucket: str) -> Iterator[Upload | Damaged]:
        with self._folder.bucket(bucket):
            above = open_below(self._folder.area("uploads"), bucket.encode())
        if above is None:
            return
        try:
            for name in names_in(above):
                descriptor = open_below(above, os.fsencode(name))
                if descriptor is None:
                    continue
                try:
                    upload = _read(descriptor, name)
                except Damaged as error:
                    yield error
                else:
                    if upload is not None:
                        yield upload
                finally:
                    os.close(descriptor)
        finally:
            os.close(above)

    def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """One page of parts. Raises NoSuchBucket, NoSuchUpload."""
        with self._folder.bucket(bucket), OpenUpload(self._folder, bucket, upload_id).opened() as descriptor:
            with os.scandir(descriptor) as entries:
                numbers = sorted(int(entry.name) for entry in entries if entry.name.isdecimal())
            wanted = [number for number in numbers if number > after]
            page = []
            for number in wanted[:limit]:
                with suppress(PartChanged), _part(descriptor, number) as (_, trailer):
                    page.append(Part(number, trailer.size, trailer.modified, trailer.record, trailer.identity.hex()))
        self.get(bucket, key, upload_id)  # last: what ended it takes the parts with it
        return PartPage(page, wanted[limit - 1] if limit and len(wanted) > limit else None)

    def complete(self, new: NewObject, upload_id: str, parts: Sequence[Part]) -> Stored:
        """Make one object of parts, and end the upload. Raises as Store.complete."""
        bucket = new.place.bucket
        with self._folder.locked(_lock_name(bucket, upload_id)):
            self.get(bucket, new.place.key, upload_id)
            self._objects.check(new.place, new.when)  # also before the work, not only after it
            with OpenUpload(self._folder, bucket, upload_id).opened() as descriptor:
                os.utime(descriptor)
                draft, segments = self._assemble(descriptor, new, parts)
            stored = self._objects.put(draft, new, segments)
            end(self._folder, bucket, upload_id)
        return stored

    def _assemble(self, descriptor: int, new: NewObject, parts: Sequence[Part]) -> tuple[Draft, tuple[Segment, ...]]:
        draft, segments = Draft(self._folder), []
        try:
            if new.encrypted:
                draft.append(MARK)
            for part in parts:
                with _part(descriptor, part.number) as (source, trailer):
                    if trailer.identity.hex() != part.identity:
                        raise PartChanged(f"part {part.number}")
                    if new.encrypted:
                        draft.align()
                    segments.append(Segment(draft.position, trailer.size))
                    _append(draft, source, trailer.size)
            draft.cut()
        except BaseException:
            draft.drop()
            raise
        return draft, tuple(segments)

    def abort(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload. Raises NoSuchBucket, NoSuchUpload."""
        with self._folder.locked(_lock_name(bucket, upload_id)):
            self.get(bucket, key, upload_id)
            end(self._folder, bucket, upload_id)

    def end_if_idle(self, bucket: str, upload_id: str, since: int) -> bool:
        """End an upload that nobody has used ``since`` (nanoseconds) and nobody uses now. Returns whether it ended."""
        with self._folder.locked_if_free(_lock_name(bucket, upload_id)) as free:
            if not free:
                return False
            try:
                with OpenUpload(self._folder, bucket, upload_id).opened() as descriptor:
                    if os.fstat(descriptor).st_mtime_ns >= since:
                        return False
            except NoSuchUpload:
                return False
            end(self._folder, bucket, upload_id)
        return True


def end(folder: Folder, bucket: str, upload_id: str) -> None:
    """Remove an upload with its parts: the upload is gone at once, its files are removed after that."""
    gone, tmp = secrets.token_hex(16), folder.area("tmp")
    with suppress(FileNotFoundError), _folder_in(folder.area("uploads"), bucket) as above:
        os.rename(upload_id, gone, src_dir_fd=above, dst_dir_fd=tmp)
        sync(above)
        remove_moved(tmp, gone)


@contextmanager
def _folder_in(above: int, name: str) -> Iterator[int]:
    """The descriptor of a folder of ours. Raises FileNotFoundError, also if a link or a file has its name."""
    with opened_below(above, name.encode()) as descriptor:
        if descriptor is None:
            raise FileNotFoundError(name)
        yield descriptor


def _open(folder: Folder, bucket: str, upload_id: str) -> int:
    if not is_bucket_name(bucket) or len(upload_id) != _ID_LENGTH or not upload_id.isalnum() or not upload_id.isascii():
        raise NoSuchUpload(upload_id[:64])
    with opened_below(folder.area("uploads"), bucket.encode()) as above:
        descriptor = None if above is None else open_below(above, upload_id.encode())
    if descriptor is None:
        raise NoSuchUpload(upload_id)
    return descriptor


def _read(descriptor: int, upload_id: str) -> Upload | None:
    """The upload of an open folder; None if it is being made or removed."""
    try:
        opened = open_own(descriptor, UPLOAD)
    except FileNotFoundError:
        return None
    except Damaged as error:
        raise Damaged(f"the upload {upload_id} is damaged: {error}") from None
    with os.fdopen(opened, "rb") as file:
        content = file.read(_MAX)
    try:
        kept = decode_record(content)
        return Upload(kept[_KEY].decode(), upload_id, int(kept[_STARTED]), decode_record(kept[_RECORD]))
    except (LayoutInvalid, KeyError, ValueError) as error:
        raise Damaged(f"the upload {upload_id} is damaged") from error


def _part_name(number: int) -> str:
    return f"{number:05d}"


@contextmanager
def _part(above: int, number: int) -> Iterator[tuple[int, Trailer]]:
    """Open a part of an upload: its descriptor and trailer. Raises PartChanged if it is not there, Damaged."""
    try:
        descriptor = open_own(above, _part_name(number))
    except FileNotFoundError:
        raise PartChanged(f"part {number}") from None
    try:
        try:
            yield descriptor, read_trailer(descriptor, os.fstat(descriptor).st_size, 0)
        except LayoutInvalid as error:
            raise Damaged(f"part {number} of an upload: {error}") from error
    finally:
        os.close(descriptor)


def _append(draft: Draft, source: int, size: int) -> None:
    """Append the stored bytes of a part. Their padding is cloned, but not counted, so that blocks can be shared."""
    start = draft.position
    draft.clone(source, 0, aligned(size))
    draft.position = start + size


def _lock_name(bucket: str, upload_id: str) -> str:
    return f"{bucket}/\0{upload_id}"  # no object's lock has such a name: keys hold no NUL
