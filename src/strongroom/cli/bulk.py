"""The commands that work on many objects, and their options. The code that does the work is loaded on use."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from strongroom.cli.outcome import WRONG, stop_with
from strongroom.report import counted
from strongroom.secret import Secret

_EXIT_CODES = (
    "Exit codes: 0 all is done, 1 a place cannot be reached, 2 a wrong argument, 3 objects failed, 130 stopped before"
    " the end: the same command goes on."
)

_Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, max=256, help="Objects that are copied at the same time.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
_SourceProfile = Annotated[
    str | None, typer.Option(metavar="NAME", help="A profile of AWS's configuration files, for the source.")
]
_SourceCA = Annotated[
    Path | None, typer.Option(metavar="FILE", help="A file with the CA that the source's certificate is from.")
]
_SourceRegion = Annotated[str | None, typer.Option(metavar="NAME", help="The source's region.")]
_Buckets = Annotated[
    list[str] | None, typer.Option(metavar="NAME", help="Only this bucket; may be given more than once.")
]
_Served = Annotated[
    str,
    typer.Argument(
        metavar="PLACE",
        help="The directory or folder that is served; the URL of the gateway's backend.",
        show_default=False,
    ),
]
_CustomerKey = Annotated[
    Path | None,
    typer.Option("--sse-c-key-file", metavar="FILE", help="A file with the key of SSE-C objects: 32 raw bytes."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for name, function in (
        ("import", import_),
        ("adopt", adopt),
        ("rewrap", rewrap),
        ("encrypt", encrypt),
        ("audit", audit),
        ("export", export),
    ):
        app.command(name, help=f"{inspect.getdoc(function)}\n\n{_EXIT_CODES}")(function)


def import_(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="http(s)://HOST[:PORT][/BUCKET[/PREFIX]]", show_default=False)
    ],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="http(s)://HOST[:PORT][/BUCKET]", show_default=False)],
    threads: _Threads = 8,
    source_profile: _SourceProfile = None,
    target_profile: Annotated[str | None, typer.Option(metavar="NAME", help="A profile, for the target.")] = None,
    source_ca: _SourceCA = None,
    target_ca: Annotated[Path | None, typer.Option(metavar="FILE", help="The same, for the target.")] = None,
    source_region: _SourceRegion = None,
    target_region: Annotated[str | None, typer.Option(metavar="NAME", help="The target's region.")] = None,
    sse_c_key_file: _CustomerKey = None,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Ask for SSE-S3 for objects that are not encrypted.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace objects that are at the target.")] = False,
    state_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where it is noted what was copied. [default: in ~/.strongroom/imports]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be copied.")] = False,
    json_: _Json = False,
) -> None:
    """Copy objects from any S3 into a Strongroom server or gateway.

    A MinIO that still runs, of any layout, will do. Each object comes with its metadata and tags, and is read back.
    Credentials: STRONGROOM_SOURCE_ACCESS_KEY and STRONGROOM_SOURCE_SECRET_KEY, STRONGROOM_TARGET_ACCESS_KEY and
    STRONGROOM_TARGET_SECRET_KEY (each also with _FILE), else as AWS's tools find them. One that was stopped goes on
    where it was when it is started again.
    """
    from strongroom.cli import copying
    from strongroom.transfer.copying import Wishes

    code = copying.run_import(
        copying.End("source", source, source_profile, source_region, source_ca),
        copying.End("target", target, target_profile, target_region, target_ca),
        Wishes(_customer_key(sse_c_key_file), encrypt, overwrite),
        threads,
        state_file,
        dry_run,
        json_,
    )
    raise typer.Exit(code)


def export(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="http(s)://HOST[:PORT][/BUCKET[/PREFIX]]", show_default=False)
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.", show_default=False)],
    threads: _Threads = 8,
    source_profile: _SourceProfile = None,
    source_ca: _SourceCA = None,
    source_region: _SourceRegion = None,
    sse_c_key_file: _CustomerKey = None,
    json_: _Json = False,
) -> None:
    """Write the plaintext of objects into a folder: the way back.

    The files are not encrypted. manifest.jsonl says of each object where it lies, its SHA-256, metadata and tags; keys
    that cannot be paths lie in .strongroom-export/other. Credentials: STRONGROOM_SOURCE_ACCESS_KEY and
    STRONGROOM_SOURCE_SECRET_KEY (each also with _FILE), else as AWS's tools find them.
    """
    from strongroom.cli import copying

    end = copying.End("source", source, source_profile, source_region, source_ca)
    raise typer.Exit(copying.run_export(end, directory, _customer_key(sse_c_key_file), threads, json_))


def adopt(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE",
            help="The folder that MinIO served; the URL of its S3 gateway's backend.",
            show_default=False,
        ),
    ],
    bucket: _Buckets = None,
    tasks: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Objects that are adopted at the same time.")
    ] = 4,
    sse_c_key_file: _CustomerKey = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be adopted.")] = False,
    json_: _Json = False,
) -> None:
    """Rewrite objects that MinIO left into Strongroom's format.

    They stay where they are, and each is whole or untouched at any moment. Gateways may serve the place meanwhile.
    Every byte is read and authenticated before. The settings are those of the server, from the environment. One that
    was stopped goes on where it was when it is started again. After it, MinIO cannot read the objects any more.
    """
    from strongroom.cli import jobs
    from strongroom.maintenance.adopting import Adoption
    from strongroom.report import Report

    key = _customer_key(sse_c_key_file)
    report = Report(place, "", datetime.now(UTC), dry_run=dry_run, verb="adopted")
    code = jobs.run_job(
        place, jobs.left_place, lambda objects: Adoption(objects, bucket or [], key, tasks), report, json_
    )
    raise typer.Exit(code)


def rewrap(
    place: _Served,
    bucket: _Buckets = None,
    tasks: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Objects that are rewrapped at the same time.")
    ] = 32,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="What clients put under the master key OLD by its name (SSE-KMS) goes under NEW. Can be given"
            " more than once.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be rewrapped.")] = False,
    json_: _Json = False,
) -> None:
    """Seal the keys of all objects anew, under the current master key.

    After it, no other master key is needed any more. What clients put under a master key by its name (SSE-KMS) stays
    under that name. No data is read or written, but records; the place is served meanwhile. The settings are those of
    the server, from the environment: the new master key, and the old one to read with. One that was stopped goes on
    where it was when it is started again.
    """
    from strongroom.cli import jobs
    from strongroom.maintenance.rewrapping import Rewrapping
    from strongroom.report import Report

    renamed = _renamed(key or [])
    report = Report(place, "", datetime.now(UTC), dry_run=dry_run, verb="rewrapped")
    code = jobs.run_job(
        place, jobs.served_place, lambda objects: Rewrapping(objects, bucket or [], tasks, renamed), report, json_
    )
    raise typer.Exit(code)


def encrypt(
    place: _Served,
    bucket: _Buckets = None,
    tasks: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="Objects that are encrypted at the same time.")
    ] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what may lie in plaintext.")] = False,
    json_: _Json = False,
) -> None:
    """Encrypt all objects that lie in plaintext.

    They are encrypted as their buckets say by default, else with SSE-S3. Each is read, compared with the MD5 that is
    recorded of it, and written anew, one at a time whole or untouched; the place is served meanwhile. Files in a shared
    folder are no plain files any more after it. The settings are those of the server, from the environment. Of another
    S3, which others may use, the buckets have to be named. One that was stopped goes on where it was when it is started
    again.
    """
    from strongroom.cli import jobs
    from strongroom.maintenance.encrypting import Encryption
    from strongroom.report import Report

    if not bucket and jobs.is_url(place):
        raise typer.BadParameter("name the buckets: others may read what lies on this backend", param_hint="--bucket")
    report = Report(place, "", datetime.now(UTC), dry_run=dry_run, verb="encrypted")
    code = jobs.run_job(
        place, jobs.served_place, lambda objects: Encryption(objects, bucket or [], tasks), report, json_
    )
    raise typer.Exit(code)


def audit(
    place: _Served,
    bucket: _Buckets = None,
    tasks: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Objects that are opened at the same time.")
    ] = 16,
    read: Annotated[
        bool, typer.Option("--read", help="Read and authenticate every byte, not only what is recorded.")
    ] = False,
    sse_c_key_file: _CustomerKey = None,
    json_: _Json = False,
) -> None:
    """Open every object, and say what is encrypted and what is not.

    It says under which master key each is. Nothing is changed; the place is served meanwhile. The settings are those of
    the server, from the environment. What is not encrypted, or does not open, is named, and counts as failed.
    """
    from strongroom.cli import jobs
    from strongroom.maintenance.auditing import Audit, AuditReport

    key = _customer_key(sse_c_key_file)
    report = AuditReport(place, "", datetime.now(UTC), verb="opened")
    code = jobs.run_job(
        place,
        jobs.served_place,
        lambda objects: Audit(objects, bucket or [], tasks, read, key),
        report,
        json_,
        read_only=True,
    )
    raise typer.Exit(code)


def _customer_key(path: Path | None) -> Secret | None:
    """The client's key for SSE-C objects, from a file of 32 bytes. Raises typer.Exit."""
    if path is None:
        return None
    try:
        key = path.read_bytes()
    except OSError as error:
        raise stop_with(f"--sse-c-key-file: {path}: {error.strerror}", WRONG) from None
    if len(key) != 32:
        raise stop_with(
            f"--sse-c-key-file: {path} has {counted(len(key), 'byte')}; it must hold the 32 bytes of the key as they"
            " are, neither in hex nor in base64",
            WRONG,
        )
    return Secret(key)


def _renamed(pairs: list[str]) -> dict[str, str]:
    """The new name for each master key's name, from OLD=NEW. Raises typer.BadParameter."""
    from strongroom.sealed.policy import master_key_name

    renamed: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        old, new = master_key_name(old), master_key_name(new)  # clients write a name in several forms
        if not old or not equals or not new or renamed.setdefault(old, new) != new:
            raise typer.BadParameter(f"{pair!r} is not OLD=NEW, or OLD was given before", param_hint="--key")
    return renamed
