"""Writes on the condition of an ETag, where the store refuses them at the very moment of the write.

The store compares identities, which change with each new record: tags, another master key. The client asked for an
ETag, which is still the same then. To be told that somebody has replaced the object would be false.

Source: "Adding preconditions to S3 operations with conditional requests" in the Amazon S3 User Guide (409 and 412).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from strongroom.sealed.context import object_name
from strongroom.sealed.objects import Precondition
from strongroom.store.base import Condition
from strongroom.store.errors import ConditionFailed, ObjectChanged

Look = Callable[[str, str, Precondition], Awaitable[Condition]]
"""SealedStore.condition."""


@asynccontextmanager
async def on_condition(look: Look, bucket: str, key: str, precondition: Precondition) -> AsyncIterator[Condition]:
    """The condition under which a write is made within this context.

    Raises as ``look`` does; ObjectChanged where the store refuses the write, and the object is as the client asked
    nevertheless; ConditionFailed where the store refuses one that asks for no object.
    """
    when = await look(bucket, key, precondition)
    try:
        yield when
    except ConditionFailed as error:
        if precondition.if_match is None:
            raise
        await look(bucket, key, precondition)  # raises where there is another object by now, or none
        raise ObjectChanged(f"{object_name(bucket, key)!r} got another record at this moment") from error
