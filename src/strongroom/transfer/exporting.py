"""``strongroom export``: writes the plaintext of all objects of a place into a folder, in parallel. A stopped export
can be resumed.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.report import Report, counted
from strongroom.secret import Secret
from strongroom.transfer.copying import NotCopied, Stopped
from strongroom.transfer.folder import Exported, Folder
from strongroom.transfer.place import Place
from strongroom.transfer.run import Watcher, listed_in, run
from strongroom.transfer.s3 import S3, Listed, S3Failed


@dataclass(frozen=True, slots=True)
class Export:
    """One export, of all buckets, of one, or of the keys in it that begin with a prefix."""

    source: S3
    place: Place
    folder: Folder
    customer_key: Secret | None
    threads: int

    def run(self, report: Report, stop: threading.Event, watcher: Watcher) -> None:
        """Write what is not in the folder yet. Raises S3Failed if the source cannot be listed; OSError."""
        buckets = [self.place.bucket] if self.place.bucket else self.source.buckets()

        def todo() -> Iterator[Listed]:
            for bucket in buckets:
                for listed in listed_in(self.source, bucket, self.place.prefix, report, named=bool(self.place.bucket)):
                    if self.folder.has(listed):
                        report.before += 1
                        if stop.is_set():  # run() checks this only for objects that are not skipped
                            return
                        continue
                    watcher.found(listed)
                    yield listed

        def work(listed: Listed) -> None:
            try:
                self._write(listed, stop, watcher)
            except S3Failed as error:
                raise NotCopied(str(error), error.unavailable) from error

        run(todo(), work, self.threads, report, stop, watcher)

    def _write(self, listed: Listed, stop: threading.Event, watcher: Watcher) -> None:
        described = self.source.describe(listed.bucket, listed.key, self.customer_key)
        secret = self.customer_key if described.encryption == "SSE-C" else None
        path, digest, size = self.folder.temporary(listed.bucket, listed.key), hashlib.sha256(), 0
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                for chunk in self.source.read(listed.bucket, listed.key, described.etag, secret):
                    if stop.is_set():
                        raise Stopped
                    digest.update(chunk)
                    size += file.write(chunk)
                    watcher.moved(len(chunk))
                file.flush()
                os.fsync(file.fileno())
            if size != described.size:
                raise NotCopied(f"{counted(size, 'byte')} came, and {described.size} were announced")
            os.utime(path, (described.modified.timestamp(),) * 2)
            line = Exported(
                listed.bucket, listed.key, "", size, digest.hexdigest(), described.etag, listed.modified.isoformat(),
                described.encryption, described.headers, described.metadata, described.tags,
            )  # fmt: skip
            self.folder.add(path, line)
        finally:
            path.unlink(missing_ok=True)
