"""Small file systems of their own, for tests that fill or lose them, or see what others do."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import comes

IMAGES = {
    "ext4": (["mkfs.ext4", "-q"], 64),
    "vfat": (["mkfs.vfat"], 64),
    "xfs": (["mkfs.xfs", "-q"], 320),
    "btrfs": (["mkfs.btrfs", "-q"], 128),
}
"""Kinds of file systems: the command that makes one, and how many MiB it needs."""

IMAGE = "image"
"""The name of the file that holds a file system which :func:`image_mounted` mounts."""

_PROGRAMS = "/usr/sbin:/sbin:/usr/bin:/bin"
_ENVIRONMENT = {"PATH": _PROGRAMS}
_SHUT_DOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NOT_FLUSHED = 2


@contextmanager
def small_file_system(point: Path, mebibytes: int, inodes: int = 0) -> Iterator[Path]:
    """A file system in memory, mounted at ``point``, with as many inodes as it likes or so many; skips the test where
    nothing may be mounted.
    """
    point.mkdir()
    command = [
        "mount",
        "-t",
        "tmpfs",
        "-o",
        f"size={mebibytes}m" + (f",nr_inodes={inodes}" if inodes else ""),
        "none",
        str(point),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def remount_read_only(point: Path) -> None:
    """Let nothing be written to a file system any more, as soon as no file is open for writing."""
    command = ["mount", "-o", "remount,ro", str(point)]
    assert comes(lambda: subprocess.run(command, capture_output=True).returncode == 0)


@contextmanager
def image_mounted(kind: str, directory: Path, mebibytes: int = 0) -> Iterator[Path]:
    """A file system of a kind on a loop device, of the least size or so many MiB, mounted below a directory; skips the
    test where there can be none.
    """
    command, least = IMAGES[kind]
    if os.geteuid() != 0 or shutil.which(command[0], path=_PROGRAMS) is None:
        pytest.skip(f"{command[0]} needs to be installed, and run by root")
    image = directory / IMAGE
    with image.open("wb") as file:
        file.truncate((mebibytes or least) * 1024 * 1024)
    subprocess.run([*command, str(image)], check=True, env=_ENVIRONMENT, capture_output=True)
    with mounted(image, directory / "mounted") as point:
        yield point


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[Path]:
    """A file system that lies in a file, mounted at ``point``; skips the test where it cannot be mounted."""
    point.mkdir()
    done = subprocess.run(["mount", "-o", "loop", str(image), str(point)], env=_ENVIRONMENT, capture_output=True)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True, env=_ENVIRONMENT)


def snapshot(image: Path, copy: Path) -> None:
    """Copy an image at one moment, while it is mounted and written to: what is on its disk by then, and nothing of what
    the kernel has not written yet. The image must lie on an XFS or btrfs.
    """
    subprocess.run(["cp", "--reflink=always", str(image), str(copy)], check=True)


def lose(point: Path) -> None:
    """Have an ext4 behave as one whose disk is gone."""
    descriptor = os.open(point, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", _NOT_FLUSHED))
    finally:
        os.close(descriptor)
