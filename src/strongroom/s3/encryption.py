"""Server-side encryption as S3's headers have it: what a request asks for, and what a response says.

Source: "Protecting data with server-side encryption" in the Amazon S3 User Guide; the error texts are AWS's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from strongroom.s3.errors import S3Error
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import SSE_S3, Protection
from strongroom.secret import Secret

SSE = "x-amz-server-side-encryption"
_CUSTOMER = tuple(f"x-amz-server-side-encryption-customer-{name}" for name in ("algorithm", "key", "key-md5"))
_SOURCE = tuple(f"x-amz-copy-source-server-side-encryption-customer-{name}" for name in ("algorithm", "key", "key-md5"))
_KMS_ONLY = (
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-context",
    "x-amz-server-side-encryption-bucket-key-enabled",
)


class EncryptionHeaders:
    """Reads encryption headers. ``secure``: whether keys may be taken from this request (it came over TLS, say)."""

    def __init__(self, headers: Mapping[str, str], secure: bool) -> None:
        self._headers = headers
        self._secure = secure

    def protection(self) -> Protection | None:
        """What the request asks for a new object; None where it does not say. Raises S3Error."""
        method = self._headers.get(SSE)
        key = self.customer_key()
        if method is not None and key is not None:
            raise _invalid(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            )
        if key is not None:
            return Protection(Kind.SSE_C, key)
        if method is None:
            if any(name in self._headers for name in _KMS_ONLY):
                raise _invalid("These encryption headers need x-amz-server-side-encryption: aws:kms.")
            return None
        if method in ("aws:kms", "aws:kms:dsse"):
            raise S3Error("NotImplemented", f"Server-side encryption with {method} is not implemented.")
        if method != "AES256":
            raise _invalid("The encryption method specified is not supported")
        if any(name in self._headers for name in _KMS_ONLY[:2]):
            raise _invalid("These encryption headers need x-amz-server-side-encryption: aws:kms.")
        return SSE_S3

    def customer_key(self) -> Secret | None:
        """The client's key (SSE-C), or None. Raises S3Error."""
        return self._customer_key(_CUSTOMER)

    def source_customer_key(self) -> Secret | None:
        """The client's key for the source of a copy, or None. Raises S3Error."""
        return self._customer_key(_SOURCE)

    def refuse_method(self) -> None:
        """Refuse ``x-amz-server-side-encryption`` where an object is read. Raises S3Error."""
        if SSE in self._headers:
            raise _invalid("x-amz-server-side-encryption header is not supported for this operation.")

    def _customer_key(self, names: Sequence[str]) -> Secret | None:
        algorithm, encoded, digest = map(self._headers.get, names)
        if algorithm is None and encoded is None and digest is None:
            return None
        if not self._secure:
            raise S3Error(
                "InvalidRequest",
                "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure"
                " connection.",
            )
        if algorithm is None:
            raise _invalid(f"{_REQUESTS} must provide a valid encryption algorithm.")
        if algorithm != "AES256":
            raise S3Error(
                "InvalidEncryptionAlgorithmError",
                "The Encryption request you specified is not valid. Supported value: AES256.",
            )
        if encoded is None:
            raise _invalid(f"{_REQUESTS} must provide an appropriate secret key.")
        if digest is None:
            raise _invalid(f"{_REQUESTS} must provide the client calculated MD5 of the secret key.")
        return _checked_key(encoded, digest)


_REQUESTS = "Requests specifying Server Side Encryption with Customer provided keys"


def _checked_key(encoded: str, digest: str) -> Secret:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise _invalid("The secret key was invalid for the specified algorithm.")
    if not hmac.compare_digest(key_md5(Secret(key)).encode(), digest.encode("latin-1", "replace")):
        raise _invalid("The calculated MD5 hash of the key did not match the hash that was provided.")
    return Secret(key)


def key_md5(key: Secret) -> str:
    """The base64 MD5 of a client's key, as responses show it."""
    return base64.b64encode(hashlib.md5(key.reveal(), usedforsecurity=False).digest()).decode()


def shown(kind: Kind, customer_key: Secret | None) -> list[tuple[str, str]]:
    """The response headers that say how an object is encrypted. ``customer_key`` is that of the request, if any."""
    if kind is Kind.SSE_S3:
        return [(SSE, "AES256")]
    if kind is Kind.SSE_C and customer_key is not None:
        return [(_CUSTOMER[0], "AES256"), (_CUSTOMER[2], key_md5(customer_key))]
    return []


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidArgument", message)
