"""What the sealed store raises on purpose, beside the errors of the store and of the KMS below it."""

from __future__ import annotations


class SealedError(Exception):
    """Base of the refusals of the sealed store. Messages name objects and keys, never secrets."""


class LegacyNotCovered(SealedError):
    """MinIO left the object in a form that is not read here; the message says which, and what to do."""


class NotAdopted(SealedError):
    """MinIO left the object, and what is wanted can only be done once it was adopted into our own format."""


class NoKMS(SealedError):
    """Encryption with a server-side key was asked for, and no KMS is configured."""


class UnencryptedUpload(SealedError):
    """A multipart upload was opened unencrypted, and since then the server was told to encrypt everything."""


class ContextRefused(SealedError):
    """The encryption context of the request (SSE-KMS) is malformed, or cannot be used for this object."""


class CustomerKeyNeeded(SealedError):
    """The object is encrypted with a client's key (SSE-C), and the request brings none."""


class CustomerKeyNotApplicable(SealedError):
    """The request brings a key (SSE-C) for an object that is not encrypted with one."""


class CustomerKeyWrong(SealedError):
    """The key that the request brings does not open the object."""


class PreconditionFailed(SealedError):
    """The object under the name is not as the request demanded (If-Match, If-None-Match)."""
