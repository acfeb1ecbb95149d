"""The master key of --dev: made once, kept well, never guessed at."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom.cli.devkey import dev_master_key
from strongroom.config import SettingError


def test_the_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = dev_master_key(tmp_path / "keys", tmp_path / "data")
    assert len(first.key.reveal()) == 32
    assert dev_master_key(tmp_path / "keys", tmp_path / "other data") == first


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    dev_master_key(tmp_path / "keys", tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "keys").iterdir()] == [0o600]


def test_servers_that_make_it_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: dev_master_key(tmp_path / "keys", tmp_path / "data"), range(16)))
    assert all(key == keys[0] for key in keys)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    dev_master_key(tmp_path, tmp_path / "data")
    (tmp_path / "master.key").chmod(0o640)
    with pytest.raises(SettingError, match="can be read by others; chmod 600 it"):
        dev_master_key(tmp_path, tmp_path / "data")


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    dev_master_key(tmp_path / "elsewhere", tmp_path / "data")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "master.key").symlink_to(tmp_path / "elsewhere" / "master.key")
    with pytest.raises(SettingError, match="cannot keep a master key"):
        dev_master_key(tmp_path / "keys", tmp_path / "data")


def test_a_spoilt_key_is_refused_and_not_replaced(tmp_path: Path) -> None:
    dev_master_key(tmp_path, tmp_path / "data")
    (tmp_path / "master.key").write_text("spoilt")
    with pytest.raises(SettingError, match="holds no master key"):
        dev_master_key(tmp_path, tmp_path / "data")
    assert (tmp_path / "master.key").read_text() == "spoilt"


def test_the_key_never_lies_with_the_data_that_it_encrypts(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="would lie in the data directory"):
        dev_master_key(tmp_path / ".strongroom" / "dev", tmp_path)
    assert not (tmp_path / ".strongroom").exists()
