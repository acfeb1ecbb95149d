"""The tests that versitygw brings for S3 servers, as far as they are about what Strongroom has: another project's
reading of what AWS answers.

``versitygw.txt`` has the names of those that pass. Left out are those of versioning, object lock, policies, ACLs and
websites, those that want other words in a message or another owner than there is here, those that look at the list
of all buckets, and those of the checksum that AWS adds where a client sends none.
"""

from __future__ import annotations

import contextlib
from itertools import groupby
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.clients.programs import Program
from tests.server import ACCESS_KEY, SECRET_KEY, Server

pytestmark = pytest.mark.local  # what they are about is the protocol, which all ways of serving have in common

NAMES = (Path(__file__).parent / "versitygw.txt").read_text().split()
OPERATIONS = {operation: list(names) for operation, names in groupby(NAMES, lambda name: name.partition("_")[0])}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_versitygw_finds_what_it_expects(server: Server, home: Path, operation: str) -> None:
    program = Program("versitygw", home)
    keys = ("--access", ACCESS_KEY, "--secret", SECRET_KEY)
    failed = []
    for name in OPERATIONS[operation]:
        done = program.run("test", *keys, "--endpoint", server.endpoint, name)
        if done.returncode != 0 or b"PASS" not in done.stdout:
            failed.append((done.stdout + done.stderr).decode())
            remove_buckets(server)
    assert failed == []


def remove_buckets(server: Server) -> None:
    """Remove what a test that failed left: the next one's buckets have the same names."""
    client = server.client()
    for bucket in client.list_buckets(Prefix="test-bucket-")["Buckets"]:
        with contextlib.suppress(ClientError):
            for item in client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", []):
                client.delete_object(Bucket=bucket["Name"], Key=item["Key"])
            client.delete_bucket(Bucket=bucket["Name"])
