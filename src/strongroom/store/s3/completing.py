"""The lock under which an upload is completed: a hidden object beside the upload, which all gateways see.

Only one completion of an upload may run at a time, since the record that it writes has to match the parts which the
backend puts together. The hidden object holds a random token, by which a completion recognises its own lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any

from strongroom.dates import parse_http_date
from strongroom.store.base import Condition
from strongroom.store.errors import ConditionFailed, NoSuchBucket, NoSuchObject, NoSuchUpload, StoreError, Unavailable
from strongroom.store.s3 import names
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.putting import condition_headers

LONGEST = 900.0
"""Seconds after which a completion counts as dead, so that another one removes its lock."""

_WAIT, _PAUSE = 3.0, 0.2
"""Seconds that a completion waits for another one of the same upload, and seconds between two looks."""

_AGAIN, _AGAIN_AT_MOST = 0.5, 8.0
"""Seconds until a failed release is tried again, doubled each time; and the most that it gets to."""


@dataclass(frozen=True, slots=True)
class _Holder:
    """A completion that holds a lock: its token, and whether it counts as dead."""

    token: bytes
    is_dead: bool


class CompletionLock:
    """The locks of all uploads of a backend."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._left: dict[tuple[str, str], set[bytes]] = {}
        self._releasing: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Give up releasing locks that could not be released yet."""
        for task in self._releasing:
            task.cancel()

    async def take(self, bucket: str, upload_id: str, over: Callable[[], Awaitable[bool]]) -> bytes:
        """Take the lock of an upload, waiting for another completion for a while; one that died loses the lock.

        Returns the token that :meth:`release` needs. Raises StoreError; NoSuchUpload if it is ``over`` (as
        :meth:`wait` has it), Unavailable if the other completion goes on. If it is cancelled, the lock is released,
        once the backend has answered: before that, nobody knows whether it was taken.
        """
        taking = asyncio.create_task(self._take(bucket, upload_id, over))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            self._keep(self._give_back(taking, bucket, upload_id))
            raise

    async def _take(self, bucket: str, upload_id: str, over: Callable[[], Awaitable[bool]]) -> bytes:
        name, own = names.completing_name(upload_id), os.urandom(16).hex().encode()
        beginning = Request("PUT", bucket, name, headers=condition_headers(Condition(absent=True)), body=own)
        until = time.monotonic() + _WAIT
        while True:
            try:
                await self._client.send(beginning)
                return own
            except ConditionFailed:
                pass
            except StoreError:  # the lock may have been written all the same
                await asyncio.shield(self._release_if_taken(bucket, upload_id, own))
                raise
            holder = await self._holder(bucket, upload_id)
            if holder is not None and holder.token == own:  # the answer to the first attempt was lost
                return own
            if holder is not None and holder.is_dead:
                with contextlib.suppress(StoreError):
                    await self._client.send(Request("DELETE", bucket, name))
            elif await over():
                raise NoSuchUpload(f"the upload {upload_id!r} has been completed")
            await _pause(upload_id, until)

    async def wait(self, bucket: str, upload_id: str, over: Callable[[], Awaitable[bool]]) -> None:
        """Wait until nobody completes an upload any more, for a while; ``over``: whether it has been completed though
        its lock may still be there. Raises StoreError; Unavailable if the completion goes on.
        """
        until = time.monotonic() + _WAIT
        while (holder := await self._holder(bucket, upload_id)) is not None:
            if holder.is_dead or await over():
                return
            await _pause(upload_id, until)

    async def _holder(self, bucket: str, upload_id: str) -> _Holder | None:
        """The completion that holds the lock of an upload; None if there is none. Raises StoreError."""
        try:
            answer = await self._client.send(Request("GET", bucket, names.completing_name(upload_id)))
        except NoSuchObject:
            return None
        begun, now = (parse_http_date(answer.headers.get(at, "")) for at in ("last-modified", "date"))
        return _Holder(answer.body, begun is not None and now is not None and (now - begun).total_seconds() > LONGEST)

    async def _release_if_taken(self, bucket: str, upload_id: str, own: bytes) -> None:
        """Release a lock that may have been taken although the backend answered with an error, or not at all."""
        try:
            await self._release_if(bucket, upload_id, {own})
        except StoreError:
            self._release_later(bucket, upload_id, own)

    async def _give_back(self, taking: asyncio.Task[bytes], bucket: str, upload_id: str) -> None:
        """Release a lock that nobody wants any more, once it is taken."""
        with contextlib.suppress(StoreError):
            await self.release(bucket, upload_id, await taking)

    async def release(self, bucket: str, upload_id: str, own: bytes) -> None:
        """Release the lock; if the backend fails, later. Raises nothing."""
        try:
            await self._client.send(Request("DELETE", bucket, names.completing_name(upload_id)))
        except StoreError:
            self._release_later(bucket, upload_id, own)

    async def _release_if(self, bucket: str, upload_id: str, own: Collection[bytes]) -> None:
        """Release the lock if it was taken with one of these tokens. Raises StoreError."""
        name = names.completing_name(upload_id)
        with contextlib.suppress(NoSuchObject, NoSuchBucket):
            answer = await self._client.send(Request("GET", bucket, name))
            if answer.body in own:
                await self._client.send(Request("DELETE", bucket, name))

    def _release_later(self, bucket: str, upload_id: str, own: bytes) -> None:
        """Release the lock when the backend is back: others would wait until this completion counts as dead."""
        left = self._left.setdefault((bucket, upload_id), set())
        left.add(own)
        if len(left) == 1:
            self._keep(self._keep_releasing(bucket, upload_id))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work that nobody waits for."""
        task = asyncio.create_task(work)
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _keep_releasing(self, bucket: str, upload_id: str) -> None:
        left, pause, until = self._left[bucket, upload_id], _AGAIN, time.monotonic() + LONGEST
        while left and time.monotonic() < until:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _AGAIN_AT_MOST)
            own = frozenset(left)
            with contextlib.suppress(StoreError):
                await self._release_if(bucket, upload_id, own)
                left -= own
        del self._left[bucket, upload_id]


async def _pause(upload_id: str, until: float) -> None:
    """Before the next look at a lock. Raises Unavailable after ``until``."""
    if time.monotonic() > until:
        raise Unavailable(f"the upload {upload_id!r} is being completed")
    await asyncio.sleep(_PAUSE)
