"""Server-side encryption in S3's headers: what a request asks for, and what a response says.

Source: "Protecting data with server-side encryption" in the Amazon S3 User Guide; the error texts are AWS's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from strongroom.s3.errors import S3Error
from strongroom.sealed.context import context_text
from strongroom.sealed.faults import CustomerKeyNeeded, CustomerKeyWrong
from strongroom.sealed.keys import Kind
from strongroom.sealed.policy import SSE_S3, Protection, master_key_name
from strongroom.secret import Secret

SSE = "x-amz-server-side-encryption"
SOURCE_SSE = "x-amz-copy-source-server-side-encryption"
_CUSTOMER = tuple(f"{SSE}-customer-{name}" for name in ("algorithm", "key", "key-md5"))
_SOURCE = tuple(f"{SOURCE_SSE}-customer-{name}" for name in ("algorithm", "key", "key-md5"))
KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_CONTEXT = "x-amz-server-side-encryption-context"
_BUCKET_KEY = "x-amz-server-side-encryption-bucket-key-enabled"
ASKING = (SSE, KMS_KEY, _CONTEXT, _BUCKET_KEY)
"""The headers that ask for encryption and do not contain a key."""
_MAX_KEY_ID, _MAX_KEY_NAME = 2048, 255
_MAX_ENCODED_CONTEXT = 16_384


class EncryptionHeaders:
    """Reads encryption headers. ``secure``: whether this request may contain a client's key (it came over TLS, say)."""

    def __init__(self, headers: Mapping[str, str], secure: bool) -> None:
        self._headers = headers
        self._secure = secure

    def protection(self) -> Protection | None:
        """How the request wants a new object encrypted; None if it does not say. Kind.PLAIN if it says only whether to
        use a bucket key with the bucket's default encryption. Raises S3Error.
        """
        method = self._headers.get(SSE)
        key = self.customer_key()
        if method is not None and key is not None:
            raise _invalid(
                "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
            )
        if key is not None:
            return Protection(Kind.SSE_C, key)
        if method is None:
            self._refuse_kms_headers()
            bucket_key = self._wants_bucket_key()
            return None if bucket_key is None else Protection(Kind.PLAIN, bucket_key=bucket_key)
        if method == "aws:kms":
            key_id = kms_key_id(self._headers.get(KMS_KEY, "").encode("latin-1", "replace"))
            return Protection(Kind.SSE_KMS, None, key_id, self._context(), self._wants_bucket_key())
        if method == "aws:kms:dsse":
            raise S3Error("NotImplemented", f"Server-side encryption with {method} is not implemented.")
        if method != "AES256":
            raise _invalid("The encryption method specified is not supported")
        self._refuse_kms_headers()
        return SSE_S3

    def customer_key(self) -> Secret | None:
        """The client's key (SSE-C), or None. Raises S3Error."""
        return self._customer_key(_CUSTOMER)

    def source_customer_key(self) -> Secret | None:
        """The client's key for the source of a copy, or None. Raises S3Error."""
        return self._customer_key(_SOURCE)

    def refuse_method(self) -> None:
        """Refuse ``x-amz-server-side-encryption`` in a request that reads an object. Raises S3Error."""
        if SSE in self._headers:
            raise _invalid("x-amz-server-side-encryption header is not supported for this operation.")

    def _refuse_kms_headers(self) -> None:
        if any(name in self._headers for name in (KMS_KEY, _CONTEXT)):
            raise _invalid("These encryption headers need x-amz-server-side-encryption: aws:kms.")

    def _wants_bucket_key(self) -> bool | None:
        """Whether the object is to use a bucket key; None if the request leaves that to the bucket. Raises S3Error."""
        text = self._headers.get(_BUCKET_KEY)
        if text is None:
            return None
        if text.lower() not in ("true", "false"):
            raise _invalid(f"{_BUCKET_KEY} is true or false.")
        return text.lower() == "true"

    def _context(self) -> str:
        encoded = self._headers.get(_CONTEXT, "")
        try:
            if len(encoded) > _MAX_ENCODED_CONTEXT:
                raise ValueError("too long")
            entries = json.loads(base64.b64decode(encoded, validate=True)) if encoded else {}
        except (ValueError, RecursionError):
            raise _invalid(f"{_CONTEXT} is the base64 of a JSON object of strings.") from None
        return context_text(entries)

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


@contextmanager
def key_of_upload() -> Iterator[None]:
    """A context in which a part is begun: if its key is not the upload's, S3 answers with InvalidRequest, not with
    AccessDenied.
    """
    try:
        yield
    except CustomerKeyNeeded:
        raise S3Error(
            "InvalidRequest",
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate"
            " encryption parameters.",
        ) from None
    except CustomerKeyWrong:
        raise S3Error(
            "InvalidRequest", "The provided encryption parameters did not match the ones used originally."
        ) from None


def _checked_key(encoded: str, digest: str) -> Secret:
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise _invalid("The secret key was invalid for the specified algorithm.")
    if not hmac.compare_digest(key_md5(Secret(key)).encode(), digest.encode("latin-1", "replace")):
        raise _invalid("The calculated MD5 hash of the key did not match the hash that was provided.")
    return Secret(key)


def key_md5(key: Secret) -> str:
    """The base64 MD5 of a client's key, as responses show it."""
    return base64.b64encode(hashlib.md5(key.reveal(), usedforsecurity=False).digest()).decode()


def kms_key_id(sent: bytes) -> str:
    """A master key's name, as a client sent it; "" for none. Raises KMS.NotFoundException if no key can have it."""
    try:
        key_id = sent.decode()
    except UnicodeDecodeError:
        raise S3Error("KMS.NotFoundException") from None
    name = master_key_name(key_id)
    if len(sent) > _MAX_KEY_ID or len(name.encode()) > _MAX_KEY_NAME or not key_id.isprintable():
        raise S3Error("KMS.NotFoundException")
    if key_id and not name:
        raise S3Error("KMS.NotFoundException")
    return key_id


class Encrypted(Protocol):
    """An object or an upload: what responses need to say how it is encrypted."""

    @property
    def kind(self) -> Kind:
        """How it is encrypted."""
        ...

    @property
    def key_id(self) -> str:
        """The name of the master key, or ""."""
        ...

    @property
    def bucket_key(self) -> bool:
        """Whether its data key is a bucket key."""
        ...


def shown(what: Encrypted, customer_key: Secret | None) -> list[tuple[str, str]]:
    """The response headers that say how ``what`` is encrypted. ``customer_key`` is that of the request, if any."""
    if what.kind is Kind.SSE_S3:
        return [(SSE, "AES256")]
    if what.kind is Kind.SSE_KMS:
        headers = [(SSE, "aws:kms"), (KMS_KEY, what.key_id.encode().decode("latin-1"))]
        return [*headers, (_BUCKET_KEY, "true")] if what.bucket_key else headers
    if what.kind is Kind.SSE_C and customer_key is not None:
        return [(_CUSTOMER[0], "AES256"), (_CUSTOMER[2], key_md5(customer_key))]
    return []


def confirmed(what: Encrypted, asked: Protection | None) -> list[tuple[str, str]]:
    """The response headers that say how a new object is encrypted. ``asked``: what the request asked for, if it did."""
    if asked is None:
        return shown(what, None)
    headers = shown(what, asked.customer_key)
    if asked.context:
        headers.append((_CONTEXT, base64.b64encode(asked.context.encode()).decode()))
    return headers


def _invalid(message: str) -> S3Error:
    return S3Error("InvalidArgument", message)
