"""The MinIO Client, mc."""

from __future__ import annotations

import base64
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.clients.content import marked, tree, write
from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

MIB = 1024**2
KEY = base64.b64encode(bytes(range(32))).decode().rstrip("=")
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode().rstrip("=")


def mc_for(server: Server, home: Path) -> Program:
    if server.certs:
        trusted = home / ".mc" / "certs" / "CAs"
        trusted.mkdir(parents=True)
        (trusted / "ca.crt").write_bytes((server.certs / "ca.crt").read_bytes())
    mc = Program("mc", home, ("--no-color", "--disable-pager"))
    assert "Added `s` successfully" in mc("alias", "set", "s", server.endpoint, ACCESS_KEY, SECRET_KEY)
    return mc


@pytest.fixture
def mc(sealed_server: Server, home: Path) -> Program:
    """mc with the alias ``s`` for the server that encrypts everything."""
    return mc_for(sealed_server, home)


@pytest.fixture
def plain_mc(plain_server: Server, home: Path) -> Program:
    """mc with the alias ``s`` for the server that encrypts what asks for it."""
    return mc_for(plain_server, home)


@pytest.fixture
def tls_mc(sealed_tls_server: Server, home: Path) -> Program:
    """mc with the alias ``s`` for the server with TLS."""
    return mc_for(sealed_tls_server, home)


def stat(mc: Program, *arguments: str) -> Any:
    """What ``mc stat --json`` shows of an object."""
    return json.loads(mc.output("stat", "--json", *arguments))


@pytest.mark.parametrize("region", [{}, {"MC_REGION": "us-east-1"}], ids=["asked", "known"])
@pytest.mark.parametrize(
    ("access_key", "secret_key", "says"),
    [(ACCESS_KEY, "another-secret-key", "signature"), ("nobody", SECRET_KEY, "Access Key Id")],
    ids=["secret", "name"],
)
def test_an_alias_with_wrong_credentials_is_refused(
    sealed_server: Server, home: Path, access_key: str, secret_key: str, says: str, region: dict[str, str]
) -> None:
    mc = Program("mc", home, ("--no-color", "--disable-pager"), region)  # where it knows the region, it sends a HEAD
    assert says in mc.refused("alias", "set", "s", sealed_server.endpoint, access_key, secret_key)


def test_a_bucket_is_made_filled_listed_emptied_and_removed(mc: Program, home: Path, bucket_name: str) -> None:
    target = f"s/{bucket_name}"
    mc("mb", target)
    content = write(home / "file", 100_000)
    mc("cp", "file", f"{target}/folder/ein größeres file.bin")
    assert "folder/ein größeres file.bin" in mc("ls", "--recursive", target)
    assert mc.output("cat", f"{target}/folder/ein größeres file.bin") == content
    mc("cp", f"{target}/folder/ein größeres file.bin", "back")
    assert (home / "back").read_bytes() == content
    assert "not empty" in mc.refused("rb", target)
    mc("rm", "--recursive", "--force", target)
    assert mc("ls", "--recursive", target) == ""
    mc("rb", target)
    assert bucket_name not in mc("ls", "s")


def test_stat_shows_that_auto_encryption_is_on(mc: Program, home: Path, bucket: str) -> None:
    write(home / "file", 1000)
    mc("cp", "file", f"s/{bucket}/file")
    assert stat(mc, f"s/{bucket}/file")["metadata"]["X-Amz-Server-Side-Encryption"] == "AES256"
    assert "Encryption: SSE-S3" in mc("stat", f"s/{bucket}/file")


def test_a_large_file_is_sent_in_parts(mc: Program, home: Path, bucket: str) -> None:
    content = write(home / "large", 66 * MIB)
    mc("cp", "large", f"s/{bucket}/large")
    shown = stat(mc, f"s/{bucket}/large")
    assert shown["size"] == len(content)
    assert shown["etag"].endswith("-5")
    assert shown["metadata"]["X-Amz-Server-Side-Encryption"] == "AES256"
    mc("cp", f"s/{bucket}/large", "back")
    assert (home / "back").read_bytes() == content


def test_what_is_there_is_kept_where_mc_is_told_so(mc: Program, home: Path, bucket: str) -> None:
    kept = write(home / "kept", 20 * MIB)
    mc("put", "--if-not-exists", "kept", f"s/{bucket}/o")
    for size in (1000, 20 * MIB):  # at once, and in parts
        write(home / "other", size, seed=1)
        mc.refused("put", "--if-not-exists", "other", f"s/{bucket}/o")
    assert mc.output("cat", f"s/{bucket}/o") == kept


