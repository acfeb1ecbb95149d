"""The context that the KMS binds a data key to: the object's name, and for SSE-KMS also what the client adds. Pure."""

from __future__ import annotations

import json

from strongroom.kms.base import Context, context_bytes
from strongroom.sealed.errors import ContextRefused

MAX_CONTEXT = 8192
"""Bytes of what a client adds ("Encryption context" in the AWS KMS Developer Guide)."""


def object_name(bucket: str, key: str) -> str:
    """The name that an object key is bound to. Bucket names hold no slash, so it is unambiguous."""
    return f"{bucket}/{key}"


def kms_context(bucket: str, key: str | None, added: str = "") -> Context:
    """The context of an object's data key, in the form of MinIO's 2019 release; if ``key`` is None, that of a data key
    of the bucket. ``added``: what the client adds, as :func:`context_text` wrote it.

    Raises ContextRefused if ``added`` is no context.
    """
    name = bucket if key is None else f"{bucket}/{key}"  # object_name, without the call
    return {**read_context(added), bucket: name} if added else {bucket: name}


def check_added(bucket: str, added: str) -> None:
    """Raises ContextRefused if a client's entry would replace the one that holds the object's name."""
    if bucket in read_context(added):
        raise ContextRefused(f"the encryption context has an entry {bucket!r}: its name is kept for the object's own")


def context_text(entries: object) -> str:
    """What a client adds, in the form that is recorded: "" for nothing, else canonical JSON. Raises ContextRefused."""
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise ContextRefused("an encryption context is a JSON object of strings")
    if not entries:
        return ""
    try:
        text = context_bytes(entries)
    except UnicodeEncodeError:
        raise ContextRefused("the encryption context holds half a character") from None
    if len(text) > MAX_CONTEXT:
        raise ContextRefused(f"the encryption context is longer than {MAX_CONTEXT} bytes")
    return text.decode()


def read_context(text: str) -> dict[str, str]:
    """The entries that :func:`context_text` wrote. Raises ContextRefused."""
    if not text:
        return {}
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        raise ContextRefused("the encryption context is not JSON") from None
    if context_text(entries) != text:
        raise ContextRefused("the encryption context is not in its one form")
    return dict(entries)
