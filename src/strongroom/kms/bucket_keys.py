"""Bucket keys: data keys that are kept after the request, if a bucket asks for it, for as long as the operator allows.

Objects that are written to a bucket during that time share one data key, and the KMS is asked once for all reads of
them. The price: when a master key is disabled, what was opened shortly before still opens until the time is over.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

from strongroom.kms.base import KMS, Context, DataKey, KMSError, WrappedKey, context_bytes

MOST = 5000
"""The most keys that are kept for writing, and as many for reading; if there are more, the oldest is forgotten."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class _Moment(NamedTuple):
    """A time, by the clock of the event loop; and by one that also counts while the machine is suspended."""

    awake: float
    in_all: float

    @classmethod
    def now(cls) -> _Moment:
        return cls(asyncio.get_running_loop().time(), time.clock_gettime(_CLOCK))


class _Kept(Generic[K, V]):
    """Values, each of which is forgotten ``seconds`` after it was asked for: by a timer, not when somebody looks. While
    a machine is suspended, timers stand still, so whoever looks makes sure.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: OrderedDict[K, tuple[V, asyncio.TimerHandle, float]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._kept.get(key)
        if found is None:
            return None
        value, _, until = found
        if time.clock_gettime(_CLOCK) < until:
            return value
        self.forget(key)
        return None

    def keep(self, key: K, value: V, asked_at: _Moment) -> None:
        timer = asyncio.get_running_loop().call_at(asked_at.awake + self._seconds, self.forget, key)
        self.forget(key)
        self._kept[key] = value, timer, asked_at.in_all + self._seconds
        if len(self._kept) > MOST:
            self.forget(next(iter(self._kept)))

    def forget(self, key: K) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            found[1].cancel()


class BucketKeys:
    """Keeps data keys of ``kms`` for ``seconds``, counted from when the KMS was asked."""

    def __init__(self, kms: KMS, seconds: float) -> None:
        self._kms = kms
        self._writing: _Kept[tuple[str, bytes], DataKey] = _Kept(seconds)  # by master key and context
        self._reading: _Kept[tuple[WrappedKey, bytes], bytes] = _Kept(seconds)

    async def generate(self, context: Context, key_id: str) -> DataKey:
        """The data key for what is now written under this context and master key. Raises KMSError."""
        bound = _digest(context)
        data_key = self._writing.get((key_id, bound))
        if data_key is None:
            asked_at = _Moment.now()
            (data_key,) = await self._kms.generate([context], key_id)
            self._writing.keep((key_id, bound), data_key, asked_at)
            self._reading.keep((data_key.wrapped, bound), data_key.plaintext, asked_at)
        return data_key

    async def unwrap(self, wrapped: WrappedKey, context: Context) -> bytes:
        """The data key behind a wrapped one. Raises KMSError."""
        bound = _digest(context)
        plaintext = self._reading.get((wrapped, bound))
        if plaintext is None:
            asked_at = _Moment.now()
            (answer,) = await self._kms.unwrap([(wrapped, context)])
            if isinstance(answer, KMSError):
                raise answer
            plaintext = answer
            self._reading.keep((wrapped, bound), plaintext, asked_at)
        return plaintext


def _digest(context: Context) -> bytes:
    """A hash of a context, since clients may add thousands of bytes to it."""
    return hashlib.sha256(context_bytes(context)).digest()
