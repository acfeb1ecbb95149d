"""Which encryption applies to a new object. Pure functions of the request, the bucket and the settings."""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.sealed.errors import NoKMS
from strongroom.sealed.keys import Kind
from strongroom.secret import Secret


@dataclass(frozen=True, slots=True)
class Protection:
    """How an object is to be encrypted. ``customer_key``: the client's 32 bytes, for SSE-C only."""

    kind: Kind
    customer_key: Secret | None = None


PLAIN = Protection(Kind.PLAIN)
SSE_S3 = Protection(Kind.SSE_S3)


def decide(asked: Protection | None, bucket_default: Kind | None, auto_encrypt: bool, has_kms: bool) -> Protection:
    """The protection of a new object.

    What the request asks for comes first; else the bucket's default; else auto-encryption. Raises NoKMS where the
    outcome needs a KMS and there is none: never falls back to plaintext.
    """
    if asked is not None and asked.kind is not Kind.PLAIN:
        protection = asked
    elif auto_encrypt or bucket_default is Kind.SSE_S3:
        protection = SSE_S3
    else:
        protection = PLAIN
    if protection.kind is Kind.SSE_S3 and not has_kms:
        raise NoKMS("server-side encryption needs a KMS, and none is configured")
    return protection
