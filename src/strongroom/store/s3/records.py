"""Hidden records: those that are not in the metadata of their object. Written before the object, read with it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from strongroom.store.base import Stored
from strongroom.store.errors import ConditionFailed, Damaged, NoSuchObject, Refused, Unavailable
from strongroom.store.s3 import names, xml
from strongroom.store.s3.client import Client
from strongroom.store.s3.messages import Request
from strongroom.store.s3.metadata import Described, HiddenRecord, decode_hidden

_BATCH_DELETE = 1000


class Unrecorded(Damaged):
    """The record of the object with this ``identity`` is missing, damaged or another object's; or the object has been
    replaced since it was seen, and its record removed.
    """

    def __init__(self, message: str, identity: str) -> None:
        super().__init__(message)
        self.identity = identity


async def write_hidden(client: Client, bucket: str, object_id: str, hidden: HiddenRecord) -> None:
    """Write a hidden record under an id. Raises StoreError."""
    await client.send(_writing(bucket, object_id, hidden))


async def write_or_replace_hidden(client: Client, bucket: str, object_id: str, hidden: HiddenRecord) -> bool:
    """Write a hidden record, even over another. Returns whether there surely was none. Raises StoreError."""
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
    """The hidden record of an object. Raises Damaged if it is missing or invalid."""
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
    """The object in the form of the store protocol, and its hidden record if it has one. Raises Unrecorded."""
    if described.record is not None:
        return described.stored(), None
    try:
        if not names.is_id(described.object_id):
            raise Damaged(f"the metadata of {bucket}/{described.key} name no record")
        hidden = await read_hidden(client, bucket, described)
        return described.stored(hidden), hidden
    except Damaged as error:
        raise Unrecorded(str(error), described.identity) from error


async def remove_names(client: Client, bucket: str, keys: Sequence[str]) -> None:
    """Remove hidden objects. Raises StoreError if the backend fails to remove one."""
    for start in range(0, len(keys), _BATCH_DELETE):
        body = xml.deletion(keys[start : start + _BATCH_DELETE])
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        request = Request("POST", bucket, query=[("delete", "")], headers={"content-md5": digest}, body=body)
        answer = await client.send(request)
        try:
            errors = list(xml.read(answer.body).all("Error"))
        except xml.BadAnswer as error:
            raise Unavailable(f"{request}: the backend's answer: {error}") from error
        if errors:
            raise Refused(answer.status, errors[0].text("Code", ""), errors[0].text("Message", ""), str(request))
