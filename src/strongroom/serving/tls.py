"""TLS: the certificate and key in a directory, checked at start, read again on demand.

The file names are MinIO's: ``public.crt`` (the certificate, then its chain) and ``private.key``, both PEM.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""The ciphers for TLS 1.2: with forward secrecy and AEAD, as always in 1.3. (Distributions' Pythons allow others.)"""


class BadCertificate(Exception):
    """The certificate or key cannot be used; the message is one line, names the file and says why."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """A server's context: TLS 1.2 or later, only ciphers with forward secrecy. Raises BadCertificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
        context.set_ciphers(_CIPHERS)
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # all are good, and clients know which is fast for them
        context.set_alpn_protocols(["http/1.1"])
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            for file in (self.certificate, self.key):
                file.read_bytes()  # load_cert_chain does not say which of the two it could not read
        except OSError as error:
            raise BadCertificate(f"cannot read {error.filename!r}: {error.strerror}") from None
        try:
            # Called only if the key is encrypted; without a callback, OpenSSL would ask at the terminal.
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except ssl.SSLError as error:
            reason = (error.reason or "not PEM").replace("_", " ").lower()
            raise BadCertificate(f"{self.certificate} and {self.key} do not make a pair: {reason}") from None
        except _Encrypted:
            raise BadCertificate(f"{self.key} is encrypted; give it without a passphrase") from None
        except OSError as error:  # one of them has gone since it was read above: it is being replaced
            raise BadCertificate(f"cannot read {self.certificate} and {self.key}: {error.strerror}") from None

    def expired(self, now: datetime) -> datetime | None:
        """When it expired, if that was before ``now``; else None."""
        end = self.end()()
        return end if end is not None and end < now else None

    def end(self) -> Callable[[], datetime | None]:
        """A function that says when the certificate expires that the file holds now; None if it cannot be read."""
        try:
            pem = self.certificate.read_bytes()
        except OSError:
            pem = b""
        return cache(partial(_end, pem))


def find(directory: Path, *, required: bool = False) -> Certificate | None:
    """The certificate in a directory, checked; None if neither file is there and none is ``required``.

    Raises BadCertificate.
    """
    found = Certificate(directory / "public.crt", directory / "private.key")
    try:
        there = [file.exists() for file in (found.certificate, found.key)]
    except OSError as error:
        raise BadCertificate(f"cannot look into {directory}: {error.strerror}") from None
    if not any(there):
        if required:
            raise BadCertificate(f"there is no {found.certificate.name} and no {found.key.name} in {directory}")
        return None
    if not there[0]:
        raise BadCertificate(f"{found.key} is there, but {found.certificate} is not")
    if not there[1]:
        raise BadCertificate(f"{found.certificate} is there, but {found.key} is not")
    found.context()
    return found


def now() -> datetime:
    """The present time, in UTC."""
    return datetime.now(UTC)


def _end(pem: bytes) -> datetime | None:
    from cryptography import x509  # importing it takes 20 ms, and only a server with TLS needs it

    try:
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc
    except ValueError:
        return None  # OpenSSL has accepted it; whether it is valid is then for clients to judge


class _Encrypted(Exception):
    """OpenSSL asked for the passphrase of a key."""


def _no_password() -> bytes:
    raise _Encrypted
