"""The standard streams, made fit for whatever a service was started with."""

from __future__ import annotations

import io
import os
import sys


def ready_streams() -> None:
    """Have all three descriptors open, and no text that standard output cannot show.

    The place of one that is closed would go to the next thing that is opened: to a listening socket, or to memory that
    workers share, into which they would then print and log. And the name of a file may be in any encoding, or in none.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up_output() -> None:
    """Have what is printed from now on go nowhere: what could not be printed would be tried once more at the end."""
    sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
