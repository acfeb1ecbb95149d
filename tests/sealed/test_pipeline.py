"""However a body is cut, the same bytes are sealed, hashed and written, whether or not a thread writes them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.buffers import Buffer
from strongroom.sealed.dare import PAYLOAD, Opener, Sealer, new_nonce
from strongroom.sealed.pipeline import BLOCK, BodyPipeline
from strongroom.threads import Threads

KEY = bytes(range(32))
WHOLE = os.urandom(2 * BLOCK + 3 * PAYLOAD)


class Collected:
    """A sink that keeps what it gets, in a thread or not."""

    def __init__(self, in_threads: bool) -> None:
        self.stored = b""
        self.last = False
        self.append: Callable[[Buffer, bool], None] | None = self._append if in_threads else None

    async def write(self, data: Buffer) -> None:
        self._append(data, False)

    def _append(self, data: Buffer, last: bool) -> None:
        assert not self.last
        self.stored += data
        self.last = last


async def pour(pieces: Sequence[bytes], sink: Collected, sealer: Sealer | None) -> bytes | None:
    with Threads(1, "test") as pool:
        pipeline = BodyPipeline(pool, sink, sealer, md5=True)
        for piece in pieces:
            await pipeline.write(piece)
        await pipeline.finish()
    return pipeline.md5


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("in_threads", [True, False])
@settings(max_examples=15)
@given(
    size=st.sampled_from([0, 1, PAYLOAD, PAYLOAD + 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, len(WHOLE)])
    | st.integers(0, len(WHOLE)),
    piece=st.sampled_from([70_000, PAYLOAD, 4 * PAYLOAD, 3 * BLOCK]) | st.integers(20_000, 3 * BLOCK),
)
def test_what_is_stored_is_what_came(sealed: bool, in_threads: bool, size: int, piece: int) -> None:
    content = WHOLE[:size]
    sink = Collected(in_threads)
    pieces = [content[at : at + piece] for at in range(0, size, piece)]
    md5 = asyncio.run(pour(pieces, sink, Sealer(KEY, new_nonce()) if sealed else None))
    assert (bytes(Opener(KEY, size).open(sink.stored)) if sealed else sink.stored) == content
    assert md5 == hashlib.md5(content).digest()
    assert sink.last == (in_threads and size > PAYLOAD)
