"""Encryption at the backend, as headers of requests to it and of its answers. Pure.

Source: "Protecting data with server-side encryption" in the Amazon S3 User Guide.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from strongroom.secret import Secret

_SSE = "x-amz-server-side-encryption"
_CUSTOMER = "x-amz-server-side-encryption-customer-"
_SOURCE = "x-amz-copy-source-server-side-encryption-customer-"


@dataclass(frozen=True, slots=True)
class BackendEncryption:
    """How the backend encrypts an object once more: with its own key (``sse_s3``), or with ``customer_key``."""

    sse_s3: bool = False
    customer_key: Secret | None = None

    @property
    def creating(self) -> dict[str, str]:
        """The headers of a request that makes an object or opens an upload."""
        return {_SSE: "AES256"} if self.sse_s3 else self.reading

    @property
    def reading(self) -> dict[str, str]:
        """The headers of a request that reads an object or fills a part."""
        return self._key_headers(_CUSTOMER)

    @property
    def copying(self) -> dict[str, str]:
        """The headers that say that the source of a copy is encrypted like this."""
        return self._key_headers(_SOURCE)

    def _key_headers(self, prefix: str) -> dict[str, str]:
        if self.customer_key is None:
            return {}
        key = self.customer_key.reveal()
        digest = hashlib.md5(key, usedforsecurity=False).digest()
        return {
            prefix + "algorithm": "AES256",
            prefix + "key": base64.b64encode(key).decode(),
            prefix + "key-md5": base64.b64encode(digest).decode(),
        }


NOT_ENCRYPTED = BackendEncryption()


def is_told(asked: Mapping[str, str], answer: Mapping[str, str]) -> bool:
    """Whether the headers of an answer say that the new object is encrypted as it was asked for, if it was."""
    return all(name in answer for name in (_SSE, _CUSTOMER + "algorithm") if name in asked)
