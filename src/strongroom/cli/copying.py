"""Runs the commands that copy objects: progress goes to the terminal, the report to standard output."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from strongroom.cli.outcome import WRONG, fail, finish, stop_on_signals, stop_with
from strongroom.cli.progress import TransferBar
from strongroom.config import SettingError, insecure_sse_c_from_process, transfer_keys_from_process
from strongroom.config.table import TRANSFER
from strongroom.report import Report
from strongroom.secret import Secret
from strongroom.serving.hardening import harden
from strongroom.store.errors import NO_SPACE
from strongroom.store.local.schema import has_room
from strongroom.transfer.copying import Wishes
from strongroom.transfer.exporting import Export
from strongroom.transfer.folder import Folder, FolderRefused
from strongroom.transfer.held import Held
from strongroom.transfer.importing import Import
from strongroom.transfer.place import Access, Place, parse_place
from strongroom.transfer.s3 import S3, NoKeys, S3Failed
from strongroom.transfer.state import OfOthers, State


@dataclass(frozen=True, slots=True)
class End:
    """One end of a copy, as given on the command line; ``role`` is "source" or "target"."""

    role: str
    url: str
    profile: str | None
    region: str | None
    ca: Path | None

    def place(self) -> Place:
        """The place that the URL names. Raises typer.Exit."""
        try:
            return parse_place(self.url)
        except ValueError as error:
            raise stop_with(f"{self.role.upper()}: {error}", WRONG) from None

    def client(self, threads: int, stop: threading.Event) -> S3:
        """A client for the place, which waits no more when ``stop`` is set. Raises typer.Exit, S3Failed."""
        place = self.place()
        try:
            keys = None if self.profile else transfer_keys_from_process(self.role)
        except SettingError as error:
            raise stop_with(error, WRONG) from None
        access_key, secret_key = keys or (None, None)
        access = Access(access_key, secret_key, self.profile, self.region, str(self.ca) if self.ca else None)
        try:
            return S3(place.endpoint, access, threads, stop)
        except NoKeys as error:
            names = " and ".join(setting.variables[0] for setting in TRANSFER[self.role])
            right = (
                f"the profile {self.profile!r} has none"
                if self.profile
                else f"set {names}, or what AWS's tools read (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
                f" ~/.aws/credentials, --{self.role}-profile)"
            )
            raise stop_with(f"{self.role.upper()}: {error}; {right}", WRONG) from None


def run_import(
    source: End, target: End, wishes: Wishes, threads: int, state_file: Path | None, dry_run: bool, as_json: bool
) -> int:
    """Import. Returns the exit code. Raises typer.Exit."""
    harden()  # makes the state file private, too: it reveals something about the plaintext
    place, aim = source.place(), target.place()
    if aim.prefix:
        raise stop_with("TARGET: objects keep their keys; name a bucket at most", WRONG)
    if aim.bucket and not place.bucket:
        raise stop_with("TARGET: it names a bucket, so SOURCE must name one, too", WRONG)
    refuse_in_the_clear(wishes.customer_key, source, target)
    report = Report(str(place), str(aim), datetime.now(UTC), dry_run=dry_run)
    name = hashlib.sha256(f"{place}\n{aim}".encode()).hexdigest()[:16]
    path = state_file or Path.home() / ".strongroom" / "imports" / f"{name}.db"
    stop = threading.Event()
    stop_on_signals(stop.set)
    try:
        with State(path) as state, TransferBar(Console(stderr=True)) as bar:
            job = Import(source.client(threads, stop), place, target.client(threads, stop), aim, state, wishes, threads)
            job.run(report, stop, bar.watcher)
    except (S3Failed, Held, OfOthers) as error:
        raise fail(report, as_json, error) from None
    except (OSError, sqlite3.Error) as error:
        raise fail(report, as_json, f"{path}: {_trouble(error, path.parent)}") from None
    return finish(report, as_json)


def run_export(source: End, directory: Path, key: Secret | None, threads: int, as_json: bool) -> int:
    """Export. Returns the exit code. Raises typer.Exit."""
    harden()
    if (encoding := sys.getfilesystemencoding()) != "utf-8":  # files would not have the names of their objects
        raise stop_with(f"names of objects are UTF-8, and those of files here {encoding}: set LC_ALL=C.UTF-8", WRONG)
    place = source.place()
    refuse_in_the_clear(key, source)
    report = Report(str(place), str(directory), datetime.now(UTC), verb="written")
    stop = threading.Event()
    stop_on_signals(stop.set)
    try:
        with closing(Folder(directory)) as folder, TransferBar(Console(stderr=True)) as bar:
            Export(source.client(threads, stop), place, folder, key, threads).run(report, stop, bar.watcher)
    except (S3Failed, FolderRefused, Held) as error:
        raise fail(report, as_json, error) from None
    except (OSError, sqlite3.Error) as error:
        raise fail(report, as_json, f"{directory}: {_trouble(error, directory)}") from None
    return finish(report, as_json)


def _trouble(error: OSError | sqlite3.Error, directory: Path) -> str:
    """What went wrong with the files that a command keeps in a directory, and what to do."""
    if isinstance(error, OSError):
        full = error.errno in NO_SPACE
    else:  # where SQLite cannot make its files, it does not say why
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL or not has_room(directory)
    return "there is no room left: make some, and the same command goes on from here" if full else str(error)


def refuse_in_the_clear(key: Secret | None, *ends: End) -> None:
    """Raises typer.Exit if a client's key would go over the network as plain text."""
    if key is None:
        return
    try:
        allowed = insecure_sse_c_from_process()
    except SettingError as error:
        raise stop_with(error, WRONG) from None
    for end in ends:
        if end.place().in_the_clear and not allowed:
            why = (
                "the key of --sse-c-key-file would go over plain http; use https, or STRONGROOM_ALLOW_INSECURE_SSE_C=on"
            )
            raise stop_with(f"{end.role.upper()}: {why} where nobody can listen", WRONG)