def test_a_purge_that_is_not_served_is_not_taken_for_one(mc: Program, home: Path, bucket: str) -> None:
    kept = write(home / "kept", 1000)
    mc("cp", "kept", f"s/{bucket}/folder/o")
    assert "Only objects are removed" in mc.refused("rm", "--force", "--purge", f"s/{bucket}/folder/")
    assert mc.output("cat", f"s/{bucket}/folder/o") == kept


def test_a_stream_is_piped_into_an_object(mc: Program, bucket: str) -> None:
    content = marked(20 * MIB)
    mc("pipe", f"s/{bucket}/piped", stdin=content)
    assert mc.output("cat", f"s/{bucket}/piped") == content


def test_a_folder_is_mirrored_there_and_back(mc: Program, home: Path, bucket: str) -> None:
    for number in range(6):
        write(home / "tree" / f"d{number % 2}" / f"file {number}", 10 + 50_000 * number, seed=number)
    mc("mirror", "tree", f"s/{bucket}/tree")
    assert mc("diff", "tree", f"s/{bucket}/tree") == ""
    mc("mirror", f"s/{bucket}/tree", "back")
    assert tree(home / "back") == tree(home / "tree")
    (home / "tree" / "d0" / "file 0").unlink()
    write(home / "tree" / "d1" / "file 1", 70_000, seed=99)
    mc("mirror", "--overwrite", "--remove", "tree", f"s/{bucket}/tree")
    mc("mirror", "--overwrite", "--remove", f"s/{bucket}/tree", "back")
    assert tree(home / "back") == tree(home / "tree")


def test_attributes_tags_and_checksums_go_along(mc: Program, home: Path, bucket: str) -> None:
    write(home / "file", 1000)
    mc("cp", "--attr", "Cache-Control=max-age=60;colour=green", "--tags", "a=b", "file", f"s/{bucket}/file")
    metadata = stat(mc, f"s/{bucket}/file")["metadata"]
    assert (metadata["Cache-Control"], metadata["X-Amz-Meta-Colour"]) == ("max-age=60", "green")
    mc("tag", "set", f"s/{bucket}/file", "c=d&e=f")
    assert json.loads(mc.output("tag", "list", "--json", f"s/{bucket}/file"))["tagset"] == {"c": "d", "e": "f"}
    for algorithm in ("CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256"):
        mc("cp", "--checksum", algorithm, "file", f"s/{bucket}/{algorithm}")
        assert mc.output("cat", f"s/{bucket}/{algorithm}") == marked(1000)


def test_objects_are_moved_found_counted_and_looked_into(mc: Program, home: Path, bucket: str) -> None:
    write(home / "file", 100_000)
    (home / "lines").write_text("first\nsecond\nthird\n")
    mc("cp", "file", "lines", f"s/{bucket}/")
    mc("mv", f"s/{bucket}/file", f"s/{bucket}/moved/file")
    found = mc("find", f"s/{bucket}", "--name", "fi*").splitlines()
    assert found == [f"s/{bucket}/moved/file"]
    assert "2 objects" in mc("du", f"s/{bucket}")
    assert mc("head", "--lines", "2", f"s/{bucket}/lines").splitlines() == ["first", "second"]


def test_a_bucket_lets_a_web_page_in(mc: Program, home: Path, bucket: str) -> None:
    rule = "<AllowedOrigin>https://app.example.com</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>"
    (home / "rules.xml").write_text(f"<CORSConfiguration><CORSRule>{rule}</CORSRule></CORSConfiguration>")
    mc("cors", "set", f"s/{bucket}", "rules.xml")
    assert "https://app.example.com" in mc("cors", "get", f"s/{bucket}")
    mc("cors", "remove", f"s/{bucket}")
    assert json.loads(mc("cors", "get", "--json", f"s/{bucket}")) == {"status": "not found"}


def test_a_shared_link_is_open_to_whoever_has_it(mc: Program, home: Path, bucket: str) -> None:
    content = write(home / "file", 100_000)
    mc("cp", "file", f"s/{bucket}/file")
    link = json.loads(mc.output("share", "download", "--json", "--expire", "1h", f"s/{bucket}/file"))["share"]
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == content


def test_a_shared_form_takes_an_upload(mc: Program, home: Path, bucket: str) -> None:
    content = write(home / "file", 100_000)
    shared = json.loads(mc.output("share", "upload", "--json", f"s/{bucket}/form"))["share"]
    command, *arguments = shared.replace("<FILE>", "file").split()
    Program(command, home, ("--silent", "--fail"))(*arguments)
    assert mc.output("cat", f"s/{bucket}/form") == content


