"""Which addresses can be listened on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from strongroom.config import Address
from strongroom.serving.listen import listen


def test_a_link_local_address_is_listened_on_at_its_interface() -> None:
    known = Path("/proc/net/if_inet6")
    lines = [line.split() for line in known.read_text().splitlines()] if known.exists() else []
    local = [(digits, name) for digits, _, _, scope, _, name in lines if scope == "20"]
    if not local:
        pytest.skip("no interface has a link-local address here")
    digits, name = local[0]
    host = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits))
    (opened,) = listen(Address(f"{host}%{name}", 0))
    with opened:
        assert opened.getsockname()[3] == socket.if_nametoindex(name)


def test_all_of_ipv6_is_all_of_ipv4_too() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("there is no IPv6 here")
    (opened,) = listen(Address("::", 0))
    port = opened.getsockname()[1]
    with opened, socket.create_connection(("127.0.0.1", port), 5), socket.create_connection(("::1", port), 5):
        pass
