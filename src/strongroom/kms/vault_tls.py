"""TLS to a Vault: an SSL context from files with its authorities and our client certificate. Makes no connection."""

from __future__ import annotations

import ssl
from pathlib import Path

from strongroom.trust import trusted


class BadTLSFile(Exception):
    """A file with certificates or a key cannot be used. The message names it and says why, but not what is in it."""


def trusting(
    ca_path: Path | None, client_certificate: Path | None = None, client_key: Path | None = None
) -> ssl.SSLContext:
    """A context for connections to a Vault. Raises BadTLSFile.

    ``ca_path``: a PEM file, or a directory in which every PEM file counts, whatever its name; None for the system's
    authorities. ``client_certificate`` and ``client_key``: PEM files, if the Vault asks for a certificate
    (``client_key`` None: both are in one file).
    """
    context = trusted() if ca_path is None else trusted(pem=_authorities(ca_path))
    if client_certificate is not None:
        _present(context, client_certificate, client_key)
    return context


def _authorities(ca_path: Path) -> str:
    try:
        files = sorted(file for file in ca_path.iterdir() if file.is_file()) if ca_path.is_dir() else [ca_path]
        # Between certificates there may be words in any encoding. To OpenSSL they must be ASCII.
        found = [(file, file.read_bytes().decode("ascii", "backslashreplace")) for file in files]
    except OSError as error:
        raise BadTLSFile(f"cannot read {str(error.filename or ca_path)!r}: {error.strerror}") from None
    certificates = [(file, content) for file, content in found if "-----BEGIN CERTIFICATE-----" in content]
    if not certificates:
        raise BadTLSFile(f"there is no certificate in PEM in {str(ca_path)!r}")
    for file, content in certificates:
        try:
            ssl.create_default_context(cadata=content)
        except ssl.SSLError:
            raise BadTLSFile(f"{str(file)!r} holds a certificate that is damaged") from None
    return "\n".join(content for _, content in certificates)


def _present(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    for file in (certificate, key):
        if file is None:
            continue
        try:
            file.open("rb").close()
        except OSError as error:
            raise BadTLSFile(f"cannot read {str(file)!r}: {error.strerror}") from None
    try:
        # OpenSSL must not ask for a password: nobody sits at a server's terminal.
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise BadTLSFile(f"the key in {str(key or certificate)!r} has a password; give one without") from None
    except OSError:  # ssl.SSLError is a subclass
        where = repr(str(certificate)) + (f" and {str(key)!r}" if key else "")
        raise BadTLSFile(f"{where} are not a certificate and its key in PEM") from None


class _Encrypted(Exception):
    pass


def _no_password() -> str:
    raise _Encrypted