def test_a_bucket_encrypts_from_when_it_is_told_to(plain_mc: Program, home: Path, plain_bucket: str) -> None:
    mc, target = plain_mc, f"s/{plain_bucket}"
    write(home / "file", 1000)
    mc("cp", "file", f"{target}/plain")
    mc("encrypt", "set", "sse-s3", target)
    assert "'sse-s3' is enabled" in mc("encrypt", "info", target)
    mc("cp", "file", f"{target}/sealed")
    mc("encrypt", "clear", target)
    assert "not found" in mc.refused("encrypt", "info", target)
    assert "Encryption" not in mc("stat", f"{target}/plain")
    assert "Encryption: SSE-S3" in mc("stat", f"{target}/sealed")


def test_an_object_is_encrypted_by_the_server_if_asked(plain_mc: Program, home: Path, plain_bucket: str) -> None:
    content = write(home / "file", 20 * MIB)
    target = f"s/{plain_bucket}"
    plain_mc("cp", "--enc-s3", target, "file", f"{target}/sealed")
    assert "Encryption: SSE-S3" in plain_mc("stat", f"{target}/sealed")
    assert plain_mc.output("cat", f"{target}/sealed") == content


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_under_a_master_key_that_is_named(mc: Program, home: Path, bucket: str, size: int) -> None:
    content, target = write(home / "file", size), f"s/{bucket}"
    mc("cp", "--enc-kms", f"{target}=my-minio-key", "file", f"{target}/named")
    assert "Encryption: SSE-KMS (my-minio-key)" in mc("stat", f"{target}/named")
    assert mc.output("cat", f"{target}/named") == content
    assert "KMS" in mc.refused("cp", "--enc-kms", f"{target}=other", "file", f"{target}/other")


def test_a_bucket_has_a_master_key_of_its_own(plain_mc: Program, home: Path, plain_bucket: str) -> None:
    mc, target = plain_mc, f"s/{plain_bucket}"
    content = write(home / "file", 1000)
    mc("encrypt", "set", "sse-kms", "my-minio-key", target)
    assert "'sse-kms' is enabled" in mc("encrypt", "info", target)
    mc("cp", "file", f"{target}/named")
    assert "Encryption: SSE-KMS (my-minio-key)" in mc("stat", f"{target}/named")
    assert mc.output("cat", f"{target}/named") == content
    mc("encrypt", "clear", target)


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_under_a_key_of_ones_own_opens_with_it_only(
    tls_mc: Program, home: Path, tls_bucket: str, size: int
) -> None:
    content = write(home / "file", size)
    target = f"s/{tls_bucket}"
    right, wrong = ("--enc-c", f"{target}={KEY}"), ("--enc-c", f"{target}={OTHER_KEY}")
    tls_mc("cp", *right, "file", f"{target}/mine")
    assert "Encryption: SSE-C" in tls_mc("stat", *right, f"{target}/mine")
    assert tls_mc.output("cat", *right, f"{target}/mine") == content
    for key in ((), wrong):
        assert tls_mc.run("cat", *key, f"{target}/mine").stdout == b""
        tls_mc.refused("stat", *key, f"{target}/mine")
    tls_mc("cp", *right, f"{target}/mine", f"{target}/copy")
    assert tls_mc.output("cat", *right, f"{target}/copy") == content


def test_mc_finds_the_server_ready(mc: Program) -> None:
    assert "is ready" in mc("ready", "s")


def test_buckets_are_host_names_below_the_domain(plain_server: Server, home: Path, plain_bucket: str) -> None:
    hosts = (f"{host}:{plain_server.port}=127.0.0.1" for host in ("s3.test", f"{plain_bucket}.s3.test"))
    mc = Program("mc", home, tuple(option for host in hosts for option in ("--resolve", host)))
    mc("alias", "set", "v", f"http://s3.test:{plain_server.port}", ACCESS_KEY, SECRET_KEY, "--path", "off")
    content = write(home / "file", 100_000)
    mc("cp", "file", f"v/{plain_bucket}/folder/file")
    assert mc.output("cat", f"v/{plain_bucket}/folder/file") == content
    assert "folder/file" in mc("ls", "--recursive", f"v/{plain_bucket}")
    link = json.loads(mc.output("share", "download", "--json", f"v/{plain_bucket}/folder/file"))["share"]
    assert link.startswith(f"http://{plain_bucket}.s3.test:")


def test_metrics_are_shown(mc: Program, home: Path, bucket: str) -> None:
    write(home / "file", 1000)
    mc("cp", "file", f"s/{bucket}/file")
    assert "strongroom_requests_total" in mc("admin", "prometheus", "metrics", "s")
    config = mc("admin", "prometheus", "generate", "s")
    assert "bearer_token" in config and "/minio/v2/metrics/cluster" in config


@pytest.mark.parametrize("asked", [("info", "s"), ("user", "list", "s"), ("policy", "list", "s")], ids=" ".join)
def test_administration_is_refused_as_what_it_is(mc: Program, asked: tuple[str, ...]) -> None:
    assert "MinIO's admin API is not served" in mc.refused("admin", *asked)
