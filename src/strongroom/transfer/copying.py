"""Copying one object from one S3 to another, and reading it back. Plaintext is in memory only, a piece at a time."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from strongroom.report import counted
from strongroom.secret import Secret
from strongroom.transfer.s3 import S3, Described, Listed, Locked, S3Failed, upload_fields
from strongroom.transfer.state import State

PIECE = 16 * 1024 * 1024
"""Bytes of a part, unless the source's parts suggest another size."""
MAX_PIECE = 64 * 1024 * 1024
_MIN_PART = 5 * 1024 * 1024
_MAX_PARTS = 10_000
_ATTEMPTS = 3
_OTHERS = "another object of this name is at the target; see --overwrite"


class Stopped(Exception):
    """Copying was asked to stop."""


class NotCopied(Exception):
    """An object could not be copied; the message says why. ``unavailable``: because of the S3, not of the object."""

    def __init__(self, message: str, unavailable: bool = False) -> None:
        super().__init__(message)
        self.unavailable = unavailable


@dataclass(frozen=True, slots=True)
class Wishes:
    """How objects are to be copied. ``customer_key`` opens SSE-C objects and encrypts their copies; ``encrypt``: copies
    of unencrypted objects get SSE-S3, too; ``overwrite``: replace other objects of the same name at the target.
    """

    customer_key: Secret | None = None
    encrypt: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies objects. ``moved`` is called with the number of bytes read from the source; ``stop`` ends all copying."""

    source: S3
    target: S3
    state: State
    wishes: Wishes
    stop: threading.Event
    moved: Callable[[int], None]

    def copy(self, listed: Listed, bucket: str) -> str:
        """Copy an object into ``bucket`` and read it back. Returns its SHA-256. Raises NotCopied, Stopped."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._copy(listed, bucket)
            except S3Failed as error:
                if attempt == _ATTEMPTS or error.passing or error.code in ("403", "AccessDenied"):
                    raise NotCopied(str(error), error.unavailable) from error
        raise AssertionError("unreachable")

    def _copy(self, listed: Listed, bucket: str) -> str:
        with _reading_source():
            described = self.source.describe(listed.bucket, listed.key, self.wishes.customer_key)
        secret = self.wishes.customer_key if described.encryption == "SSE-C" else None
        over = None
        if not self.wishes.overwrite:
            there = self.target.etag(bucket, listed.key, self.wishes.customer_key)
            if there is not None and not self._is_ours(listed, bucket, there):
                try:
                    return self._compare(listed, bucket, described, secret, there)
                except NotCopied:
                    if not self._holds(bucket, listed.key, there, self.state.begun(bucket, listed.key)):
                        raise
                    self.state.wrote(bucket, listed.key, there)  # by a run that was killed before it noted that
            over = there or ""
        digest = hashlib.sha256()
        pieces = self._pieces(listed, described, secret, digest.update)

        def begin() -> None:
            self.state.begin(bucket, listed.key, digest.hexdigest())

        etag = self._write(bucket, listed.key, described, secret, pieces, over, begin)
        self.state.wrote(bucket, listed.key, etag)
        try:
            self._verify(bucket, listed.key, described, secret, etag, digest.hexdigest())
        except NotCopied:
            self.target.delete_if_still(bucket, listed.key, etag, secret)
            raise
        return digest.hexdigest()

    def _is_ours(self, listed: Listed, bucket: str, etag: str) -> bool:
        """Whether the object at the target, which has this ETag, is the copy that was last written there. If no ETag
        was noted (older releases did not), its bytes are compared with what was copied.
        """
        known = self.state.written(bucket, listed.key)
        if known is not None:
            return etag == known
        return self._holds(bucket, listed.key, etag, self.state.sha256(listed.bucket, listed.key))

    def _holds(self, bucket: str, key: str, etag: str, expected: str | None) -> bool:
        """Whether the bytes of the object at the target with this ETag have this SHA-256."""
        if expected is None or not etag:
            return False
        described = self.target.describe(bucket, key, self.wishes.customer_key)
        secret = self.wishes.customer_key if described.encryption == "SSE-C" else None
        return hmac.compare_digest(self._digest(bucket, key, etag, secret), expected)

    def _compare(self, listed: Listed, bucket: str, described: Described, secret: Secret | None, etag: str) -> str:
        """The SHA-256 of an object if the target has an equal one already, from a killed run, say. Raises NotCopied."""
        if not etag:
            raise NotCopied(_OTHERS)
        digest = hashlib.sha256()
        for _ in self._pieces(listed, described, secret, digest.update):
            pass
        try:
            self._verify(bucket, listed.key, described, secret, etag, digest.hexdigest())
        except (NotCopied, Locked) as error:
            raise NotCopied(_OTHERS) from error
        self.state.wrote(bucket, listed.key, etag)
        return digest.hexdigest()

    def _pieces(
        self, listed: Listed, described: Described, secret: Secret | None, hash_: Callable[[bytes], None]
    ) -> Iterator[bytes]:
        with _reading_source():
            size = self._piece_size(listed, described, secret)
            piece, total = bytearray(), 0
            for chunk in self.source.read(listed.bucket, listed.key, described.etag, secret):
                self._check()
                hash_(chunk)
                self.moved(len(chunk))
                total += len(chunk)
                piece += chunk
                while len(piece) > size:
                    yield bytes(piece[:size])
                    del piece[:size]
        if total != described.size:
            raise S3Failed(f"{counted(total, 'byte')} came, and {described.size} were announced")
        yield bytes(piece)

    def _piece_size(self, listed: Listed, described: Described, secret: Secret | None) -> int:
        """The size of the source's parts if all are equal, so that the copy gets the same ETag; else one that fits."""
        if described.parts > 1:
            size = self.source.part_size(listed.bucket, listed.key, secret)
            if (
                _MIN_PART <= size <= MAX_PIECE
                and (described.parts - 1) * size < described.size <= described.parts * size
            ):
                return size
        return max(PIECE, -(-described.size // _MAX_PARTS))

    def _write(
        self,
        bucket: str,
        key: str,
        described: Described,
        secret: Secret | None,
        pieces: Iterator[bytes],
        over: str | None,
        begin: Callable[[], None],
    ) -> str:
        """Write a copy, as it is described, from these pieces. ``begin`` is called just before it is put in place.
        Returns its ETag. Raises S3Failed, NotCopied, Stopped.
        """
        encryption = "SSE-S3" if self.wishes.encrypt and not described.encryption else described.encryption
        fields = upload_fields(described, encryption, secret)
        first = next(pieces)
        if len(first) == described.size and described.parts < 2:
            for _ in pieces:
                pass  # runs the generator to its end, where it checks the size
            begin()
            return self.target.put(bucket, key, first, fields, over)
        opening = self.state.upload_opens(bucket, key)
        try:
            upload = self.target.begin_upload(bucket, key, fields)
        except S3Failed as error:
            if not error.unavailable:
                self.state.no_upload_opens(opening)
            raise
        self.state.upload_opened(opening, bucket, key, upload)
        try:
            parts = [self.target.put_part(bucket, key, upload, 1, first, secret)]
            for number, piece in enumerate(pieces, 2):
                parts.append(self.target.put_part(bucket, key, upload, number, piece, secret))
            if over is not None and self.target.etag(bucket, key, self.wishes.customer_key) != (over or None):
                raise S3Failed("the object at the target became another meanwhile")
            begin()
            etag = self.target.complete(bucket, key, upload, parts, over)
        except BaseException:
            self.target.abort_upload(bucket, key, upload)
            self.state.upload_ended(upload)
            raise
        self.state.upload_ended(upload)
        return etag

    def _verify(
        self, bucket: str, key: str, described: Described, secret: Secret | None, etag: str, expected: str
    ) -> None:
        """Read a copy back. Raises NotCopied if it differs from what was read from the source."""
        copied = self.target.describe(bucket, key, secret)
        if not copied.same_as(described):
            raise NotCopied("its metadata were others when they were read back; the copy was removed")
        if not hmac.compare_digest(self._digest(bucket, key, etag, secret), expected):
            raise NotCopied("its bytes were others when they were read back; the copy was removed")

    def _digest(self, bucket: str, key: str, etag: str, secret: Secret | None) -> str:
        """The SHA-256 of the object at the target with this ETag."""
        digest = hashlib.sha256()
        for chunk in self.target.read(bucket, key, etag, secret):
            self._check()
            digest.update(chunk)
        return digest.hexdigest()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped


@contextmanager
def _reading_source() -> Iterator[None]:
    """A context that raises NotCopied if the object is no longer at the source."""
    try:
        yield
    except S3Failed as error:
        if error.code not in ("404", "NoSuchKey"):
            raise
        raise NotCopied("it was removed at the source meanwhile") from error
