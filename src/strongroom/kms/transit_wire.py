"""Transit's wire format: what is sent to Vault's transit engine and what its answers mean. Pure functions.

Source: the API reference of the transit secrets engine. The texts of refusals were observed with OpenBao 2.7, and
Vault's sources have the same.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from strongroom.kms.base import (
    KeyDisabled,
    KMSDenied,
    KMSError,
    KMSUnavailable,
    NoSuchKey,
    WrappedKeyInvalid,
)

if TYPE_CHECKING:  # importing it loads aiohttp, for which a server without a Vault need not wait
    from strongroom.kms.vault_client import Answer

DATA_KEY = 32
"""Bytes of a data key."""

MOST = 128
"""Data keys in one call. OpenBao accepts 1,000 strings in a request; an item has up to 7, names included."""

_MAX_CIPHERTEXT = 65_535
_MAX_REASON = 200
_CIPHERTEXT = re.compile(rb"vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/]+={0,2}")
_VERSION = re.compile(rb"vault:v([0-9]{1,9}):")
_KEY_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")

# What a refusal means: the first row whose text occurs in it counts.
_REFUSALS: tuple[tuple[str, type[KMSError], str], ...] = (
    ("soft-deleted", KeyDisabled, "is disabled (soft-deleted)"),
    ("disallowed by policy", KeyDisabled, "is disabled for this version (min_decryption_version)"),
    ("less than the minimum encryption key version", KeyDisabled, "is disabled for this version"),
    ("no such key version", KeyDisabled, "does not have this version, or it is disabled"),
    ("higher than the latest key version", NoSuchKey, "does not have this version (MINIO_SSE_VAULT_KEY_VERSION)"),
    ("key not found", NoSuchKey, "does not exist"),
    ("message authentication failed", WrappedKeyInvalid, "did not wrap this data key, or not for this object"),
    ("invalid ciphertext", WrappedKeyInvalid, "did not wrap this data key"),
    ("non-AEAD cipher suite", NoSuchKey, "is of a type that wraps no data keys"),
    ("not supported for key type", NoSuchKey, "is of a type that wraps no data keys"),
    ("unsupported path", NoSuchKey, "does not exist: there is no transit engine"),
    ("no handler for route", NoSuchKey, "does not exist: there is no transit engine"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One data key of a batch. ``secret`` is what to wrap (32 bytes), ``wrapped`` what to unwrap; the other is empty.

    ``bound``: the KMS checks ``context`` as associated data; otherwise only a key with derivation looks at it.
    """

    key: str
    context: bytes
    bound: bool
    secret: bytes = field(default=b"", repr=False)
    wrapped: bytes = b""


def is_key_name(name: str) -> bool:
    """Whether a transit key can have this name: letters, digits, ``_``, and within it ``.`` and ``-``."""
    return len(name) <= 255 and _KEY_NAME.fullmatch(name) is not None


def is_ciphertext(wrapped: bytes) -> bool:
    """Whether it looks like a ciphertext of transit: anything else would make the whole batch fail."""
    return len(wrapped) <= _MAX_CIPHERTEXT and _CIPHERTEXT.fullmatch(wrapped) is not None


def version_of(wrapped: bytes) -> int:
    """The version of the master key that made a ciphertext; 0 if it names none."""
    found = _VERSION.match(wrapped)
    return int(found[1]) if found else 0


def batch(items: Sequence[Item], version: int = 0) -> Mapping[str, object]:
    """The body of a call to ``transit/encrypt`` or ``transit/decrypt``; ``version`` wraps, 0 is the key's latest."""
    return {"batch_input": [_input(item, version) for item in items]}


def datakey(item: Item, version: int = 0) -> Mapping[str, object]:
    """The body of a call to ``transit/datakey/plaintext``."""
    return {"bits": 8 * DATA_KEY, **_binding(item), **_versioned(version)}


def _input(item: Item, version: int) -> Mapping[str, object]:
    if item.wrapped:
        return {"ciphertext": item.wrapped.decode("ascii"), **_binding(item)}
    return {"plaintext": base64.b64encode(item.secret).decode(), **_binding(item), **_versioned(version)}


def _binding(item: Item) -> Mapping[str, object]:
    context = base64.b64encode(item.context).decode()
    # The context is sent twice: as input of key derivation (keys without it ignore that; all items of a batch must have
    # it, or none), and as what the cipher authenticates.
    return {"context": context, "associated_data": context} if item.bound else {"context": context}


def _versioned(version: int) -> Mapping[str, object]:
    return {"key_version": version} if version else {}


def results(answer: Answer, items: Sequence[Item], where: str) -> Sequence[bytes | KMSError]:
    """The results of a batch: for each item its plaintext or ciphertext, or an error. Raises KMSError if all failed."""
    rows = answer.data.get("batch_results")
    if rows is None:
        raise refusal(answer, items[0].key, where)
    if not isinstance(rows, list) or len(rows) != len(items):
        raise nonsense(where)
    return [_result(row, item, where) for row, item in zip(rows, items, strict=True)]


def _result(row: object, item: Item, where: str) -> bytes | KMSError:
    if not isinstance(row, dict):
        return nonsense(where)
    if error := row.get("error"):
        if not isinstance(error, str):
            return nonsense(where)
        return _meant(error, item.key, where) or _unusable(error, item.key, where)
    return plaintext_in(row, where) if item.wrapped else ciphertext_in(row, where)


def plaintext_in(fields: Mapping[str, object], where: str) -> bytes | KMSError:
    """The data key in an answer."""
    value = fields.get("plaintext")
    try:
        plaintext = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except ValueError:
        plaintext = b""
    return plaintext if len(plaintext) == DATA_KEY else nonsense(where)


def ciphertext_in(fields: Mapping[str, object], where: str) -> bytes | KMSError:
    """The wrapped data key in an answer."""
    value = fields.get("ciphertext")
    wrapped = value.encode("utf-8", "replace") if isinstance(value, str) else b""
    return wrapped if is_ciphertext(wrapped) else nonsense(where)


def refusal(answer: Answer, key: str, where: str) -> KMSError:
    """The error that an answer without a result means."""
    if answer.status == 403:
        return KMSDenied(f"the KMS at {where} denies the use of the master key {key!r}: {answer.reason}")
    return _meant(answer.reason, key, where) or _unusable(answer.reason, key, where)


def _meant(reason: str, key: str, where: str) -> KMSError | None:
    for text, kind, says in _REFUSALS:
        if text in reason:
            return kind(f"the master key {key!r} of the KMS at {where} {says}: {_on_one_line(reason)}")
    return None


def _unusable(reason: str, key: str, where: str) -> KMSUnavailable:
    return KMSUnavailable(f"the KMS at {where} cannot use the master key {key!r}: {_on_one_line(reason)}")


def _on_one_line(reason: str) -> str:
    return " ".join(reason[:_MAX_REASON].split())


def nonsense(where: str) -> KMSUnavailable:
    """The error for an answer that makes no sense."""
    return KMSUnavailable(f"the KMS at {where} is not available: its answer makes no sense")
