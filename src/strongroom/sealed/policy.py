"""Which encryption applies to a new object. Pure functions of the request, the bucket and the settings."""

from __future__ import annotations

from typing import NamedTuple

from strongroom.sealed.errors import NoKMS
from strongroom.sealed.keys import Kind
from strongroom.secret import Secret


class Protection(NamedTuple):
    """How an object is to be encrypted.

    ``customer_key``: the client's 32 bytes, for SSE-C only. The others are for SSE-KMS only. ``key_id``: the master
    key as the client names it (see :func:`master_key_name`), "" for the default one. ``context``: what the client binds
    the data key to, as :mod:`strongroom.sealed.context` writes it. ``bucket_key``: whether the data key may be one of
    the bucket's; None where that is not said.
    """

    kind: Kind
    customer_key: Secret | None = None
    key_id: str = ""
    context: str = ""
    bucket_key: bool | None = None


def master_key_name(key_id: str) -> str:
    """The name of the master key that a client means: by its name, ``alias/NAME``, or an ARN that ends in one of them
    (AWS's, or ``arn:aws:kms:NAME``, as MinIO has it).
    """
    if key_id.startswith("arn:"):
        key_id = key_id.rpartition(":")[2].removeprefix("key/")
    return key_id.removeprefix("alias/")


PLAIN = Protection(Kind.PLAIN)
SSE_S3 = Protection(Kind.SSE_S3)


def decide(
    asked: Protection | None, bucket_default: Protection | None, auto_encrypt: bool, has_kms: bool
) -> Protection:
    """The protection of a new object.

    What the request asks for comes first; else the bucket's default; else auto-encryption. Raises NoKMS where the
    outcome needs a KMS and there is none: never falls back to plaintext.
    """
    if asked is not None and asked.kind is not Kind.PLAIN:
        protection = asked
    elif bucket_default is not None:
        protection = bucket_default
    else:
        protection = SSE_S3 if auto_encrypt else PLAIN
    if protection.kind in (Kind.SSE_S3, Kind.SSE_KMS) and not has_kms:
        raise NoKMS("server-side encryption needs a KMS, and none is configured")
    return protection
