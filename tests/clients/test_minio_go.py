"""minio-go, by the program in ``miniogo/``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

pytestmark = pytest.mark.on_disk

CHECKS = (
    "contents of sse-s3",
    "encryption of sse-s3 multipart",
    "contents of sse-kms",
    "encryption of sse-kms multipart",
    "contents of the stream",
    "checksum CRC64NVME is shown",
    "checksum XXHASH128 is shown",
    "contents by URL",
    "tags",
    "the bucket is removed",
)
CHECKS_WITH_TLS = ("contents of sse-c", "contents of sse-c multipart", "a wrong key is refused", "contents of the copy")


def test_minio_go_does_all_it_can_without_tls(sealed_server: Server, home: Path, bucket: str) -> None:
    lines = run(sealed_server, home, bucket)
    assert {f"ok {check}" for check in CHECKS} <= set(lines)


def test_minio_go_with_tls_and_keys_of_its_own(sealed_tls_server: Server, home: Path, tls_bucket: str) -> None:
    lines = run(sealed_tls_server, home, tls_bucket)
    assert {f"ok {check}" for check in (*CHECKS, *CHECKS_WITH_TLS)} <= set(lines)


def run(server: Server, home: Path, bucket: str) -> list[str]:
    """The lines that the program prints; it succeeds only if every check of its own does."""
    arguments = ["-endpoint", f"127.0.0.1:{server.port}", "-access", ACCESS_KEY, "-secret", SECRET_KEY]
    if server.certs:
        arguments += ["-ca", str(server.certs / "ca.crt")]
    return Program("miniogo", home)(*arguments, "-bucket", bucket).splitlines()
