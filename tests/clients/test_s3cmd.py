"""s3cmd. It compares what it sends and gets with the MD5 of the ETag, and of its own attributes."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.clients.content import tree, write
from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

pytestmark = pytest.mark.on_disk

MIB = 1024**2


def s3cmd_for(server: Server, home: Path) -> Program:
    """s3cmd with a configuration file for ``server``."""
    lines = {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "host_base": f"127.0.0.1:{server.port}",
        "host_bucket": f"127.0.0.1:{server.port}",  # path style
        "use_https": str(server.certs is not None),
        "ca_certs_file": str(server.certs / "ca.crt") if server.certs else "",
        "progress_meter": "False",
    }
    text = "".join(f"{name} = {value}\n" for name, value in lines.items())
    (home / ".s3cfg").write_text("[default]\n" + text)
    return Program("s3cmd", home)


@pytest.fixture
def s3cmd(sealed_server: Server, home: Path) -> Program:
    """s3cmd for the server that encrypts everything."""
    return s3cmd_for(sealed_server, home)


@pytest.fixture
def plain_s3cmd(plain_server: Server, home: Path) -> Program:
    """s3cmd for the server that encrypts what asks for it."""
    return s3cmd_for(plain_server, home)


def test_a_bucket_is_made_filled_listed_emptied_and_removed(s3cmd: Program, home: Path, bucket_name: str) -> None:
    url = f"s3://{bucket_name}"
    s3cmd("mb", url)
    content = write(home / "file", 100_000)
    s3cmd("put", "file", f"{url}/folder/a file+ü.bin")
    assert f"{url}/folder/a file+ü.bin" in s3cmd("ls", "--recursive", url)
    assert f"DIR  {url}/folder/" in s3cmd("ls", url)
    s3cmd("cp", f"{url}/folder/a file+ü.bin", f"{url}/copy")
    s3cmd("mv", f"{url}/copy", f"{url}/moved")
    s3cmd("get", f"{url}/moved", "back")
    assert (home / "back").read_bytes() == content
    assert f"{url}/copy" not in s3cmd("ls", url)
    assert "2 objects" in s3cmd("du", url)
    assert "BucketNotEmpty" in s3cmd.refused("rb", url)
    s3cmd("del", "--recursive", "--force", url)
    s3cmd("rb", url)
    assert url not in s3cmd("ls")


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_under_a_master_key_that_is_named(s3cmd: Program, home: Path, bucket: str, size: int) -> None:
    content, url = write(home / "file", size), f"s3://{bucket}/named"
    s3cmd("put", "--server-side-encryption", "--server-side-encryption-kms-id", "my-minio-key", "file", url)
    assert "aws:kms" in s3cmd("info", url)
    s3cmd("get", url, "back")
    assert (home / "back").read_bytes() == content


def test_the_md5_that_s3cmd_verifies_is_that_of_the_content(s3cmd: Program, home: Path, bucket: str) -> None:
    content = write(home / "file", 100_000)
    put = s3cmd("put", "--add-header", "x-amz-meta-colour: green", "file", f"s3://{bucket}/file")
    assert "MD5 Sums don't match" not in put
    shown = s3cmd("info", f"s3://{bucket}/file")
    assert re.search(rf"MD5 sum:\s+{hashlib.md5(content).hexdigest()}", shown)
    assert re.search(r"SSE:\s+AES256", shown)
    assert re.search(r"x-amz-meta-colour:\s+green", shown)
    assert hashlib.md5(content).hexdigest() in s3cmd("ls", "--list-md5", f"s3://{bucket}")


def test_a_large_file_is_sent_in_parts(s3cmd: Program, server: Server, home: Path, bucket: str) -> None:
    content = write(home / "large", 22 * MIB)
    s3cmd("put", "--multipart-chunk-size-mb=5", "large", f"s3://{bucket}/large")
    assert server.client().head_object(Bucket=bucket, Key="large")["ETag"].endswith('-5"')
    got = s3cmd("get", f"s3://{bucket}/large", "back")
    assert (home / "back").read_bytes() == content
    assert "WARNING" not in got
    assert s3cmd("multipart", f"s3://{bucket}").count(bucket) == 1  # the heading: no upload is open


def test_a_folder_is_synchronised_there_and_back(s3cmd: Program, home: Path, bucket: str) -> None:
    for number in range(6):
        write(home / "tree" / f"d{number % 2}" / f"file {number}", 10 + 50_000 * number, seed=number)
    s3cmd("sync", "tree/", f"s3://{bucket}/tree/")
    assert "upload:" not in s3cmd("sync", "tree/", f"s3://{bucket}/tree/")  # by MD5, it finds nothing to do
    (home / "tree" / "d0" / "file 0").unlink()
    write(home / "tree" / "d1" / "file 1", 50_010, seed=99)  # of the same size
    s3cmd("sync", "--delete-removed", "tree/", f"s3://{bucket}/tree/")
    (home / "back").mkdir()
    s3cmd("sync", f"s3://{bucket}/tree/", "back/")
    assert tree(home / "back") == tree(home / "tree")


def test_an_object_is_encrypted_by_the_server_if_asked(plain_s3cmd: Program, home: Path, plain_bucket: str) -> None:
    content = write(home / "file", 6 * MIB)
    url = f"s3://{plain_bucket}"
    plain_s3cmd("put", "--server-side-encryption", "file", f"{url}/sealed")
    plain_s3cmd("put", "--server-side-encryption", "--multipart-chunk-size-mb=5", "file", f"{url}/parts")
    plain_s3cmd("put", "file", f"{url}/plain")
    for name, shown in (("sealed", "AES256"), ("parts", "AES256"), ("plain", "none")):
        assert re.search(rf"SSE:\s+{shown}", plain_s3cmd("info", f"{url}/{name}"))
        plain_s3cmd("get", f"{url}/{name}", f"back-{name}")
        assert (home / f"back-{name}").read_bytes() == content


def test_settings_that_buckets_do_not_have_are_shown_as_none(s3cmd: Program, bucket: str) -> None:
    shown = s3cmd("info", f"s3://{bucket}")
    assert "us-east-1" in shown
    for setting in ("Policy", "CORS"):
        assert re.search(rf"{setting}:\s+none", shown)


def test_it_speaks_tls(tls_server: Server, home: Path, tls_bucket: str) -> None:
    s3cmd = s3cmd_for(tls_server, home)
    content = write(home / "file", 100_000)
    s3cmd("put", "file", f"s3://{tls_bucket}/file")
    assert s3cmd.output("get", f"s3://{tls_bucket}/file", "-") == content


def test_signed_urls_of_the_old_kind_are_refused_and_the_error_names_the_new_kind(
    s3cmd: Program, home: Path, bucket: str
) -> None:
    write(home / "file", 1000)
    s3cmd("put", "file", f"s3://{bucket}/file")
    url = s3cmd("signurl", f"s3://{bucket}/file", "+60").strip()  # s3cmd has signature version 2 only here
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url)
    with error.value as answer:
        assert answer.code == 400
        assert b"Please use AWS4-HMAC-SHA256." in answer.read()
