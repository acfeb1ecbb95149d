"""Keys of clients (SSE-C), as requests bring them."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


def sse_c(key: bytes = KEY, prefix: str = "") -> dict[str, Any]:
    """The arguments that give boto3 a client's key, for an object or (``CopySource``) the source of a copy."""
    return {f"{prefix}SSECustomerAlgorithm": "AES256", f"{prefix}SSECustomerKey": key}


SSE_C = sse_c()


def customer_key_headers(key: bytes, of: str = "x-amz-") -> dict[str, Any]:
    """The headers that bring a client's key, for an object or ``of`` the source of a copy."""
    name = f"{of}server-side-encryption-customer-"
    encoded, md5 = (base64.b64encode(value).decode() for value in (key, hashlib.md5(key).digest()))
    return {f"{name}algorithm": "AES256", f"{name}key": encoded, f"{name}key-md5": md5}
