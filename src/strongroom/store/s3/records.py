"""Hidden records: those that do not stand in the metadata of their object. Written before the object, read with it."""

from __future__ import annotations

from dataclasses import replace

from strongroom.store.base import Stored
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchObject
from strongroom.store.s3 import names
from strongroom.store.s3.client import Client, Request
from strongroom.store.s3.metadata import Described, HiddenRecord, decode_hidden


class Unrecorded(Damaged):
    """The record of the object of this ``identity`` is missing, damaged or another's; or the object was replaced since
    it was seen, and its record removed.
    """

    def __init__(self, message: str, identity: str) -> None:
        super().__init__(message)
        self.identity = identity


async def write_hidden(client: Client, bucket: str, object_id: str, hidden: HiddenRecord) -> None:
    """Lay a record down under an id. Raises StoreError."""
    await client.send(_writing(bucket, object_id, hidden))


async def write_or_replace_hidden(client: Client, bucket: str, object_id: str, hidden: HiddenRecord) -> bool:
    """Lay a record down, also in the place of another; whether it is certain that there was none. Raises StoreError."""
    writing = _writing(bucket, object_id, hidden)
    only_first = replace(writing, headers={"if-none-match": "*"})
    try:
        await client.send(only_first)
    except ConditionFailed:
        await client.send(writing)
        return False
    return True


def _writing(bucket: str, object_id: str, hidden: HiddenRecord) -> Request:
    return Request("PUT", bucket, names.record_name(object_id), body=hidden.encode())


async def read_hidden(client: Client, bucket: str, described: Described) -> HiddenRecord:
    """The hidden record of an object. Raises Damaged where there is none, or what is there is none."""
    try:
        answer = await client.send(Request("GET", bucket, names.record_name(described.object_id)))
        return decode_hidden(answer.body)
    except NoSuchObject:
        raise Damaged(f"the record of {bucket}/{described.key} is missing") from None
    except ValueError as error:
        raise Damaged(f"the record of {bucket}/{described.key} is damaged: {error}") from error


async def remove_hidden(client: Client, bucket: str, object_id: str) -> None:
    """Remove a record that no object points to any more. Raises StoreError."""
    await client.send(Request("DELETE", bucket, names.record_name(object_id)))


async def complete(client: Client, bucket: str, described: Described) -> tuple[Stored, HiddenRecord | None]:
    """The object of the store protocol, with its hidden record where it has one. Raises Unrecorded."""
    if described.record is not None:
        return described.stored(), None
    try:
        if not names.is_id(described.object_id):
            raise Damaged(f"the metadata of {bucket}/{described.key} name no record")
        hidden = await read_hidden(client, bucket, described)
        return described.stored(hidden), hidden
    except Damaged as error:
        raise Unrecorded(str(error), described.identity) from error
