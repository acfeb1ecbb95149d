"""Bytes in memory: the type of what functions take, and memory for bytes that are about to come."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

Buffer = bytes | bytearray | memoryview
"""Bytes, wherever they lie."""

_make: Callable[[None, int], bytearray] = ctypes.pythonapi.PyByteArray_FromStringAndSize
_make.restype = ctypes.py_object  # type: ignore[attr-defined]
_make.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)  # type: ignore[attr-defined]


def unfilled(size: int) -> bytearray:
    """``size`` bytes of memory as it is found, for whoever fills all of them before anybody else sees them.

    ``bytearray(size)`` writes zeros first: for a buffer of some packages a fifth of what it costs to seal or open them.
    """
    return _make(None, size)
