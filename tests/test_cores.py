"""How many workers there are where nobody says it: as many as there are cores to be had, in a container as well."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from strongroom.config.cores import usable_cores


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def found(tmp_path: Path, own: str, files: dict[str, str]) -> int:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return usable_cores(tmp_path / "groups", tmp_path / "own")


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000\n", 16),
        ("50000 100000\n", 1),
        ("150000 100000\n", 2),
        ("400000 100000\n", 4),
        ("9900000 100000\n", 16),
        ("0 0\n", 16),
        ("", 16),
    ],
)
def test_a_container_s_quota_counts(tmp_path: Path, limit: str, cores: int) -> None:
    assert found(tmp_path, "0::/\n", {"cpu.max": limit}) == cores


def test_the_least_quota_of_all_groups_around_counts(tmp_path: Path) -> None:
    files = {
        "system.slice/cpu.max": "300000 100000\n",
        "system.slice/strongroom.service/cpu.max": "max 100000\n",
        "other.slice/cpu.max": "100000 100000\n",
    }
    assert found(tmp_path, "0::/system.slice/strongroom.service\n", files) == 3


@pytest.mark.parametrize("place", ["cpu", "cpu/docker/1f2e"])
def test_quotas_of_version_1_count_too(tmp_path: Path, place: str) -> None:
    own = "4:memory:/docker/1f2e\n3:cpu,cpuacct:/docker/1f2e\n0::/docker/1f2e\n"
    files = {f"{place}/cpu.cfs_quota_us": "250000\n", f"{place}/cpu.cfs_period_us": "100000\n"}
    assert found(tmp_path, own, files) == 3
    assert found(tmp_path, own, {f"{place}/cpu.cfs_quota_us": "-1\n"}) == 16


def test_where_there_are_no_control_groups_the_cores_count(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "nothing") == 16
