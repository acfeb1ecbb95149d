"""Starting, and refusing to: one line, the right exit code, nothing secret."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import strongroom
from strongroom.cli.commands import _app
from tests.cli.conftest import Command

ROOT = {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "correct horse"}


def test_the_version_is_printed(command: Command) -> None:
    for arguments in (["version"], ["--version"]):
        done = command.run(*arguments)
        assert (done.returncode, done.stdout) == (0, f"strongroom {strongroom.__version__}\n")


def test_help_names_each_flag_with_its_variables(command: Command) -> None:
    shown = command.run("server", "--help").stdout
    for name in ("--address", "STRONGROOM_ADDRESS", "--no-compat", "--sse-master-key-file", "MINIO_SSE_MASTER_KEY"):
        assert name in shown


@pytest.mark.parametrize("group", [(), ("gateway",), ("kms",), ("kms", "key")])
def test_help_says_of_each_command_in_a_whole_line_what_it_does(command: Command, group: tuple[str, ...]) -> None:
    _, commands = command.run(*group, "--help").stdout.split("Commands:\n")
    assert all(line.endswith(".") and not line.endswith("...") for line in commands.splitlines())


def loaded(*command: str) -> set[str]:
    """The modules that Python loads when it is called so."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_a_worker_does_not_wait_for_libraries_that_only_some_servers_need() -> None:
    ours = [f"strongroom.{module}" for module in ("app", "relay", "s3.app", "s3.cors", "store.local", "store.s3")]
    assert not {"aiohttp", "botocore.session", "urllib3", "jwt", "cryptography.x509"} & loaded(
        "-c", f"import {', '.join(ours)}"
    )


def test_a_worker_loads_one_kind_of_store_and_nothing_to_print_with() -> None:
    ours = ["cli.server", "app", "s3.app", "s3.cors", "store.local"]
    modules = loaded("-c", f"import {', '.join(f'strongroom.{module}' for module in ours)}")
    assert "strongroom.store.local.store" in modules
    assert not {"strongroom.relay", "strongroom.store.left", "strongroom.store.nas", "strongroom.store.s3"} & modules
    assert "rich" not in modules


def test_a_command_does_not_wait_for_what_others_need(tmp_path: Path) -> None:
    modules = loaded("-m", "strongroom", "server", "--workers", "none", str(tmp_path))
    assert "strongroom.serving.supervisor" in modules
    assert not {"pydantic", "strongroom.app", "strongroom.sealed", "strongroom.store.local"} & modules


