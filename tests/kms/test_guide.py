"""docs/kms.md, executed: every command in it, in order, in one shell, against a real OpenBao."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.openbao import bao_program
from tests.server import free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """What each block printed, by its number."""
    program = Path(bao_program())
    if not (program.parent / "aws").exists():
        assert not os.environ.get("CI"), "aws is missing; make tools installs it"
        pytest.skip("aws is missing; make tools installs it")
    home = tmp_path_factory.mktemp("guide")
    text = (ROOT / "docs" / "kms.md").read_text()
    for port in ("8200", "8201", "9000", "9100", "9200"):  # those of the page may be taken
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    blocks = [match[1] for match in BLOCK.finditer(text)]
    script = "set -euo pipefail\n" + "".join(f"echo '=== {n} ==='\n{block}" for n, block in enumerate(blocks))
    path = os.pathsep.join([str(Path(sys.executable).parent), str(program.parent), os.environ["PATH"]])
    with (home / "output").open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=home,
            env={"PATH": path, "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            code = shell.wait(900)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGTERM)
    printed = (home / "output").read_text()
    assert code == 0, printed + "".join(file.read_text()[-2000:] for file in home.glob("*.log"))
    parts = re.split(r"^=== \d+ ===\n", printed, flags=re.MULTILINE)[1:]
    assert len(parts) == len(blocks)
    return dict(enumerate(parts))


def printed_by(output: dict[int, str], text: str) -> str:
    """What the first block printed that holds a text."""
    blocks = BLOCK.findall((ROOT / "docs" / "kms.md").read_text())
    return output[next(number for number, block in enumerate(blocks) if text in block)]


def test_the_settings_that_setup_prints_work(output: dict[int, str]) -> None:
    assert printed_by(output, "--dry-run").count("would ") == 6
    assert "MINIO_SSE_VAULT_APPROLE_SECRET_FILE=" in printed_by(output, "--dry-run")
    assert "yes" in printed_by(output, ". ./kms.env")
    assert "yes" in printed_by(output, "mkdir authorities")


def test_what_is_stored_is_encrypted(output: dict[int, str]) -> None:
    shown = printed_by(output, "head-object")
    assert '"AES256"' in shown and "The words that nobody should find" in shown


def test_a_disabled_key_denies_and_an_enabled_one_grants(output: dict[int, str]) -> None:
    shown = printed_by(output, "kms key disable")
    assert shown.count("denied") >= 2 and "KMS.DisabledException" in shown
    assert shown.rstrip().endswith("The words that nobody should find")


def test_a_restart_of_the_kms_is_over_when_it_is_unsealed(output: dict[int, str]) -> None:
    shown = printed_by(output, "kill %1")
    assert "not now" in shown and "503" in shown
    assert shown.rstrip().endswith("The words that nobody should find")


def test_the_key_is_rotated_and_the_secret_id_replaced(output: dict[int, str]) -> None:
    assert re.search(r"my-key +aes256-gcm96 +2 ", printed_by(output, "kms key rotate"))


def test_the_move_from_a_static_key_leaves_both_kinds_readable(output: dict[int, str]) -> None:
    shown = printed_by(output, "STRONGROOM_READ_KEYS_FILE=")
    assert shown.count("The words that nobody should find") == 2 and "old-key" in shown


def test_a_namespace_is_set_up_and_works(output: dict[int, str]) -> None:
    assert "yes" in printed_by(output, "bao namespace create")


def test_the_gateway_encrypts_once_more_than_its_backend(output: dict[int, str]) -> None:
    assert printed_by(output, "gateway s3 --address").rstrip().endswith("The words that nobody should find")
    assert '"AES256"' in printed_by(output, "kill $gateway")
