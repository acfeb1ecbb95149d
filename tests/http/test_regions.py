"""Regions: as MinIO has them, one that is set is the only one, and where none is set, names of regions mean nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
import urllib3
from botocore.config import Config

from tests.http.raw import error_of, send, signed_headers
from tests.server import ACCESS_KEY, SECRET_KEY, Server

ELSEWHERE = "eu-west-1"


def client(server: Server, region: str) -> Any:
    """boto3, as an application that was configured for a region."""
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=region,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 0}),
    )


def post(signing: Any, bucket: str, content: bytes) -> int:
    """The status of an upload from a browser, to the key "posted"."""
    form = signing.generate_presigned_post(bucket, "posted")
    return urllib3.request("POST", form["url"], fields={**form["fields"], "file": ("posted", content)}).status


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose region is set."""
    with Server(tmp_path_factory.mktemp("placed"), {"MINIO_REGION": "eu-central-1"}, workers=1) as running:
        yield running


def test_requests_for_any_region_are_taken_where_none_is_set(server: Server, bucket: str) -> None:
    there = client(server, ELSEWHERE)
    there.put_object(Bucket=bucket, Key="o", Body=b"content")
    there.head_bucket(Bucket=bucket)
    url = there.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "o"})
    assert urllib3.request("GET", url).data == b"content"
    assert post(there, bucket, b"posted") == 204
    assert there.get_object(Bucket=bucket, Key="posted")["Body"].read() == b"posted"
    assert there.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


@pytest.mark.parametrize("region", ["a" * 65, "eu west", "eu/west", "ä"])
def test_what_is_no_region_s_name_is_refused(server: Server, bucket: str, region: str) -> None:
    headers = signed_headers(server, "GET", f"/{bucket}")
    headers["Authorization"] = headers["Authorization"].replace("us-east-1", region)
    assert send(server, "GET", f"/{bucket}", headers).code == "AuthorizationHeaderMalformed"


@pytest.mark.on_disk
def test_a_bucket_is_made_wherever_it_is_wanted_where_no_region_is_set(server: Server, bucket_name: str) -> None:
    there = client(server, ELSEWHERE)
    there.create_bucket(Bucket=bucket_name, CreateBucketConfiguration={"LocationConstraint": ELSEWHERE})
    there.delete_bucket(Bucket=bucket_name)


def test_a_region_that_is_set_is_the_only_one(placed: Server, bucket_name: str) -> None:
    here, there = client(placed, "eu-central-1"), client(placed, ELSEWHERE)
    here.create_bucket(Bucket=bucket_name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    assert here.get_bucket_location(Bucket=bucket_name)["LocationConstraint"] == "eu-central-1"
    assert there.list_objects_v2(Bucket=bucket_name)["KeyCount"] == 0, "boto3 learns the region, and asks again"
    url = there.generate_presigned_url("list_objects_v2", {"Bucket": bucket_name})
    assert urllib3.request("GET", url).status == 400
    assert post(there, bucket_name, b"posted") == 400
    for number, nowhere in enumerate(({}, {"CreateBucketConfiguration": {"LocationConstraint": ""}})):
        here.create_bucket(Bucket=f"{bucket_name}-nowhere-{number}", **nowhere)
    wrong: Any = {"LocationConstraint": ELSEWHERE}
    got = error_of(here.create_bucket, Bucket=f"{bucket_name}-2", CreateBucketConfiguration=wrong)
    assert got == ("InvalidLocationConstraint", 400)


def test_who_signs_for_another_region_is_told_the_right_one(placed: Server, bucket_name: str) -> None:
    path = f"/{bucket_name}"
    answer = send(placed, "GET", path, signed_headers(placed, "GET", path))
    assert (answer.status, answer.code, answer.find("Region")) == (400, "AuthorizationHeaderMalformed", "eu-central-1")
    for headers, status in ({}, 403), (signed_headers(placed, "HEAD", path), 400):
        answer = send(placed, "HEAD", path, headers)
        assert (answer.status, answer.headers["x-amz-bucket-region"]) == (status, "eu-central-1")
