"""rclone, as the providers "Minio" and "Other"."""

from __future__ import annotations

import hashlib
import urllib.request
from pathlib import Path

import pytest

from tests.clients.content import marked, tree, write
from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

MIB = 1024**2
KEY, OTHER_KEY = "0123456789abcdef0123456789ABCDEF", "another key, as long as the first"[:32]


def rclone_for(server: Server, home: Path, *flags: str, **configuration: str) -> Program:
    """rclone with a remote ``s`` for ``server``; ``configuration``: further lines of it."""
    lines = {
        "type": "s3",
        "provider": "Minio",
        "endpoint": server.endpoint,
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        **configuration,
    }
    directory = home / ".config" / "rclone"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "rclone.conf").write_text("[s]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items()))
    options = ["--retries", "1", *flags]
    if server.certs:
        options += ["--ca-cert", str(server.certs / "ca.crt")]
    return Program("rclone", home, tuple(options))


def fill(directory: Path) -> None:
    for number in range(6):
        write(directory / f"d{number % 2}" / f"file {number}", 10 + 50_000 * number, seed=number)
    write(directory / "large", 12 * MIB, seed=7)


def test_a_folder_under_a_master_key_that_is_named(sealed_server: Server, home: Path, bucket: str) -> None:
    rclone = rclone_for(
        sealed_server, home, upload_cutoff="10M", chunk_size="5M",
        server_side_encryption="aws:kms", sse_kms_key_id="my-minio-key",
    )  # fmt: skip
    fill(home / "tree")
    rclone("copy", "tree", f"s:{bucket}/tree")
    for row in sealed_server.client().list_objects_v2(Bucket=bucket)["Contents"]:
        assert sealed_server.client().head_object(Bucket=bucket, Key=row["Key"])["SSEKMSKeyId"] == "my-minio-key"
    assert "0 differences found" in rclone("check", "--download", "tree", f"s:{bucket}/tree")
    rclone("copy", f"s:{bucket}/tree", "back")
    assert tree(home / "back") == tree(home / "tree")


@pytest.mark.parametrize("provider", ["Minio", "Other"])
def test_a_folder_is_copied_checked_and_comes_back(
    sealed_server: Server, home: Path, bucket_name: str, provider: str
) -> None:
    rclone = rclone_for(sealed_server, home, provider=provider, upload_cutoff="10M", chunk_size="5M")
    fill(home / "tree")
    target = f"s:{bucket_name}/tree"
    rclone("mkdir", f"s:{bucket_name}")
    rclone("copy", "tree", target)
    checked = rclone("check", "tree", target)
    assert "0 differences found" in checked
    assert "hashes could not be checked" not in checked  # all were, also that of the file in parts
    assert "0 differences found" in rclone("check", "--download", "tree", target)
    rclone("copy", target, "back")
    assert tree(home / "back") == tree(home / "tree")
    rclone("purge", f"s:{bucket_name}/tree")
    rclone("rmdir", f"s:{bucket_name}")
    assert bucket_name not in rclone("lsd", "s:")


def test_a_folder_is_synchronised(sealed_server: Server, home: Path, bucket: str) -> None:
    rclone = rclone_for(sealed_server, home)
    fill(home / "tree")
    rclone("sync", "tree", f"s:{bucket}")
    (home / "tree" / "large").unlink()
    write(home / "tree" / "d1" / "file 1", 50_010, seed=99)  # of the same size
    rclone("sync", "--checksum", "tree", f"s:{bucket}")
    rclone("sync", f"s:{bucket}", "back")
    assert tree(home / "back") == tree(home / "tree")
    rclone("copyto", f"s:{bucket}/d1/file 1", f"s:{bucket}/copy ü")
    rclone("moveto", f"s:{bucket}/copy ü", f"s:{bucket}/moved")
    assert rclone.output("cat", f"s:{bucket}/moved") == marked(50_010, seed=99)
    assert "copy" not in rclone("lsf", f"s:{bucket}")


def test_hashes_and_sizes_are_those_of_the_content(sealed_server: Server, home: Path, bucket: str) -> None:
    rclone = rclone_for(sealed_server, home, upload_cutoff="10M", chunk_size="5M")
    fill(home / "tree")
    rclone("copy", "tree", f"s:{bucket}")
    content = tree(home / "tree")
    sums = set(rclone("md5sum", f"s:{bucket}").splitlines())
    assert sums == {f"{hashlib.md5(file).hexdigest()}  {name}" for name, file in content.items()}
    listed = {line.strip() for line in rclone("ls", f"s:{bucket}").splitlines()}
    assert listed == {f"{len(file)} {name}" for name, file in content.items()}


def test_a_stream_of_unknown_length_becomes_an_object(sealed_server: Server, home: Path, bucket: str) -> None:
    rclone = rclone_for(sealed_server, home, chunk_size="5M")
    content = marked(12 * MIB)
    rclone("rcat", f"s:{bucket}/piped", stdin=content)
    assert rclone.output("cat", f"s:{bucket}/piped") == content
    assert rclone.output("cat", "--offset", "6000000", "--count", "100", f"s:{bucket}/piped") == content[6000000:][:100]


def test_objects_are_encrypted_by_the_server_if_asked(plain_server: Server, home: Path, plain_bucket: str) -> None:
    asked = {"server_side_encryption": "AES256", "upload_cutoff": "10M", "chunk_size": "5M"}
    rclone = rclone_for(plain_server, home, **asked)
    fill(home / "tree")
    rclone("copy", "tree", f"s:{plain_bucket}")
    assert "0 differences found" in rclone("check", "tree", f"s:{plain_bucket}")
    for name in ("large", "d1/file 1"):
        head = plain_server.client().head_object(Bucket=plain_bucket, Key=name)
        assert head["ServerSideEncryption"] == "AES256"


def test_objects_under_a_key_of_ones_own_open_with_it_only(
    sealed_tls_server: Server, home: Path, tls_bucket: str
) -> None:
    own_key = {"sse_customer_algorithm": "AES256", "upload_cutoff": "10M", "chunk_size": "5M"}
    rclone = rclone_for(sealed_tls_server, home, sse_customer_key=KEY, **own_key)
    fill(home / "tree")
    rclone("copy", "tree", f"s:{tls_bucket}")
    assert "0 differences found" in rclone("check", "--download", "tree", f"s:{tls_bucket}")
    rclone("copyto", f"s:{tls_bucket}/large", f"s:{tls_bucket}/copy")
    assert rclone.output("cat", f"s:{tls_bucket}/copy") == (home / "tree" / "large").read_bytes()
    rclone = rclone_for(sealed_tls_server, home, sse_customer_key=OTHER_KEY, **own_key)
    assert rclone.run("cat", f"s:{tls_bucket}/large").stdout == b""
    rclone = rclone_for(sealed_tls_server, home)
    assert rclone.run("cat", f"s:{tls_bucket}/large").stdout == b""


def test_a_link_is_open_to_whoever_has_it(sealed_server: Server, home: Path, bucket: str) -> None:
    rclone = rclone_for(sealed_server, home)
    content = write(home / "file", 1000)
    rclone("copy", "file", f"s:{bucket}")
    link = rclone("link", "--expire", "1m", f"s:{bucket}/file").strip()
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == content
