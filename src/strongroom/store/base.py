"""The store protocol: what every store (local disk, NAS, another S3) promises to the layer above.

A store keeps, under a bucket and a key, opaque bytes and an opaque *record*, and keeps the two together: a reader sees
the bytes and the record of one and the same write, the old or the new. It neither knows nor asks what they mean.

What a store must hold, checked by the conformance suite in ``tests/store``:

- Whole or absent: until :meth:`Writer.commit` returns, readers see what was there before; a crash leaves the old or
  the new object, never a part of one.
- Durable: what ``commit``, ``complete``, ``delete`` and the others have acknowledged survives a power cut.
- Conditions are decided atomically with the write, also between processes that share the store.
- A reader that was opened goes on reading the object it opened, whatever happens to the name meanwhile.
- Listings are in the order of the keys' UTF-8 bytes.

Keys are ``str`` of 1 to 1,024 bytes in UTF-8, without lone surrogates; whoever calls has checked that. A store that
cannot hold some key raises :class:`~strongroom.store.errors.NameRefused`. Times are nanoseconds since the epoch, sizes
are bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from strongroom.buffers import Buffer
from strongroom.secret import Secret

MAX_KEY = 1024
"""Bytes of a key, at most."""

Record = Mapping[str, bytes]
"""A small mapping (a few KiB in all) that the store keeps atomically with the bytes. Names are ASCII."""


ENCRYPTED = ":sse"
"""An entry that the records of encrypted objects have, and no others. It is all that a store may know of what its bytes
mean: a store that keeps objects as files for others to read leaves the bytes of objects without this entry as they are.
"""

FOUND = ":found"
"""An entry in the record of an object that others put into the store: nothing was recorded of it."""

FOREIGN = ":foreign"
"""An entry, empty, in the record of a plain object whose ETag is not ours: another S3 gave it, by its own rules."""

MAX_CHECK = 128 * 1024
"""Bytes of the longest check value that is read (see :mod:`strongroom.sealed.check`)."""

LEFT = ":minio"
"""An entry in the record of an object that MinIO left: the document beside it (``fs.json``, ``dare.meta``), as it is.
Writing a record with this entry keeps what MinIO left; writing one without it removes that.
"""

DAMAGED = ":damaged"
DAMAGED_RECORD: Record = {DAMAGED: b""}
"""What a store returns in place of a record that is damaged on the medium, or that it cannot read there, so that
listings can go on. The layer above never takes it for the record of an object, encrypted or not.
"""


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be true of the name at the moment of the write.

    ``absent``: no object is there. ``identity``: the object that is there has this identity. Neither: no condition.
    """

    absent: bool = False
    identity: str | None = None


ALWAYS = Condition()


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket: its name, when it was made, and its settings (name → opaque document)."""

    name: str
    created: int
    settings: Mapping[str, bytes] = field(default_factory=dict)


class Stored(NamedTuple):
    """An object as the store knows it. (A named tuple: a page of a listing makes a thousand.)

    ``size`` counts the stored bytes. ``identity`` is chosen by the store: it changes with every write of the name
    (also when only the record is written) and never comes back. ``modified`` is the time of the last write of bytes.
    """

    key: str
    size: int
    modified: int
    record: Record
    identity: str


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing: objects and common prefixes, each in order.

    ``next`` is what to pass as ``after`` for the next page, or None if this was the last.
    """

    objects: Sequence[Stored]
    prefixes: Sequence[str]
    next: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """An open multipart upload."""

    key: str
    upload_id: str
    started: int
    record: Record


