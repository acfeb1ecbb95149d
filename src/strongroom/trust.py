"""TLS to a KMS or a backend: which certificates are trusted, the same in every version of Python; and whether a URL has
TLS at all.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit


def trusted(file: Path | None = None, pem: str | None = None) -> ssl.SSLContext:
    """A context for connections to a server whose certificate, or its authority's, is in ``file`` or ``pem``.

    Without these, the system's authorities are trusted. Raises OSError (ssl.SSLError is a subclass).
    """
    context = ssl.create_default_context(cafile=str(file) if file else None, cadata=pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As in Go, in every version of Python: an authority needs no extensions that `openssl req -x509` does not write
    # (Python demands them from 3.13 on), and the server's own certificate may be trusted (until 3.12, only its issuer).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def in_the_clear(url: str) -> bool:
    """Whether what is sent to an HTTP URL can be read on the way: it has no TLS and leads to another machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True
