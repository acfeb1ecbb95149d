"""TLS with real certificates."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.serving import tls
from tests.serving.conftest import Running, Start, until_closed
from tests.waiting import comes


def write_pair(
    directory: Path,
    name: str = "first",
    days: int = 10,
    passphrase: bytes | None = None,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
) -> None:
    """A certificate of its own for 127.0.0.1, and its key."""
    directory.mkdir(exist_ok=True)
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    (directory / "public.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    protection = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "private.key").write_bytes(key.private_bytes(encoding, form, protection))


def trusting() -> ssl.SSLContext:
    """A client's side, which takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def served_name(server: Running, most: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The name in the certificate that the server shows."""
    context = trusting()
    context.maximum_version = most
    with server.connect() as plain, context.wrap_socket(plain) as connection:
        shown = connection.getpeercert(binary_form=True)
        assert shown is not None
        connection.sendall(b"GET /request HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"\r\n\r\nhttps 127.0.0.1" in until_closed(connection)
    return str(x509.load_der_x509_certificate(shown).subject.rfc4514_string())


def test_a_certificate_in_the_directory_turns_tls_on(start: Start, tmp_path: Path) -> None:
    write_pair(tmp_path / "certs")
    server = start(f"--certs-dir={tmp_path / 'certs'}")
    assert server.secure
    assert served_name(server) == "CN=first"
    assert served_name(server, ssl.TLSVersion.TLSv1_2) == "CN=first"


def test_the_default_directory_is_in_the_home(start: Start, tmp_path: Path) -> None:
    (tmp_path / ".strongroom").mkdir()
    write_pair(tmp_path / ".strongroom" / "certs")
    assert start().secure


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    write_pair(tmp_path)
    found = tls.find(tmp_path)
    assert found is not None
    assert found.context().minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.fixture
def secure(start: Start, tmp_path: Path) -> Running:
    """A server with TLS and an RSA key, which old ciphers need."""
    write_pair(tmp_path / "certs", key=rsa.generate_private_key(65537, 2048))
    return start(f"--certs-dir={tmp_path / 'certs'}")


def agreed_cipher(server: Running, offered: str) -> str:
    """The cipher that a client of TLS 1.2 gets of those that it offers. Raises ssl.SSLError where it gets none."""
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(offered + ":@SECLEVEL=0")
    with server.connect() as plain, context.wrap_socket(plain) as connection:
        cipher = connection.cipher()
    assert cipher is not None
    return cipher[0]


@pytest.mark.parametrize("offered", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA", "DHE-RSA-AES128-SHA"])
def test_a_cipher_without_forward_secrecy_or_authentication_of_what_it_encrypts_is_refused(
    secure: Running, offered: str
) -> None:
    with pytest.raises(ssl.SSLError):
        agreed_cipher(secure, offered)


def test_the_client_says_which_cipher_is_the_best_for_it(secure: Running) -> None:
    fast_without_hardware, fast_with = "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"

    assert agreed_cipher(secure, f"{fast_with}:{fast_without_hardware}") == fast_with
    assert agreed_cipher(secure, f"{fast_without_hardware}:{fast_with}") == fast_without_hardware


def test_sighup_reads_the_certificate_anew_and_keeps_the_old_one_if_it_is_bad(
    start: Start, tmp_path: Path, log: Callable[[], str]
) -> None:
    certs = tmp_path / "certs"
    write_pair(certs)
    server = start(f"--certs-dir={certs}")
    good_key = (certs / "private.key").read_bytes()
    write_pair(certs, "second")
    new_key = (certs / "private.key").read_bytes()
    (certs / "private.key").write_bytes(good_key)
    server.process.send_signal(signal.SIGHUP)
    assert comes(lambda: "the old one stays" in log())
    assert served_name(server) == "CN=first"
    (certs / "private.key").write_bytes(new_key)
    server.process.send_signal(signal.SIGHUP)
    assert comes(lambda: served_name(server) == "CN=second")
    assert server.end() == 0


def test_a_new_certificate_with_a_key_of_another_kind_takes_the_place_of_the_old_one(
    start: Start, tmp_path: Path
) -> None:
    certs = tmp_path / "certs"
    write_pair(certs)
    server = start(f"--certs-dir={certs}")
    write_pair(certs, "second", key=rsa.generate_private_key(65537, 2048))
    server.process.send_signal(signal.SIGHUP)
    assert comes(lambda: served_name(server) == "CN=second")
    assert server.end() == 0


def test_a_connection_whose_handshake_ends_after_sigterm_is_closed(
    start: Start, tmp_path: Path, log: Callable[[], str]
) -> None:
    write_pair(tmp_path / "certs")
    server = start(f"--certs-dir={tmp_path / 'certs'}", "--idle-timeout=3600")
    body = b"PUT /size HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    with server.connect() as first, trusting().wrap_socket(first) as running, server.connect() as late:
        running.sendall(body)
        time.sleep(0.3)
        server.process.terminate()
        assert comes(lambda: "ending" in log())
        time.sleep(0.5)
        assert until_closed(trusting().wrap_socket(late)) == b""
        running.sendall(b"12345")
        assert until_closed(running).endswith(b"5")
    assert server.process.wait(20) == 0
    assert "Traceback" not in log()


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["kept connection", "last request"])
def test_a_client_that_takes_its_response_slowly_gets_all_of_it(start: Start, tmp_path: Path, more: bytes) -> None:
    write_pair(tmp_path / "certs")
    server = start(f"--certs-dir={tmp_path / 'certs'}", "--idle-timeout=1")
    size = 16 * 1024**2
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", server.port))
        with trusting().wrap_socket(plain) as connection:
            connection.sendall(b"GET /much HTTP/1.1\r\nHost: a\r\n" + more + b"\r\n")
            received = 0
            while received < size:
                piece = connection.recv(64 * 1024)
                assert piece, f"cut off after {received} bytes"
                received += len(piece)
                time.sleep(0.005)


def test_an_expired_certificate_is_served_with_a_warning(start: Start, tmp_path: Path, log: Callable[[], str]) -> None:
    write_pair(tmp_path / "certs", days=-1)
    assert start(f"--certs-dir={tmp_path / 'certs'}").secure
    assert "the certificate has expired" in log()


def test_an_expired_certificate_that_takes_the_place_of_another_is_served_with_a_warning(
    start: Start, tmp_path: Path, log: Callable[[], str]
) -> None:
    write_pair(tmp_path / "certs")
    server = start(f"--certs-dir={tmp_path / 'certs'}")
    write_pair(tmp_path / "certs", "late", days=-1)
    server.process.send_signal(signal.SIGHUP)
    assert comes(lambda: served_name(server) == "CN=late")
    assert comes(lambda: "the certificate has expired" in log())


def test_no_certificate_means_no_tls(tmp_path: Path) -> None:
    assert tls.find(tmp_path) is None
    assert tls.find(tmp_path / "absent") is None


@pytest.mark.parametrize("name", ["", "absent", "file"])
def test_no_certificate_where_one_is_required_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(tls.BadCertificate, match=r"there is no public\.crt and no private\.key in "):
        tls.find(tmp_path / name, required=True)


@pytest.mark.parametrize(("missing", "there"), [("public.crt", "private.key"), ("private.key", "public.crt")])
def test_one_of_the_two_files_alone_is_refused(tmp_path: Path, missing: str, there: str) -> None:
    write_pair(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(tls.BadCertificate, match=f"{there} is there, but .*{missing} is not"):
        tls.find(tmp_path)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path)
    certificate = (tmp_path / "public.crt").read_bytes()
    write_pair(tmp_path)
    (tmp_path / "public.crt").write_bytes(certificate)
    with pytest.raises(tls.BadCertificate, match="do not make a pair: key values mismatch"):
        tls.find(tmp_path)


@pytest.mark.parametrize("name", ["public.crt", "private.key"])
def test_rubbish_instead_of_pem_is_refused(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path)
    (tmp_path / name).write_text("not PEM\n")
    with pytest.raises(tls.BadCertificate, match="do not make a pair"):
        tls.find(tmp_path)


@pytest.mark.parametrize("name", ["public.crt", "private.key"])
def test_a_file_that_goes_while_it_is_read_is_refused(tmp_path: Path, name: str) -> None:
    write_pair(tmp_path)
    read = Path.read_bytes

    def replaced(file: Path) -> bytes:
        content = read(file)
        if file.name == "private.key":  # both have been looked at; now they are replaced
            (tmp_path / name).unlink()
        return content

    with mock.patch.object(Path, "read_bytes", replaced), pytest.raises(tls.BadCertificate, match="cannot read"):
        tls.find(tmp_path)


def test_an_encrypted_key_is_refused_instead_of_asking_the_terminal(tmp_path: Path) -> None:
    write_pair(tmp_path, passphrase=b"tell nobody")
    with pytest.raises(tls.BadCertificate, match="is encrypted; give it without a passphrase"):
        tls.find(tmp_path)
