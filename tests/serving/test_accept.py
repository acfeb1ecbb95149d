"""Connections that wait to be accepted when a server ends. The server side runs in the process of the tests."""

from __future__ import annotations

import asyncio
import socket

import pytest
import uvloop

from strongroom.serving.accept import Acceptor, Load


def test_connections_that_wait_when_the_server_ends_are_accepted_and_no_others() -> None:
    async def end() -> None:
        begun: list[socket.socket] = []

        async def begin(connection: socket.socket) -> None:
            begun.append(connection)

        listening = socket.create_server(("127.0.0.1", 0))
        address = listening.getsockname()
        acceptor = Acceptor(listening, begin, lambda: len(begun), Load([0], 0), most=9)
        waiting = [socket.create_connection(address) for _ in range(3)]
        acceptor.close()
        await asyncio.sleep(0)
        assert {connection.getpeername() for connection in begun} == {each.getsockname() for each in waiting}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        for connection in (*begun, *waiting):
            connection.close()

    uvloop.run(end())
