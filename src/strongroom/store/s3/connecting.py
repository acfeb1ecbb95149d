"""Opens connections to hosts: finds their addresses, and does TLS.

If the backend closes the connection after every answer (versitygw does by default), this is part of each request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from aiohappyeyeballs import AddrInfoType, start_connection

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_SECONDS = 10.0

_KNOWN, _KNOWN_SECONDS = 1000, 30.0  # hosts (each bucket may be one) whose addresses are remembered, and for how long
_NEXT_ADDRESS = 0.25  # seconds after which the next address of a host is tried in parallel (RFC 8305)
_PORTS = {False: 80, True: 443}
_PROBES = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""Probes of a silent connection: a host that is gone is noticed after a minute, and devices on the way do not drop the
connection."""


class Unreachable(OSError):
    """No connection could be opened: nothing was sent."""


class Connector:
    """Opens connections; ``tls`` is the context for TLS, None for plain HTTP."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._known: dict[str, tuple[float, deque[AddrInfoType]]] = {}

    async def open(self, host: str, protocol: Callable[[], P]) -> P:
        """A connection to a host (``name``, ``name:port``, ``[address]:port``). Raises Unreachable, TimeoutError."""
        name, port = _address(host, self._tls is not None)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await self._open(name, await self._addresses(host, name, port), protocol)
        except TimeoutError:
            self._known.pop(host, None)
            raise TimeoutError(f"no connection to {host} in {CONNECT_SECONDS:.0f} seconds") from None
        except (OSError, UnicodeError) as error:
            self._known.pop(host, None)
            setting = " (see STRONGROOM_BACKEND_CA)" if isinstance(error, ssl.SSLCertVerificationError) else ""
            raise Unreachable(f"{host}: {error}{setting}") from error

    async def _addresses(self, host: str, name: str, port: int) -> deque[AddrInfoType]:
        """The addresses of a host, rotated by one with each call."""
        now = self._loop.time()
        until, addresses = self._known.get(host, (now, deque[AddrInfoType]()))
        if until <= now:
            addresses = deque(await self._loop.getaddrinfo(name, port, type=socket.SOCK_STREAM))
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[host] = now + _KNOWN_SECONDS, addresses
        addresses.rotate(-1)
        return addresses

    async def _open(self, name: str, addresses: deque[AddrInfoType], protocol: Callable[[], P]) -> P:
        tls: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls, "server_hostname": name}
        if len(addresses) == 1:  # uvloop's own way takes a third of the time
            address, port = addresses[0][4][:2]
            return _probed(await self._loop.create_connection(protocol, str(address), int(port), **tls))
        sock = await start_connection(list(addresses), happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _probed(await self._loop.create_connection(protocol, sock=sock, **tls))
        except BaseException:
            sock.close()
            raise


def _probed(made: tuple[asyncio.Transport, P]) -> P:
    """The protocol of a connection, after telling the kernel to probe it."""
    transport, protocol = made
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _PROBES:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return protocol


def _address(host: str, secure: bool) -> tuple[str, int]:
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = host, ""
    return name.removeprefix("[").removesuffix("]"), int(port or _PORTS[secure])
