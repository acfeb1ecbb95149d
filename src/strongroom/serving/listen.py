"""The listening sockets, which all workers share."""

from __future__ import annotations

import errno
import os
import socket

from strongroom.config import Address

BACKLOG = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

_NOT_HERE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line and says why."""


def listen(address: Address) -> list[socket.socket]:
    """Listening sockets for all addresses that ``address`` stands for, on one port. Raises CannotListen."""
    try:
        if not address.host:
            return [_everywhere(address.port)]
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {_reason(error)}") from None
    return _each(address, [(family, str(where[0]), where[2:]) for family, _, _, _, where in found])


def _everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NOT_HERE:  # IPv6 compiled in, but switched off
                raise
    return socket.create_server(("", port), backlog=BACKLOG)


def _each(address: Address, places: list[tuple[int, str, tuple[int, ...]]]) -> list[socket.socket]:
    """``places``: families, hosts, and what else an address consists of (a link-local one has an interface)."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    port = address.port
    for family, host, more in dict.fromkeys(places):
        try:
            both = host == "::" and socket.has_dualstack_ipv6()  # IPv4 too, as in MinIO; the banner says so
            where = (host, port, *more)
            sockets.append(socket.create_server(where, family=family, backlog=BACKLOG, dualstack_ipv6=both))
        except OSError as error:
            if error.errno in _NOT_HERE:  # "localhost" may mean ::1 on a machine without IPv6
                missing = error
                continue
            for opened in sockets:
                opened.close()
            raise CannotListen(f"cannot listen on {address}: {_reason(error)}") from None
        port = sockets[0].getsockname()[1]
    if missing and not sockets:
        raise CannotListen(f"cannot listen on {address}: {_reason(missing)}")
    return sockets


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another process listens there already"
    # create_server repeats the address in its text; gaierror has numbers that strerror does not know.
    if isinstance(error, socket.gaierror) or error.errno is None:
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()
