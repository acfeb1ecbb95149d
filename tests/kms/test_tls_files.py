"""Files that say whom to trust as the KMS, and who we are: what may be in them, and what is said of bad ones."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from strongroom.kms.vault_tls import BadTLSFile, trusting
from tests.certificates import make_certificates
from tests.test_trust import meet


@pytest.fixture
def authorities(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "authorities").mkdir()
    return tmp_path / "authorities"


def shown(context: ssl.SSLContext, certs: Path) -> bool:
    """Whether a server that trusts the authority of ``certs``, and asks for a certificate, gets one that it takes."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(certs / "public.crt", certs / "private.key")
    asking.load_verify_locations(certs / "ca.crt")
    asking.verify_mode = ssl.CERT_REQUIRED
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = asking.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return False
    return server.getpeercert() is not None


def test_every_authority_in_a_directory_is_trusted_whatever_else_lies_there(authorities: Path, tmp_path: Path) -> None:
    makers = [make_certificates(tmp_path / name) for name in ("one", "two")]
    for certs in makers:  # as `openssl x509 -text` writes it, in a file that an editor left without its last newline
        pem = (certs / "ca.crt").read_bytes().strip()
        (authorities / certs.name).write_bytes("Issuer: O=Société générale\n".encode() + pem)
    (authorities / "README").write_text("no certificate")
    (authorities / "key.pem").write_bytes((makers[0] / "private.key").read_bytes())
    (authorities / "old").mkdir()
    context = trusting(authorities)
    for certs in makers:
        meet(context, certs)
    with pytest.raises(ssl.SSLCertVerificationError):
        meet(context, make_certificates(tmp_path / "three"))


def test_the_one_file_of_a_directory_that_is_no_good_is_named(authorities: Path, certificates: Path) -> None:
    with pytest.raises(BadTLSFile, match=f"cannot read '{authorities / 'absent'}': No such file"):
        trusting(authorities / "absent")
    with pytest.raises(BadTLSFile, match=f"there is no certificate in PEM in '{authorities}'"):
        trusting(authorities)
    good = (certificates / "ca.crt").read_bytes()
    (authorities / "good.pem").write_bytes(good)
    for cut in (len(good) // 2, len(good) - 40):
        (authorities / "bad.pem").write_bytes(good[:cut])
        with pytest.raises(BadTLSFile, match=f"'{authorities / 'bad.pem'}' holds a certificate that is damaged"):
            trusting(authorities)


@pytest.mark.parametrize("together", [False, True])
def test_a_certificate_of_ours_is_shown_where_it_is_asked_for(
    certificates: Path, tmp_path: Path, together: bool
) -> None:
    certificate, key = certificates / "public.crt", certificates / "private.key"
    assert not shown(trusting(certificates / "ca.crt"), certificates)
    if together:
        both = tmp_path / "both.pem"
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        context = trusting(certificates / "ca.crt", both)
    else:
        context = trusting(certificates / "ca.crt", certificate, key)
    assert shown(context, certificates)


def test_files_that_are_no_certificate_and_its_key_are_named(certificates: Path, tmp_path: Path) -> None:
    certificate, key = certificates / "public.crt", certificates / "private.key"
    absent, empty, other = tmp_path / "absent", tmp_path / "empty", make_certificates(tmp_path / "other")
    empty.write_bytes(b"")
    for given, says in (
        ((absent, key), f"cannot read '{absent}': No such file"),
        ((certificate, absent), f"cannot read '{absent}': No such file"),
        ((certificate, tmp_path), f"cannot read '{tmp_path}': Is a directory"),
        ((certificate, other / "private.key"), f"'{certificate}' and '{other / 'private.key'}' are not a certificate"),
        ((key, certificate), f"'{key}' and '{certificate}' are not a certificate"),
        ((empty, key), f"'{empty}' and '{key}' are not a certificate"),
        ((certificate, None), f"'{certificate}' are not a certificate and its key"),
    ):
        with pytest.raises(BadTLSFile) as refused:
            trusting(certificates / "ca.crt", *given)
        assert str(refused.value).startswith(says)


def test_a_key_with_a_password_is_named_and_nobody_is_asked_for_it(certificates: Path, tmp_path: Path) -> None:
    certificate = certificates / "public.crt"
    key = serialization.load_pem_private_key((certificates / "private.key").read_bytes(), None)
    hidden, both = tmp_path / "hidden.key", tmp_path / "both.pem"
    hidden.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    both.write_bytes(certificate.read_bytes() + hidden.read_bytes())
    for given, named in (((certificate, hidden), hidden), ((both, None), both)):
        with pytest.raises(BadTLSFile, match=f"the key in '{named}' has a password; give one without"):
            trusting(certificates / "ca.crt", *given)
