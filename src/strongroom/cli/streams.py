"""Makes the standard streams safe to use, in whatever state the process was started with them."""

from __future__ import annotations

import io
import os
import sys


def ready_streams() -> None:
    """Open those of the three descriptors that are closed, and let standard output escape what it cannot encode.

    The number of a closed descriptor would go to whatever is opened next: a listening socket, or the memory that
    workers share; what is printed and logged would end there. And a file's name may be in any encoding, or in none.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up_output() -> None:
    """Discard what is printed from now on. Otherwise Python would try to flush the failed output again at exit."""
    sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
