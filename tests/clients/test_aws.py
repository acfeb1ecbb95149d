"""aws-cli."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.clients.content import marked, tree, write
from tests.clients.programs import Loaded, Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

MIB = 1024**2
KEY, OTHER_KEY = "0123456789abcdef0123456789ABCDEF", "another key, as long as the first"[:32]

MODULES = ("awscli.clidriver", "awscli.handlers", "awscli.customizations.s3.subcommands")
"""What each call of aws-cli loads."""

about_the_protocol = pytest.mark.local
"""tests/http shows the same over every way of serving, and each call of aws takes a quarter of a second."""


def aws_for(server: Server, home: Path, *configuration: str) -> Program:
    """aws-cli with a profile for ``server``; ``configuration``: further lines of it, of its ``s3`` section."""
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    lines = ["[default]", "region = us-east-1", f"endpoint_url = {server.endpoint}", "output = json"]
    if server.certs:
        lines.append(f"ca_bundle = {server.certs / 'ca.crt'}")
    lines += ["s3 =", "  signature_version = s3v4", *(f"  {line}" for line in configuration)]
    (home / ".aws" / "config").write_text("\n".join(lines) + "\n")
    environment = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": ""}
    return Loaded("aws", home, environment=environment, modules=MODULES)


@pytest.fixture
def aws(sealed_server: Server, home: Path) -> Program:
    """aws-cli for the server that encrypts everything."""
    return aws_for(sealed_server, home)


@pytest.fixture
def plain_aws(plain_server: Server, home: Path) -> Program:
    """aws-cli for the server that encrypts what asks for it."""
    return aws_for(plain_server, home)


@pytest.fixture
def tls_aws(sealed_tls_server: Server, home: Path) -> Program:
    """aws-cli for the server with TLS."""
    return aws_for(sealed_tls_server, home)


def api(aws: Program, operation: str, *arguments: str) -> Any:
    """What ``aws s3api`` shows."""
    return json.loads(aws.output("s3api", operation, *arguments) or b"null")


def test_a_bucket_is_made_filled_listed_emptied_and_removed(aws: Program, home: Path, bucket_name: str) -> None:
    url = f"s3://{bucket_name}"
    aws("s3", "mb", url)
    content = write(home / "file", 100_000)
    aws("s3", "cp", "file", f"{url}/folder/a file+ü.bin")
    assert "100000 folder/a file+ü.bin" in aws("s3", "ls", "--recursive", url)
    assert "PRE folder/" in aws("s3", "ls", url)
    assert aws.output("s3", "cp", f"{url}/folder/a file+ü.bin", "-") == content
    aws("s3", "mv", f"{url}/folder/a file+ü.bin", f"{url}/moved")
    aws("s3", "mv", f"{url}/moved", "back")
    assert (home / "back").read_bytes() == content
    aws("s3", "cp", "file", f"{url}/file")
    assert "BucketNotEmpty" in aws.refused("s3", "rb", url)
    aws("s3", "rm", "--recursive", url)
    aws("s3", "rb", url)
    assert bucket_name not in aws("s3", "ls")


def test_a_folder_is_synchronised_there_and_back(aws: Program, home: Path, bucket: str) -> None:
    for number in range(6):
        write(home / "tree" / f"d{number % 2}" / f"file {number}", 10 + 50_000 * number, seed=number)
    aws("s3", "sync", "tree", f"s3://{bucket}/tree")
    assert aws("s3", "sync", "tree", f"s3://{bucket}/tree") == ""
    (home / "tree" / "d0" / "file 0").unlink()
    write(home / "tree" / "d1" / "file 1", 70_000, seed=99)
    aws("s3", "sync", "--delete", "tree", f"s3://{bucket}/tree")
    aws("s3", "sync", f"s3://{bucket}/tree", f"s3://{bucket}/copy")
    aws("s3", "sync", f"s3://{bucket}/copy", "back")
    assert tree(home / "back") == tree(home / "tree")


def test_a_large_file_goes_in_parts_of_the_size_that_is_set(sealed_server: Server, home: Path, bucket: str) -> None:
    aws = aws_for(sealed_server, home, "multipart_threshold = 10MB", "multipart_chunksize = 6MB")
    content = write(home / "large", 20 * MIB)
    aws("s3", "cp", "--metadata", "colour=green", "large", f"s3://{bucket}/large")
    head = api(aws, "head-object", "--bucket", bucket, "--key", "large", "--checksum-mode", "ENABLED")
    assert head["ContentLength"] == len(content)
    assert head["ETag"].endswith('-4"')
    assert head["ServerSideEncryption"] == "AES256"
    assert head["Metadata"] == {"colour": "green"}
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")  # by UploadPartCopy
    aws("s3", "cp", f"s3://{bucket}/copy", "back")
    assert (home / "back").read_bytes() == content


@about_the_protocol
def test_a_stream_becomes_an_object(aws: Program, bucket: str) -> None:
    content = marked(20 * MIB)
    aws("s3", "cp", "-", f"s3://{bucket}/piped", stdin=content)
    assert aws.output("s3", "cp", f"s3://{bucket}/piped", "-") == content


@about_the_protocol
def test_a_presigned_url_is_open_until_it_expires(aws: Program, home: Path, bucket: str) -> None:
    content = write(home / "file", 100_000)
    aws("s3", "cp", "file", f"s3://{bucket}/file")
    url = aws("s3", "presign", "--expires-in", "60", f"s3://{bucket}/file").strip()
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == content
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"))
    with error.value as answer:
        assert answer.code == 403


@about_the_protocol
def test_an_object_is_encrypted_by_the_server_if_asked(plain_aws: Program, home: Path, plain_bucket: str) -> None:
    content = write(home / "file", 1000)
    where = ("--bucket", plain_bucket, "--key")
    put = api(plain_aws, "put-object", *where, "sealed", "--body", "file", "--server-side-encryption", "AES256")
    assert put["ServerSideEncryption"] == "AES256"
    plain_aws("s3", "cp", "--sse", "AES256", "file", f"s3://{plain_bucket}/also")
    assert api(plain_aws, "head-object", *where, "also")["ServerSideEncryption"] == "AES256"
    plain_aws("s3", "cp", "file", f"s3://{plain_bucket}/plain")
    assert "ServerSideEncryption" not in api(plain_aws, "head-object", *where, "plain")
    plain_aws("s3", "cp", "--sse", "AES256", f"s3://{plain_bucket}/plain", f"s3://{plain_bucket}/plain")
    assert api(plain_aws, "head-object", *where, "plain")["ServerSideEncryption"] == "AES256"
    assert plain_aws.output("s3", "cp", f"s3://{plain_bucket}/plain", "-") == content


@about_the_protocol
def test_a_bucket_encrypts_from_when_it_is_told_to(plain_aws: Program, home: Path, plain_bucket: str) -> None:
    write(home / "file", 1000)
    where = ("--bucket", plain_bucket)
    assert "ServerSideEncryptionConfigurationNotFoundError" in plain_aws.refused(
        "s3api", "get-bucket-encryption", *where
    )
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    api(plain_aws, "put-bucket-encryption", *where, "--server-side-encryption-configuration", json.dumps(rules))
    shown = api(plain_aws, "get-bucket-encryption", *where)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert shown["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    plain_aws("s3", "cp", "file", f"s3://{plain_bucket}/sealed")
    assert api(plain_aws, "head-object", *where, "--key", "sealed")["ServerSideEncryption"] == "AES256"


@about_the_protocol
@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_under_a_master_key_that_is_named(aws: Program, home: Path, bucket: str, size: int) -> None:
    content, url = write(home / "file", size), f"s3://{bucket}/named"
    aws("s3", "cp", "--sse", "aws:kms", "--sse-kms-key-id", "alias/my-minio-key", "file", url)
    head = api(aws, "head-object", "--bucket", bucket, "--key", "named")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "my-minio-key")
    assert aws.output("s3", "cp", url, "-") == content
    aws("s3", "cp", "--sse", "aws:kms", url, f"{url}-copy")
    assert aws.output("s3", "cp", f"{url}-copy", "-") == content
    refused = aws.refused("s3", "cp", "--sse", "aws:kms", "--sse-kms-key-id", "other", "file", f"{url}-other")
    assert "KMS.NotFoundException" in refused


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_an_object_under_a_key_of_ones_own_opens_with_it_only(
    tls_aws: Program, home: Path, tls_bucket: str, size: int
) -> None:
    content = write(home / "file", size)
    url, right = f"s3://{tls_bucket}/mine", ("--sse-c", "AES256", "--sse-c-key", KEY)
    tls_aws("s3", "cp", *right, "file", url)
    assert tls_aws.output("s3", "cp", *right, url, "-") == content
    assert "400" in tls_aws.refused("s3", "cp", url, "none")
    assert "403" in tls_aws.refused("s3", "cp", "--sse-c", "AES256", "--sse-c-key", OTHER_KEY, url, "wrong")
    source = ("--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", KEY)
    tls_aws("s3", "cp", *source, "--sse-c", "AES256", "--sse-c-key", OTHER_KEY, url, f"{url}-rekeyed")
    rekeyed = ("--sse-c", "AES256", "--sse-c-key", OTHER_KEY, f"{url}-rekeyed", "-")
    assert tls_aws.output("s3", "cp", *rekeyed) == content


@about_the_protocol
def test_s3api_takes_a_key_of_ones_own(tls_aws: Program, home: Path, tls_bucket: str) -> None:
    content = write(home / "file", 1000)
    where = ("--bucket", tls_bucket, "--key", "mine")
    key = ("--sse-customer-algorithm", "AES256", "--sse-customer-key", KEY)
    put = api(tls_aws, "put-object", *where, *key, "--body", "file")
    assert put["SSECustomerAlgorithm"] == "AES256"
    assert "ServerSideEncryption" not in put
    got = api(tls_aws, "get-object", *where, *key, "back")
    assert got["SSECustomerKeyMD5"] == put["SSECustomerKeyMD5"]
    assert (home / "back").read_bytes() == content


@about_the_protocol
@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256", "SHA512", "XXHASH3"])
def test_a_checksum_is_kept_and_shown(aws: Program, home: Path, bucket: str, algorithm: str) -> None:
    write(home / "file", 1000)
    where = ("--bucket", bucket, "--key", "file")
    put = api(aws, "put-object", *where, "--body", "file", "--checksum-algorithm", algorithm)
    head = api(aws, "head-object", *where, "--checksum-mode", "ENABLED")
    assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    assert head["ChecksumType"] == "FULL_OBJECT"


@about_the_protocol
def test_a_bucket_lets_a_web_page_in(aws: Program, bucket: str) -> None:
    rules = [{"AllowedHeaders": ["*"], "AllowedMethods": ["PUT"], "AllowedOrigins": ["https://app.example.com"]}]
    aws("s3api", "put-bucket-cors", "--bucket", bucket, "--cors-configuration", json.dumps({"CORSRules": rules}))
    assert api(aws, "get-bucket-cors", "--bucket", bucket) == {"CORSRules": rules}
    aws("s3api", "delete-bucket-cors", "--bucket", bucket)
    assert "NoSuchCORSConfiguration" in aws.refused("s3api", "get-bucket-cors", "--bucket", bucket)


@about_the_protocol
def test_an_upload_that_is_not_what_its_checksum_says_is_refused(aws: Program, home: Path, bucket: str) -> None:
    write(home / "file", 1000)
    where = ("--bucket", bucket, "--key", "file")
    wrong = ("--checksum-sha256", "A" * 43 + "=")
    assert "BadDigest" in aws.refused("s3api", "put-object", *where, "--body", "file", *wrong)
    assert "404" in aws.refused("s3api", "head-object", *where)


@about_the_protocol
def test_the_attributes_of_an_object_in_parts(aws: Program, home: Path, bucket: str) -> None:
    write(home / "large", 20 * MIB)
    aws("s3", "cp", "large", f"s3://{bucket}/large")
    names = ("ETag", "Checksum", "ObjectParts", "ObjectSize", "StorageClass")
    where = ("--bucket", bucket, "--key", "large")
    shown = api(aws, "get-object-attributes", *where, "--object-attributes", *names)
    assert shown["ETag"].endswith("-3")
    assert (shown["ObjectSize"], shown["StorageClass"]) == (20 * MIB, "STANDARD")
    assert shown["ObjectParts"]["TotalPartsCount"] == 3
    assert [part["Size"] for part in shown["ObjectParts"]["Parts"]] == [8 * MIB, 8 * MIB, 4 * MIB]
    assert shown["Checksum"]["ChecksumType"] in ("COMPOSITE", "FULL_OBJECT")


@about_the_protocol
def test_tags_are_put_shown_and_removed(aws: Program, home: Path, bucket: str) -> None:
    write(home / "file", 1000)
    where = ("--bucket", bucket, "--key", "file")
    api(aws, "put-object", *where, "--body", "file", "--tagging", "a=b")
    assert api(aws, "get-object-tagging", *where)["TagSet"] == [{"Key": "a", "Value": "b"}]
    api(aws, "put-object-tagging", *where, "--tagging", "TagSet=[{Key=c,Value=d},{Key=e,Value=f}]")
    assert len(api(aws, "get-object-tagging", *where)["TagSet"]) == 2
    api(aws, "delete-object-tagging", *where)
    assert api(aws, "get-object-tagging", *where)["TagSet"] == []


def test_listings_come_page_by_page(aws: Program, home: Path, bucket: str) -> None:
    for number in range(12):
        write(home / "tree" / f"{number:02}", 100)
    aws("s3", "sync", "tree", f"s3://{bucket}/")
    keys = [f"{number:02}" for number in range(12)]
    for operation in ("list-objects-v2", "list-objects"):
        listed = api(aws, operation, "--bucket", bucket, "--page-size", "5")
        assert [item["Key"] for item in listed["Contents"]] == keys
    first = api(aws, "list-objects-v2", "--bucket", bucket, "--page-size", "5", "--max-items", "7")
    rest = api(aws, "list-objects-v2", "--bucket", bucket, "--starting-token", first["NextToken"])
    assert [item["Key"] for item in first["Contents"] + rest["Contents"]] == keys


def test_an_upload_part_by_part_is_listed_and_aborted(aws: Program, home: Path, bucket: str) -> None:
    write(home / "part", 5 * MIB)
    where = ("--bucket", bucket, "--key", "parts")
    upload = ("--upload-id", api(aws, "create-multipart-upload", *where)["UploadId"])
    part = api(aws, "upload-part", *where, *upload, "--part-number", "1", "--body", "part")
    listed = api(aws, "list-parts", *where, *upload)["Parts"]
    assert [(item["PartNumber"], item["Size"], item["ETag"]) for item in listed] == [(1, 5 * MIB, part["ETag"])]
    assert len(api(aws, "list-multipart-uploads", "--bucket", bucket)["Uploads"]) == 1
    api(aws, "abort-multipart-upload", *where, *upload)
    assert "Uploads" not in (api(aws, "list-multipart-uploads", "--bucket", bucket) or {})
    assert "404" in aws.refused("s3api", "head-object", *where)
