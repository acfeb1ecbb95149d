"""Servers over TLS, and whose certificates are believed."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom.kms.vault_tls import trusting
from strongroom.trust import trusted
from tests.certificates import make_certificates

TRUSTING: list[Callable[[Path], ssl.SSLContext]] = [trusted, trusting]  # a backend, a KMS


def meet(context: ssl.SSLContext, certs: Path) -> None:
    """Shake hands with a server that has the certificate in ``certs``. Raises ssl.SSLError."""
    offering = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offering.load_cert_chain(certs / "public.crt", certs / "private.key")
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = offering.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


@pytest.mark.usefixtures("python_3_13")
@pytest.mark.parametrize("trust", TRUSTING)
def test_an_authority_as_openssl_makes_it_is_trusted_whatever_the_python(
    tmp_path: Path, trust: Callable[[Path], ssl.SSLContext]
) -> None:
    certs = make_certificates(tmp_path, key_usage=False)
    with pytest.raises(ssl.SSLError, match="key usage"):
        meet(ssl.create_default_context(cafile=str(certs / "ca.crt")), certs)
    meet(trust(certs / "ca.crt"), certs)


@pytest.mark.parametrize("trust", TRUSTING)
def test_a_server_may_be_trusted_by_its_own_certificate(
    certificates: Path, trust: Callable[[Path], ssl.SSLContext]
) -> None:
    meet(trust(certificates / "public.crt"), certificates)


@pytest.mark.parametrize("trust", TRUSTING)
def test_a_server_of_another_authority_is_not_trusted(
    certificates: Path, tmp_path: Path, trust: Callable[[Path], ssl.SSLContext]
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(trust(make_certificates(tmp_path) / "ca.crt"), certificates)
