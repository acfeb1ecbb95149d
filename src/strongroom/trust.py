"""Which servers are trusted behind TLS, the same in every Python: those that a KMS or a backend may be."""

from __future__ import annotations

import ssl
from pathlib import Path


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
