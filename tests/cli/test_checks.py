"""What is checked of a Vault before it is used."""

from __future__ import annotations

import pytest

from strongroom.cli.checks import check_vault
from strongroom.config import VaultPlace


@pytest.mark.parametrize(
    ("endpoint", "warned"),
    [
        ("http://vault.example.com:8200", True),
        ("http://192.0.2.7:8200", True),
        ("http://127.0.0.2:8200", False),
        ("http://[::1]:8200", False),
        ("http://localhost:8200", False),
        ("https://vault.example.com:8200", False),
    ],
)
def test_a_vault_is_warned_of_if_others_can_listen(
    endpoint: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    check_vault(VaultPlace(endpoint))
    assert bool(caplog.records) == warned
