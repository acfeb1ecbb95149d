"""``docs/settings.md``, written from the table: ``python -m strongroom.config.document > docs/settings.md``."""

from __future__ import annotations

from strongroom.config.setting import Setting
from strongroom.config.table import TABLE

_HEAD = """\
# Settings

<!-- Written by `python -m strongroom.config.document`; a test compares. Change the table in the code instead. -->

Settings come from the environment or from flags of the commands that serve; a flag stands above its variable. Where one
setting has several names, they mean the same, and two that contradict each other stop the start. So does every value
that is wrong, with one line that says which and what a right one looks like.

What is secret has no flag for its value, since everybody on the machine can see a command line: give the variable, or
the variable with `_FILE` behind its name, or the flag; those two take the name of a Docker secret (a file under
`/run/secrets`) or a path. A line break at the end of the file does not count. Credentials and keys that are given
twice must be the same, flags included.

There is one KMS that wraps new data keys: a static master key, or a Vault (all of `MINIO_SSE_VAULT_ENDPOINT`,
`_APPROLE_ID`, `_APPROLE_SECRET` and `_KEY_NAME`); two are an error. [kms.md](kms.md) is the guide.

`on` and `off` may also be written `true`/`false` or `1`/`0`. A variable that is empty counts as not set; where it is to
hold a secret, it stops the start.

Settings of MinIO that name a KMS or encryption which this release or this command does not serve (`MINIO_KMS_KES_…` and
the like; `MINIO_GATEWAY_SSE` anywhere but at `strongroom gateway s3`) stop the start: ignoring them would store in
plaintext what was meant to be encrypted. So do those that say who may do what, or that nobody may remove anything
(`MINIO_IDENTITY_…`, `MINIO_POLICY_…`, `MINIO_ETCD_…`, `MINIO_WORM`), unless they are `off`. Unknown `STRONGROOM_…`
variables stop it too, except those that Kubernetes sets for a Service of that name (`STRONGROOM_SERVICE_HOST`, …).
Other `MINIO_…` variables are ignored.

Jobs (`rewrap`, `audit`, `encrypt`, `adopt`) take the same settings, from the environment only. `import` and `export`
have variables of their own, `STRONGROOM_SOURCE_ACCESS_KEY`, `STRONGROOM_SOURCE_SECRET_KEY`, and with `TARGET` in the
place of `SOURCE`, each also with `_FILE`: the credentials of the two places ([migrate.md](migrate.md)).
"""


def markdown() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *(_section(setting) for setting in TABLE)])


def _section(setting: Setting[object]) -> str:
    names = ", ".join(f"`{name}`" for name in setting.sources)
    flag = f"`{setting.flag}`, `--no-{setting.flag[2:]}`" if setting.on_off else f"`{setting.flag} {_metavar(setting)}`"
    return "\n".join(
        [
            f"## `{setting.variables[0]}`",
            "",
            setting.help,
            "",
            f"- Variable: {names}",
            f"- Flag: {flag}",
            f"- Default: {setting.default}",
            f"- Example: `{setting.example}`",
            *(["- For: `strongroom gateway s3`"] if setting.backend else []),
            "",
        ]
    )


def _metavar(setting: Setting[object]) -> str:
    return "FILE" if setting.secret else setting.metavar


if __name__ == "__main__":
    print(markdown(), end="")
