"""Which servers are trusted behind TLS, the same in every Python: those that a KMS or a backend may be. And where there
is no TLS.
"""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit


def trusted(file: Path | None = None, pem: str | None = None) -> ssl.SSLContext:
    """A context for connections to a server whose certificate, or the authority of it, is in ``file`` or ``pem``.

    Without them, the system's authorities are trusted. Raises OSError, of which ssl.SSLError is one.
    """
    context = ssl.create_default_context(cafile=str(file) if file else None, cadata=pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As Go has it, in every Python: an authority needs no extension that `openssl req -x509` does not write (Python
    # demands them from 3.13 on), and what is trusted may be the server's own certificate (until 3.12, only its issuer).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def in_the_clear(url: str) -> bool:
    """Whether what is sent to an HTTP URL can be read on the way: no TLS, and another machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return False
    try:
        return not ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return True
