"""How many cores this process may use: those that it may run on, limited by the quota of its container.

Reads the control groups of Linux, version 1 or 2 (``cpu.max``: "Control Group v2" in the kernel's documentation).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath


def usable_cores(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """The number of cores, at least one; a fraction of a core counts as one.

    ``groups`` is where control groups are mounted, ``own`` the file that names those of this process.
    """
    cores = len(os.sched_getaffinity(0))
    for quota in _quotas(groups, own):
        cores = min(cores, ceil(quota))
    return max(cores, 1)


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """The quotas, in cores, of this process's control group and of all groups above it."""
    for line in _text(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0":
            mounted, read = groups, _of_version_2
        elif "cpu" in controllers.split(","):
            mounted, read = groups / "cpu", _of_version_1
        else:
            continue
        path = PurePosixPath(name.lstrip("/"))
        for group in (path, *path.parents):  # in a container, the last one, "", is the container's own
            quota = read(mounted / group)
            if quota is not None:
                yield quota


def _of_version_2(group: Path) -> float | None:
    quota, _, period = _text(group / "cpu.max").partition(" ")
    return _ratio(quota, period)


def _of_version_1(group: Path) -> float | None:
    return _ratio(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us"))


def _ratio(quota: str, period: str) -> float | None:
    """Cores, from microseconds of processor time and of the period; None if there is no limit ("max", -1)."""
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