def test_a_job_does_not_wait_for_what_only_servers_need(tmp_path: Path) -> None:
    modules = loaded("-m", "strongroom", "audit", str(tmp_path))
    assert "strongroom.app" in modules
    assert not {"awscrt", "strongroom.relay", "strongroom.s3.app", "strongroom.s3.shapes"} & modules


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ((), {}, "there are no root credentials"),
        (("--workers", "x"), ROOT, "--workers: 'x' is not a whole number"),
        ((), {**ROOT, "MINIO_SSE_MASTER_KEY": "name:hunter2"}, "MINIO_SSE_MASTER_KEY: the key has 7 characters"),
        ((), {**ROOT, "MINIO_SSE_AUTO_ENCRYPTION": "on"}, "it is on, but there is no master key"),
        ((), {**ROOT, "MINIO_SSE_VAULT_ENDPOINT": "http://v"}, "MINIO_SSE_VAULT_APPROLE_ID: it is not set"),
        ((), {**ROOT, "MINIO_WORM": "on"}, "MINIO_WORM: this release does not serve it"),
        ((), {**ROOT, "MINIO_IDENTITY_LDAP_SERVER_ADDR": "ldap"}, "this release does not serve it"),
        ((), {**ROOT, "STRONGROOM_LOGFORMAT": "json"}, "did you mean STRONGROOM_LOG_FORMAT?"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    command: Command, arguments: tuple[str, ...], environment: dict[str, str], says: str
) -> None:
    directory = command.home / "data"
    done = command.run("server", *arguments, str(directory), **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("strongroom: ") and done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "hunter2" not in done.stderr
    assert not directory.exists()


def test_an_unknown_flag_is_refused(command: Command) -> None:
    done = command.run("server", "--nonsense", "data")
    assert done.returncode == 2
    assert "No such option: --nonsense" in done.stderr


def test_half_a_certificate_is_refused(command: Command) -> None:
    certs = command.home / ".strongroom" / "certs"
    certs.mkdir(parents=True)
    (certs / "public.crt").write_text("")
    done = command.run("server", str(command.home / "data"), **ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("strongroom: STRONGROOM_CERTS_DIR (--certs-dir): ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("there", [True, False], ids=["empty", "missing"])
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_a_directory_of_certificates_that_is_named_has_to_hold_them(command: Command, there: bool, by: str) -> None:
    certs = command.home / "certs"
    if there:
        certs.mkdir()
    flags = ("--certs-dir", str(certs)) if by == "flag" else ()
    variables = {"STRONGROOM_CERTS_DIR": str(certs)} if by == "variable" else {}
    done = command.run("server", "--address", "127.0.0.1:0", *flags, str(command.home / "data"), **ROOT, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"there is no public.crt and no private.key in {certs}"
    assert done.stderr == f"strongroom: STRONGROOM_CERTS_DIR (--certs-dir): {said}\n"


def test_a_file_in_place_of_the_directory_is_refused(command: Command) -> None:
    (command.home / "file").write_text("")
    done = command.run("server", str(command.home / "file"), **ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is not a directory" in done.stderr


@pytest.mark.parametrize("arguments", [("server",), ("gateway", "nas"), ("audit",), ("adopt",)], ids=" ".join)
def test_an_empty_name_is_not_the_directory_that_one_is_in(command: Command, arguments: tuple[str, ...]) -> None:
    done = command.run(*arguments, "", **ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "it is empty" in done.stderr


@pytest.mark.parametrize("name", ["http://minio{1...4}/export", "https://s3.example.com", "drive{1...4}"])
def test_what_names_other_machines_or_several_drives_is_not_made_as_a_directory(command: Command, name: str) -> None:
    done = command.run("server", name, **ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "does not name one directory" in done.stderr


def test_a_directory_that_cannot_be_looked_into_is_named(command: Command) -> None:
    directory = command.home / ("long" * 100)
    done = command.run("server", str(directory), **ROOT)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(directory) in done.stderr


def test_a_port_that_is_taken_is_named(command: Command, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = command.run("server", "--address", address, str(tmp_path / "data"), **ROOT)
    assert done.returncode == 1
    said = f"cannot listen on {address}: another process listens there already"
    assert done.stderr == f"strongroom: STRONGROOM_ADDRESS (--address): {said}\n"


def test_a_host_that_is_not_here_is_named(command: Command, tmp_path: Path) -> None:
    done = command.run("server", "--address", "192.0.2.1:0", str(tmp_path / "data"), **ROOT)
    assert done.returncode == 1
    said = "cannot listen on 192.0.2.1:0: cannot assign requested address"
    assert done.stderr == f"strongroom: STRONGROOM_ADDRESS (--address): {said}\n"


def test_what_a_command_takes_is_named_alike_in_all_of_them() -> None:
    def commands(command: Any) -> Iterator[Any]:
        yield command
        for below in getattr(command, "commands", {}).values():
            yield from commands(below)

    taken = [
        (command.name, parameter)
        for command in commands(get_command(_app))
        for parameter in command.params
        if not getattr(parameter, "is_flag", False)
    ]
    assert len(taken) > 50
    odd = [(name, p.name, p.metavar) for name, p in taken if not p.metavar or p.metavar.startswith(("<", "["))]
    assert odd == []
    assert [(name, p.name) for name, p in taken if p.param_type_name == "argument" and not p.metavar.isupper()] == []


def test_too_few_open_files_are_one_line_that_says_what_to_raise(command: Command) -> None:
    command.before = ["prlimit", "--nofile=32"]
    done = command.run("server", str(command.home / "data"), **ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("strongroom: this process may have 32 files open, and 128 is the least: raise the")
    assert done.stderr.count("\n") == 1
