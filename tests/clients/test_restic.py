"""restic: whole backups, with the server's encryption beneath restic's own."""

from __future__ import annotations

from pathlib import Path

from tests.clients.content import tree, write
from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

MIB = 1024**2


def restic_for(server: Server, home: Path, bucket: str) -> Program:
    """restic with a repository in ``bucket``, which need not be there yet."""
    environment = {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket}/backups",
        "RESTIC_PASSWORD": "correct horse",
    }
    options = ("--cacert", str(server.certs / "ca.crt")) if server.certs else ()
    return Program("restic", home, ("--no-cache", *options), environment)


def test_backups_are_made_checked_restored_and_pruned(server: Server, home: Path, bucket_name: str) -> None:
    back_up_and_restore(server, home, bucket_name)


def test_restic_backs_up_and_restores_over_tls(tls_server: Server, home: Path, bucket_name: str) -> None:
    back_up_and_restore(tls_server, home, bucket_name)


def back_up_and_restore(server: Server, home: Path, bucket_name: str) -> None:
    """Back up twice, check, restore both, forget the first."""
    restic = restic_for(server, home, bucket_name)
    for number in range(20):
        write(home / "tree" / f"d{number % 3}" / f"file {number}", 10 + 50_000 * number, seed=number)
    write(home / "tree" / "large", 40 * MIB, seed=99)
    restic("init")
    restic("backup", "tree")
    first = tree(home / "tree")
    (home / "tree" / "large").unlink()
    write(home / "tree" / "d1" / "new", 3 * MIB, seed=100)
    restic("backup", "tree")
    restic("check", "--read-data")

    restic("restore", "latest", "--target", "back")
    assert tree(home / "back" / "tree") == tree(home / "tree")
    oldest = restic.output("snapshots", "--json").decode().split('"short_id":"')[1][:8]
    restic("restore", oldest, "--target", "older")
    assert tree(home / "older" / "tree") == first

    before = stored(server, bucket_name)
    restic("forget", "--keep-last", "1", "--prune")
    assert before - stored(server, bucket_name) > 30 * MIB
    restic("check", "--read-data")
    restic("restore", "latest", "--target", "again", "--verify")
    assert tree(home / "again" / "tree") == tree(home / "tree")


def stored(server: Server, bucket: str) -> int:
    """The bytes of all objects of a bucket, each of which is encrypted."""
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    objects = {item["Key"]: item["Size"] for page in pages for item in page["Contents"]}
    for key in objects:
        assert client.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"] == "AES256"
    return sum(objects.values())


def test_a_spoilt_password_opens_nothing(server: Server, home: Path, bucket_name: str) -> None:
    restic_for(server, home, bucket_name)("init")
    other = restic_for(server, home, bucket_name)
    other.environment["RESTIC_PASSWORD"] = "wrong"
    assert "wrong password" in other.refused("snapshots")
