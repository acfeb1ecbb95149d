"""``strongroom import``: copies all objects of a place in one S3 to another, in parallel, and reads each one back. It
can be stopped and resumed at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from strongroom.report import Report
from strongroom.transfer.copying import Copier, Wishes
from strongroom.transfer.place import Place
from strongroom.transfer.run import Watcher, listed_in, run
from strongroom.transfer.s3 import S3, Listed, S3Failed
from strongroom.transfer.state import State


@dataclass(frozen=True, slots=True)
class Import:
    """One import, of all buckets or of one (into a bucket of another name, if ``target_place`` has one)."""

    source: S3
    source_place: Place
    target: S3
    target_place: Place
    state: State
    wishes: Wishes
    threads: int

    def run(self, report: Report, stop: threading.Event, watcher: Watcher) -> None:
        """Copy what has not been copied. Raises S3Failed if the source cannot be listed or a bucket not be made; Held
        if another import has the state file, OfOthers if it is of another import.
        """
        renamed = self.target_place.bucket not in ("", self.source_place.bucket)
        self.state.bind(self.source_place.endpoint, str(self.target_place) if renamed else self.target_place.endpoint)
        if not report.dry_run:
            self.state.hold()
            self._abort_old_uploads()
            self._name_unknown_uploads(report)
        buckets = [self.source_place.bucket] if self.source_place.bucket else self.source.buckets()
        copier = Copier(self.source, self.target, self.state, self.wishes, stop, watcher.moved)

        def work(listed: Listed) -> None:
            if not report.dry_run:
                self.state.add(listed, copier.copy(listed, self._target_of(listed.bucket)))

        def todo() -> Iterator[Listed]:
            named, prefix = bool(self.source_place.bucket), self.source_place.prefix
            for bucket in buckets:
                empty = self._prepare(bucket, report)
                for listed in listed_in(self.source, bucket, prefix, report, named=named):
                    if not empty and self.state.has(listed):
                        report.before += 1
                        if stop.is_set():  # run() checks this only for objects that are not skipped
                            return
                        continue
                    watcher.found(listed)
                    yield listed

        run(todo(), work, self.threads, report, stop, watcher)

    def _prepare(self, bucket: str, report: Report) -> bool:
        """Make the target's bucket, unless this is a dry run. True if everything that earlier runs copied is gone from
        it: the state then forgets those copies, and the objects are copied again.
        """
        target, prefix = self._target_of(bucket), self.source_place.prefix
        made = not report.dry_run and self.target.make_bucket(target)
        if made:
            report.notes.append(f"made the bucket {target}")
        if not self.state.knows(bucket, prefix) or not (made or self.target.is_empty(target, prefix)):
            return False
        report.notes.append(f"what earlier runs had copied into {target} was not there any more")
        if not report.dry_run:
            self.state.forget(bucket, prefix, target)
        return True

    def _target_of(self, bucket: str) -> str:
        return self.target_place.bucket or bucket

    def _abort_old_uploads(self) -> None:
        for bucket, key, upload in self.state.open_uploads():
            self.target.abort_upload(bucket, key, upload)
            self.state.upload_ended(upload)

    def _name_unknown_uploads(self, report: Report) -> None:
        """Name the uploads that a run may have opened which ended before it noted their ids. Nothing tells them from
        those of clients that are about to send their first part, so they are not aborted.
        """
        for number, bucket, key in self.state.opening():
            try:
                found = self.target.empty_uploads(bucket, key)
            except S3Failed:
                continue  # the next run asks again
            for upload in found:
                report.notes.append(
                    f"{bucket}/{key}: the upload {upload} at the target, which has no parts, may be of a run that was"
                    " killed: abort it, unless a client is about to send its parts"
                )
            if not found:
                self.state.no_upload_opens(number)
