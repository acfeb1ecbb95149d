"""Tells the service manager that started the server when it serves, reads its certificate anew, and ends.

The protocol is systemd's (https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html): a datagram of lines
to the socket that NOTIFY_SOCKET names. It is meant for units of ``Type=notify`` and ``Type=notify-reload``.
"""

from __future__ import annotations

import logging
import socket
import time

_log = logging.getLogger("strongroom.serving")


class ServiceManager:
    """The service manager behind a socket: a path, or "@" and the name of an abstract one; "" where there is none."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def ready(self) -> None:
        """The server serves; or serves again as its files say now."""
        self._say("READY=1")

    def reloading(self) -> None:
        """The server reads its certificate anew, and will be ready next."""
        self._say("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The server ends."""
        self._say("STOPPING=1")

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.setblocking(False)
                end.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:  # a kind of socket that is not known here, too: "vsock:…" is no path
            _log.warning(
                "the service manager cannot be told", extra={"state": lines[0], "reason": error.strerror or str(error)}
            )