@dataclass(frozen=True, slots=True)
class UploadPage:
    """One page of open uploads, ordered by key, then by time of start, then by id.

    ``next`` is the (key, upload id) to pass as ``after``, or None. For a common prefix the upload id is "".
    """

    uploads: Sequence[Upload]
    prefixes: Sequence[str]
    next: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an open upload. ``identity`` changes when the part is uploaded anew; ``size`` counts stored bytes."""

    number: int
    size: int
    modified: int
    record: Record
    identity: str


@dataclass(frozen=True, slots=True)
class PartPage:
    """One page of parts in order of their numbers; ``next`` is the number to pass as ``after``, or None."""

    parts: Sequence[Part]
    next: int | None


class Writer(Protocol):
    """Takes the bytes of one object. Nothing of it is visible before :meth:`commit` returns."""

    async def write(self, data: Buffer) -> None:
        """Append ``data`` (any length; the caller may reuse the buffer once this returns). Raises StoreFull."""
        ...

    @property
    def append(self) -> Callable[[Buffer, bool], None] | None:
        """A function that does what :meth:`write` does, but blocks: for a thread that has already worked on the bytes.
        None if the bytes do not go into a file.

        Its second argument says that nothing follows, so that the bytes can be made durable right away. Raises
        StoreFull. ``abort`` must not be called while it runs.
        """
        ...

    async def commit(self, record: Record, annex: bytes = b"", when: Condition = ALWAYS) -> Stored:
        """Make the object whole, durable and visible, in place of what was there.

        Raises ConditionFailed, NoSuchBucket, NameRefused, StoreFull; nothing is left behind then.
        """
        ...

    async def abort(self) -> None:
        """Forget what was written. Harmless after commit, and when called twice."""
        ...


class PartWriter(Protocol):
    """Takes the bytes of one part of an open upload; a part of the same number is replaced on commit."""

    async def write(self, data: Buffer) -> None:
        """As :meth:`Writer.write`."""
        ...

    @property
    def append(self) -> Callable[[Buffer, bool], None] | None:
        """As :attr:`Writer.append`."""
        ...

    async def commit(self, record: Record) -> Part:
        """Make the part durable. Raises NoSuchUpload when the upload ended meanwhile."""
        ...

    async def abort(self) -> None:
        """As :meth:`Writer.abort`."""
        ...


class Reader(Protocol):
    """An object that was opened: its bytes stay readable until :meth:`close`, whatever happens to the name."""

    @property
    def stored(self) -> Stored:
        """What was opened."""
        ...

    @property
    def comparable(self) -> bool:
        """Whether the store can check that it is still this object which a write replaces (:class:`Condition`)."""
        ...

    def cached(self, start: int, length: int, room: bytearray | None = None) -> Buffer | None:
        """``length`` stored bytes from ``start`` on if they are in memory; else None. Never waits.

        The result may lie in ``room``, which has at least ``length`` bytes: this saves allocating new memory, which
        has to be cleared.
        """
        ...

    @property
    def read(self) -> Callable[[int, int], bytes] | None:
        """A function (start, length) that returns stored bytes, and blocks: for a thread that goes on to work on them.
        None if the bytes do not come from a file: use :meth:`stream`.

        It raises Damaged. It may be called, and may still be running, when the object is closed.
        """
        ...

    async def annex(self) -> bytes:
        """The annex that was committed with the record, b"" if there was none. Raises ObjectChanged if it is no longer
        available.
        """
        ...

    async def check(self) -> None:
        """Check, without reading them, that as many bytes are stored as were recorded. Raises Damaged."""
        ...

    def stream(self, start: int, length: int) -> AsyncIterator[bytes]:
        """Exactly ``length`` stored bytes from ``start`` on, in chunks of the store's choosing (up to 1 MiB).

        Raises Damaged if the medium has fewer, ObjectChanged if they are no longer available. The range lies within
        the object.
        """
        ...

    async def close(self) -> None:
        """Release it. Harmless when called twice."""
        ...


class Store(Protocol):
    """A place for objects. All methods raise NoSuchBucket if the bucket does not exist."""

    async def start(self) -> None:
        """Open what has to be opened, in the process and event loop that will use it."""
        ...

    async def stop(self) -> None:
        """Finish what was acknowledged and release everything."""
        ...

    @property
    def hides_below(self) -> bool:
        """Whether listings leave out what lies below an object (``a/b`` if there is an object ``a``)."""
        return False

    # -- buckets ---------------------------------------------------------------------------------------------------

    async def create_bucket(self, name: str) -> Bucket:
        """Make a bucket. Raises BucketExists."""
        ...

    async def bucket(self, name: str) -> Bucket:
        """The bucket of this name."""
        ...

    async def buckets(self) -> Sequence[Bucket]:
        """All buckets, by name."""
        ...

    async def set_bucket(self, name: str, setting: str, document: bytes | None) -> None:
        """Store a setting of a bucket, or remove it (None)."""
        ...

    async def leave_setting(self, name: str, setting: str, document: bytes) -> bytes:
        """Store a setting of a bucket unless there is one of this name. Returns the one that is stored now."""
        ...

    async def delete_bucket(self, name: str) -> None:
        """Remove an empty bucket and its open uploads. Raises BucketNotEmpty."""
        ...

    # -- objects ---------------------------------------------------------------------------------------------------

    async def writer(self, bucket: str, key: str, size: int | None, encrypted: bool = False) -> Writer:
        """Begin an object. ``size`` is the number of stored bytes to come, if known: a hint, not a check.

        ``encrypted`` says whether the record will have the entry :data:`ENCRYPTED`. Raises NameRefused.
        """
        ...

    async def head(self, bucket: str, key: str) -> Stored:
        """The object under this key. Raises NoSuchObject."""
        ...

    async def open(self, bucket: str, key: str, *, whole: bool = True) -> Reader:
        """Open the object under this key for reading. ``whole``: all its bytes are wanted, which is a hint.

        Raises NoSuchObject.
        """
        ...

    async def copy(
        self, source: Reader, bucket: str, key: str, record: Record, annex: bytes, when: Condition = ALWAYS
    ) -> Stored:
        """Put the bytes of an opened object under another name (or its own), with this record; no byte need move."""
        ...

    async def rewrite(self, bucket: str, key: str, record: Record, annex: bytes | None, when: Condition) -> Stored:
        """Replace the record (and the annex, unless None) of an object; its bytes and ``modified`` stay."""
        ...

    async def delete(self, bucket: str, key: str, when: Condition = ALWAYS) -> bool:
        """Remove an object; True if there was one. Raises ConditionFailed."""
        ...

    async def list(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        """Up to ``limit`` objects and common prefixes together, whose names start with ``prefix``.

        Names come after ``after`` ("" for all) in the order of their UTF-8 bytes. With a ``delimiter`` ("" for none),
        names that contain it after the prefix are rolled up into one common prefix, up to and including the delimiter;
        if ``after`` is itself such a common prefix, all names under it are skipped.
        """
        ...

    # -- multipart uploads -----------------------------------------------------------------------------------------

    async def create_upload(self, bucket: str, key: str, record: Record, token: bytes) -> Upload:
        """Open a multipart upload, durably. Its id is ``token``, 16 random bytes, in hexadecimal or in base64url."""
        ...

    async def upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        """The open upload. Raises NoSuchUpload."""
        ...

    async def part_writer(self, bucket: str, key: str, upload_id: str, number: int, size: int | None) -> PartWriter:
        """Begin a part (1 to 10,000). Raises NoSuchUpload."""
        ...

    async def parts(self, bucket: str, key: str, upload_id: str, after: int, limit: int) -> PartPage:
        """Up to ``limit`` parts whose number is above ``after``. Raises NoSuchUpload."""
        ...

    async def complete(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[Part],
        record: Record,
        annex: bytes = b"",
        when: Condition = ALWAYS,
    ) -> Stored:
        """Make one object of these parts, in this order, and end the upload; other parts of it are dropped.

        Raises PartChanged, NoSuchUpload, ConditionFailed; the upload stays open then.
        """
        ...

    async def abort_upload(self, bucket: str, key: str, upload_id: str) -> None:
        """End an upload and drop its parts. Raises NoSuchUpload."""
        ...

    async def uploads(self, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int) -> UploadPage:
        """Open uploads, selected as in :meth:`list`; ``after`` is a (key, upload id), ("", "") for all.

        With an upload id of "", all uploads of the key in ``after`` are skipped, too.
        """
        ...


class EncryptingStore(Store, Protocol):
    """A store whose storage can encrypt objects by itself, on top of what the layer above does."""

    def encrypted(self, *, sse_s3: bool = False, customer_key: Secret | None = None) -> Store:
        """The same store, but its storage encrypts what is written, and decrypts what is read, in the given way."""
        ...


class BucketChecks(Protocol):
    """Keeps a check value in each bucket, out of the clients' sight."""

    async def read_check(self, bucket: str) -> bytes | None:
        """The check value, None if there is none. Raises NoSuchBucket."""
        ...

    async def leave_check(self, bucket: str, document: bytes) -> bool:
        """Store a check value unless there is one; False if there is. Raises NoSuchBucket."""
        ...

    async def replace_check(self, bucket: str, document: bytes) -> None:
        """Replace the check value. Raises NoSuchBucket."""
        ...
