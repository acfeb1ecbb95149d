"""One PUT of an object with its record, whose condition the backend checks; and finding out what was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from strongroom.buffers import Buffer
from strongroom.store.base import ALWAYS, Condition
from strongroom.store.errors import ConditionFailed, NoSuchObject, Refused, StoreError, Unavailable
from strongroom.store.s3.client import Client
from strongroom.store.s3.conditions import checks_writes
from strongroom.store.s3.errors import undecided
from strongroom.store.s3.messages import Answer, Request
from strongroom.store.s3.metadata import ID, HiddenRecord, etag_of, inline_headers, pointing_headers, unquoted
from strongroom.store.s3.records import write_hidden

_LOOK_FIRST = 64 * 1024
"""Bytes of a conditional PUT above which we check first whether an object is there: versitygw refuses it before it has
the body, and closes the connection, so that its answer is often lost."""


async def put_object(
    client: Client,
    bucket: str,
    object_id: str,
    hidden: HiddenRecord,
    body: Buffer,
    encryption: dict[str, str],
    when: Condition,
) -> str:
    """Put an object with its record, which is hidden only if need be. Returns the backend's ETag. Raises StoreError."""
    if when.absent and len(body) > _LOOK_FIRST and await _is_there(client, bucket, hidden.key):
        raise ConditionFailed(f"PUT {bucket}/{hidden.key}: an object is there")
    asked = {**encryption, **condition_headers(when)}
    await check_condition(client, Request("PUT", bucket, hidden.key, headers=asked))
    headers = None if hidden.annex else inline_headers(object_id, hidden.record, hidden.modified)
    if headers is None:
        headers = pointing_headers(object_id, hidden.record)
        await write_hidden(client, bucket, object_id, hidden)
    request = Request("PUT", bucket, hidden.key, headers={**headers, **asked}, body=body)
    try:
        return await _put(client, request, object_id, encryption, when)
    except Refused as error:
        # MinIO complains of a client's key before it says that something is there.
        if when.absent and error.status == 400 and await _is_there(client, bucket, hidden.key):
            raise ConditionFailed(f"{request}: an object is there, under another key") from error
        raise


async def _put(client: Client, request: Request, object_id: str, encryption: dict[str, str], when: Condition) -> str:
    """Send the request. Returns the ETag of the object. Raises StoreError."""
    try:
        return etag_in(await client.send(request), str(request))
    except (ConditionFailed, NoSuchObject) as error:
        found = None
        if when != ALWAYS:
            # Perhaps the answer to the first attempt was lost, and the second met the object that it had made.
            try:
                found = await see(client, request.bucket, request.key, encryption)
            except Unavailable as unseen:
                if undecided(error) or not is_anothers(unseen, encryption):
                    raise
        if found is not None and found.object_id == object_id:
            return found.etag
        quoted = request.headers.get("if-match", "")
        if found is None or quoted != f'"{found.etag}"':
            raise ConditionFailed(f"{request}: the object is not as the condition asks") from error
    # It is as the condition asks.
    bare = {**request.headers, **without_quotes(found.etag)}
    return await _put(client, replace(request, headers=bare), object_id, encryption, when)


class Seen(NamedTuple):
    """What tells the object that has a name at one moment from the one that has it at another."""

    object_id: str | None
    etag: str
    modified: str


UNSEEN = Seen(None, "", "")
"""Stands for an object that cannot be seen without its client's key."""


async def made_by(client: Client, bucket: str, key: str, object_id: str, headers: Mapping[str, str]) -> str | None:
    """The ETag of the object of this name if it has this id; None if it has another, or there is no object. ``headers``
    are those that it was written with. Raises Unavailable if that cannot be found out.
    """
    found = await see(client, bucket, key, headers)
    return found.etag if found is not None and found.object_id == object_id else None


async def see(client: Client, bucket: str, key: str, headers: Mapping[str, str]) -> Seen | None:
    """The object of this name; None if there is none. ``headers`` are those that it was written with. Raises
    Unavailable if that cannot be found out.
    """
    keys = {name: value for name, value in headers.items() if "-customer-" in name}
    try:
        answer = await client.send(Request("HEAD", bucket, key, headers=keys))
    except NoSuchObject:
        return None
    except StoreError as error:
        raise Unavailable(f"whether {bucket}/{key} was written cannot be seen: {error}") from error
    told = answer.headers
    return Seen(told.get(ID), unquoted(told.get("etag", "")), told.get("last-modified", ""))


def is_anothers(unseen: Unavailable, headers: Mapping[str, str]) -> bool:
    """Whether an object could not be seen with ``headers`` because it is under a client's key that they do not hold."""
    refused = unseen.__cause__
    wrong = (400, 403) if any("-customer-" in name for name in headers) else (400,)
    return isinstance(refused, Refused) and refused.status in wrong


async def seen_or_anothers(client: Client, bucket: str, key: str, headers: Mapping[str, str]) -> Seen | None:
    """As :func:`see`; UNSEEN for an object that is under another client's key."""
    try:
        return await see(client, bucket, key, headers)
    except Unavailable as unseen:
        if not is_anothers(unseen, headers):
            raise
        return UNSEEN


async def check_condition(client: Client, request: Request) -> None:
    """Check the condition of a write a moment before a backend is asked that may ignore it. Raises ConditionFailed,
    Unavailable.
    """
    absent, etag = "if-none-match" in request.headers, request.headers.get("if-match")
    if not (absent or etag) or await checks_writes(client, request.bucket):
        return
    now = await seen_or_anothers(client, request.bucket, request.key, request.headers)
    if (now is not None) if absent else (now is None or now.etag != unquoted(etag or "")):
        raise ConditionFailed(f"{request}: the object is not as the condition asks")


async def _is_there(client: Client, bucket: str, key: str) -> bool:
    """Whether there is an object of this name, even if it is not shown without a client's key. Raises StoreError."""
    try:
        await client.send(Request("HEAD", bucket, key))
    except NoSuchObject:
        return False
    except Refused as error:
        if error.status != 400:
            raise
    return True


def condition_headers(when: Condition) -> dict[str, str]:
    """The headers that make the backend check a condition."""
    if when.absent:
        return {"if-none-match": "*"}
    if when.identity is not None:
        return {"if-match": f'"{etag_of(when.identity)}"'}
    return {}


def without_quotes(etag: str) -> dict[str, str]:
    """The header for the condition that the object has this ETag, for backends that compare it with the ETag without
    quotes, and so refuse what they ought to do (Ceph, of a PUT).
    """
    return {"if-match": etag}


def etag_in(answer: Answer, what: str) -> str:
    """The ETag in the headers of an answer. Raises Unavailable if there is none."""
    etag = unquoted(answer.headers.get("etag", ""))
    if not etag:
        raise Unavailable(f"{what}: the backend's answer has no ETag")
    return etag
