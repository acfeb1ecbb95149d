"""The check value of a shared place: says whether a KMS is the one whose keys the objects there are sealed under.

Whoever is first at a place (a shared folder, a bucket of another S3) leaves a check value; whoever comes later and
cannot open it must not write there, or the others could not read what it wrote. A check value is a small JSON document
that holds a data key, wrapped by the master key with the place's name as context, and an HMAC under that data key. It
gives nothing away but the master key's name.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Protocol

from strongroom.kms.base import KMS, Context, KeyDisabled, KMSDenied, KMSError, KMSUnavailable, NoSuchKey, WrappedKey
from strongroom.kms.master import MasterKey, master_of
from strongroom.sealed.errors import SealedError
from strongroom.store.base import MAX_CHECK

_FORMAT = 1
_TEXT = b"strongroom v1 check"


class ForeignKMS(SealedError):
    """The objects at this place are sealed under keys that the configured KMS does not have; the message names both."""


class CheckDamaged(SealedError):
    """What lies in the place of the check value is not a check value."""


class CheckPlace(Protocol):
    """A place that keeps a check value: a shared folder, say."""

    @property
    def place(self) -> str:
        """Its name, which never changes and is the same for all who share it."""
        ...

    async def read_check(self) -> bytes | None:
        """The check value that lies there, None where there is none."""
        ...

    async def leave_check(self, document: bytes) -> bytes:
        """Store a check value durably, unless there is one. Returns the one that is there now."""
        ...

    async def replace_check(self, document: bytes) -> None:
        """Replace the check value that is there, durably."""
        ...


async def claim(kms: KMS, place: CheckPlace, *, leave: bool = True) -> None:
    """Check that the objects at a place are sealed under keys of this KMS. If there is no check value yet, one is left:
    the place belongs to the first KMS that comes. With ``leave`` False, nothing is left.

    Raises ForeignKMS, CheckDamaged; KMSError if the KMS cannot be asked, so that it stays open whose the place is.
    """
    document = await place.read_check()
    if document is None:
        if not leave:
            return
        document = await place.leave_check(await make_check(kms, place.place))
    await verify_check(kms, place.place, document)


def _context(place: str) -> Context:
    return {"strongroom-check": place}


async def make_check(kms: KMS, place: str) -> bytes:
    """A check value for a place of this name ("bucket", say). Raises KMSError."""
    (key,) = await kms.generate([_context(place)])
    document = {
        "format": _FORMAT,
        "provider": key.wrapped.provider,
        "master-key": key.wrapped.key_id,
        "wrapped": base64.b64encode(key.wrapped.ciphertext).decode(),
        "check": hmac.digest(key.plaintext, _TEXT, "sha256").hex(),
    }
    return json.dumps(document, indent=1).encode() + b"\n"


async def verify_check(kms: KMS, place: str, document: bytes) -> MasterKey:
    """Check that ``kms`` opens a check value. Returns the master key that opens it.

    Raises ForeignKMS, CheckDamaged. KMSUnavailable, KMSDenied and KeyDisabled leave open whose the place is; so does
    NoSuchKey, which is raised if the KMS does not even have the key that it wraps with.
    """
    wrapped, expected = _decode(document)
    (opened,) = await kms.unwrap([(wrapped, _context(place))])
    if isinstance(opened, KMSUnavailable | KMSDenied | KeyDisabled):
        raise opened
    if isinstance(opened, NoSuchKey):
        await kms.generate([_context(place)])  # raises if its own key is gone, too: then it is open whose the place is
    if isinstance(opened, KMSError) or not hmac.compare_digest(hmac.digest(opened, _TEXT, "sha256"), expected):
        has = f"(master key {kms.key_id!r}) does not have"
        if wrapped.key_id == kms.key_id:
            has = "does not have: its key of that name is another"
        raise ForeignKMS(
            f"the objects here are sealed under the master key {wrapped.key_id!r} of the provider {wrapped.provider!r},"
            f" which the configured KMS {has}"
        )
    return master_of(wrapped)


async def renewed(kms: KMS, place: str, document: bytes, active: MasterKey) -> bytes | None:
    """The check value that is to replace this one; None if it is under ``active``, the master key that wraps now.

    Raises as :func:`verify_check` does.
    """
    wrapped, _ = _decode(document)
    if master_of(wrapped) == active:
        return None
    await verify_check(kms, place, document)
    return await make_check(kms, place)


def _decode(document: bytes) -> tuple[WrappedKey, bytes]:
    try:
        if len(document) > MAX_CHECK:
            raise ValueError("too long")
        fields = json.loads(document)
        if fields["format"] != _FORMAT:
            raise CheckDamaged(f"the check value has the format {fields['format']!r}, which this release does not know")
        ciphertext = base64.b64decode(fields["wrapped"], validate=True)
        wrapped = WrappedKey(str(fields["provider"]), str(fields["master-key"]), ciphertext)
        return wrapped, bytes.fromhex(fields["check"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckDamaged("the check value is damaged") from error
