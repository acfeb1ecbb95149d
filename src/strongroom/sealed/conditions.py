"""Writes on the condition of an ETag, where the store refuses them at the very moment of the write.

The store compares identities, which change with each new record: tags, another master key. The client asked for an
ETag, which is still the same then. To be told that somebody has replaced the object would be false.

Source: "Adding preconditions to S3 operations with conditional requests" in the Amazon S3 User Guide (409 and 412).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType

from strongroom.sealed.context import object_name
from strongroom.sealed.objects import Precondition
from strongroom.store.base import Condition
from strongroom.store.errors import ConditionFailed, ObjectChanged

Look = Callable[[str, str, Precondition], Awaitable[Condition]]
"""SealedStore.condition."""


class OnCondition:
    """A context in which a write is made, which gives the condition that the store must check for the write.

    Raises as ``look`` does; ObjectChanged where the store refuses the write, and the object is as the client asked
    nevertheless, or was to be the very one that was seen; ConditionFailed where it refuses one that asks for no object.
    """

    __slots__ = ("_bucket", "_key", "_look", "_precondition")

    def __init__(self, look: Look, bucket: str, key: str, precondition: Precondition) -> None:
        self._look = look
        self._bucket = bucket
        self._key = key
        self._precondition = precondition

    async def __aenter__(self) -> Condition:
        return await self._look(self._bucket, self._key, self._precondition)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asked = self._precondition
        if not isinstance(error, ConditionFailed) or (asked.if_match is None and asked.identity is None):
            return
        await self._look(self._bucket, self._key, asked)  # raises if the client asked for another object than is there
        raise ObjectChanged(f"{object_name(self._bucket, self._key)!r} was written at this moment") from error
