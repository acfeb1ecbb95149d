"""What ``strongroom kms`` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from strongroom.config import VaultPlace
from strongroom.config import table as settings
from strongroom.kms.base import KMSStatus
from strongroom.kms.vault_admin import KeyState, Plan, RoleCredentials, Step, Unread
from strongroom.report import shown


def statuses(found: Sequence[KMSStatus], as_json: bool) -> None:
    """Print the status of each provider."""
    if as_json:
        _json([asdict(status) | {"ok": status.error is None} for status in found])
        return
    table = _table("Provider", "Master key", "Endpoint", "Works", "Wrap and unwrap", "Token lives")
    for status in found:
        took = f"{status.seconds * 1000:.1f} ms" if status.seconds is not None and not status.error else ""
        lives = f"{status.token_seconds:.0f} s" if status.token_seconds is not None else ""
        table.add_row(status.provider, status.key_id, status.endpoint, "no" if status.error else "yes", took, lives)
    _print(table)
    for status in found:
        if status.error:
            print(shown(f"{status.provider}, {status.key_id}: {status.error}"))


def keys(found: Sequence[KeyState | Unread], as_json: bool) -> None:
    """Print keys; for those that could not be read, the reason."""
    if as_json:
        _json([asdict(key) for key in found])
        return
    table = _table("Key", "Type", "Version", "Unwraps from version", "State")
    for key in found:
        if isinstance(key, Unread):
            table.add_row(escape(shown(key.name)), "", "", "", "unknown")
        else:
            kind, state = escape(shown(key.kind)), "disabled" if key.disabled else "enabled"
            table.add_row(key.name, kind, str(key.latest), str(key.least), state)
    _print(table)
    for key in found:
        if isinstance(key, Unread):
            print(shown(f"{key.name}: {key.error}"))


def steps(found: Sequence[Step], as_json: bool) -> None:
    """Print what would be done."""
    if as_json:
        _json([asdict(step) for step in found])
        return
    for step in found:
        print(("would " if step.needed else "there already: ") + step.what)


def setup(
    done: Sequence[Step],
    place: VaultPlace,
    plan: Plan,
    credentials: RoleCredentials,
    secret_id_file: Path | None,
    as_json: bool,
) -> None:
    """Print what was done (to standard error) and the settings for the server (to standard output, for a file)."""
    values = _settings(place, plan, credentials, secret_id_file)
    if as_json:
        _json({"steps": [asdict(step) for step in done], "settings": values})
        return
    for step in done:
        print(("done: " if step.needed else "there already: ") + step.what, file=sys.stderr)
    for name, value in values.items():
        print(f"{name}={shlex.quote(value)}")


def _settings(
    place: VaultPlace, plan: Plan, credentials: RoleCredentials, secret_id_file: Path | None
) -> dict[str, str]:
    endpoint, auth_type, role, secret, key, namespace, ca_path, cert, cert_key = (
        setting.variables[0]
        for setting in (
            settings.VAULT_ENDPOINT,
            settings.VAULT_AUTH_TYPE,
            settings.VAULT_APPROLE_ID,
            settings.VAULT_APPROLE_SECRET,
            settings.VAULT_KEY_NAME,
            settings.VAULT_NAMESPACE,
            settings.VAULT_CAPATH,
            settings.VAULT_CLIENT_CERT,
            settings.VAULT_CLIENT_KEY,
        )
    )
    values = {
        endpoint: place.endpoint,
        auth_type: "approle",
        role: credentials.role_id.reveal().decode(),
        key: plan.key,
    }
    if secret_id_file is not None:
        values[f"{secret}_FILE"] = str(secret_id_file)
    else:
        values[secret] = credentials.secret_id.reveal().decode()
    if place.namespace:
        values[namespace] = place.namespace
    for name, path in ((ca_path, place.ca_path), (cert, place.client_cert), (cert_key, place.client_key)):
        if path is not None:
            values[name] = str(path.absolute())
    return values


def _json(value: object) -> None:
    print(json.dumps(value, indent=2))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    # If the output is not a terminal, a program reads it: lines must not be wrapped.
    Console(highlight=False, width=None if sys.stdout.isatty() else 300).print(table)
