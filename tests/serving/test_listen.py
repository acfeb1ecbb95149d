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
