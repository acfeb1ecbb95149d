"""Buckets, and the settings that clients ask for in passing."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from strongroom.s3.operations import UNSET
from tests.customer_keys import SSE_C
from tests.http.raw import error_of, request
from tests.server import Server
from tests.uploads import upload_of_one_part


def test_a_bucket_is_made_shown_and_removed(server: Server, bucket_name: str) -> None:
    client = server.client()
    assert client.create_bucket(Bucket=bucket_name)["Location"] == f"/{bucket_name}"
    assert bucket_name in [item["Name"] for item in client.list_buckets()["Buckets"]]
    assert client.head_bucket(Bucket=bucket_name)["BucketRegion"] == "us-east-1"
    assert client.get_bucket_location(Bucket=bucket_name)["LocationConstraint"] is None
    client.delete_bucket(Bucket=bucket_name)
    assert error_of(client.head_bucket, Bucket=bucket_name) == ("404", 404)
    assert error_of(client.delete_bucket, Bucket=bucket_name) == ("NoSuchBucket", 404)


def test_a_bucket_is_made_once(server: Server, bucket: str) -> None:
    assert error_of(server.client().create_bucket, Bucket=bucket) == ("BucketAlreadyOwnedByYou", 409)


@pytest.mark.parametrize("granted", [{"GrantRead": "id=x"}, {"GrantFullControl": "id=x"}, {"ACL": "public-read"}])
def test_a_bucket_for_others_too_is_refused(server: Server, bucket_name: str, granted: dict[str, str]) -> None:
    client = server.client()
    got = error_of(client.create_bucket, Bucket=bucket_name, **granted)
    assert got == ("AccessControlListNotSupported", 400)
    assert error_of(client.head_bucket, Bucket=bucket_name) == ("404", 404)


@pytest.mark.parametrize(
    ("asked", "refused"),
    [
        ({"ObjectLockEnabledForBucket": True}, ("NotImplemented", 501)),
        ({"CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "b"}]}}, ("NotImplemented", 501)),
        ({"ObjectOwnership": "Everybody"}, ("InvalidArgument", 400)),
        ({"ACL": "everybody"}, ("InvalidArgument", 400)),
    ],
)
def test_a_bucket_is_not_made_without_what_was_asked_of_it(
    server: Server, bucket_name: str, asked: Any, refused: tuple[str, int]
) -> None:
    client = server.client()
    assert error_of(client.create_bucket, Bucket=bucket_name, **asked) == refused
    assert error_of(client.head_bucket, Bucket=bucket_name) == ("404", 404)
    client.create_bucket(Bucket=bucket_name, ObjectLockEnabledForBucket=False, ObjectOwnership="BucketOwnerEnforced")


def test_a_bucket_that_holds_objects_stays(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="o", Body=b"x")
    assert error_of(client.delete_bucket, Bucket=bucket) == ("BucketNotEmpty", 409)
    client.delete_object(Bucket=bucket, Key="o")
    upload = client.create_multipart_upload(Bucket=bucket, Key="o")["UploadId"]
    client.delete_bucket(Bucket=bucket)
    client.create_bucket(Bucket=bucket)
    assert error_of(client.list_parts, Bucket=bucket, Key="o", UploadId=upload) == ("NoSuchUpload", 404)


def test_buckets_are_listed_in_pages(server: Server, bucket_name: str) -> None:
    client = server.client()
    names = [f"{bucket_name}-{letter}" for letter in "abc"]
    for name in names:
        client.create_bucket(Bucket=name)
    first = client.list_buckets(Prefix=bucket_name, MaxBuckets=2)
    rest = client.list_buckets(Prefix=bucket_name, ContinuationToken=first["ContinuationToken"])
    assert [item["Name"] for item in first["Buckets"] + rest["Buckets"]] == names
    assert "ContinuationToken" not in rest


def test_a_list_of_buckets_says_whose_they_are_and_what_was_asked_for(server: Server, bucket: str) -> None:
    client = server.client()
    listed = client.list_buckets(Prefix=bucket)
    assert listed["Owner"] == client.get_bucket_acl(Bucket=bucket)["Owner"]
    assert listed["Prefix"] == bucket
    (shown,) = (item for item in listed["Buckets"] if item["Name"] == bucket)
    assert abs(datetime.datetime.now(datetime.UTC) - shown["CreationDate"]) < datetime.timedelta(hours=1)
    assert "Prefix" not in client.list_buckets()


@pytest.mark.parametrize(("limit", "status"), [("0", 400), ("1", 200), ("10000", 200), ("10001", 400), ("-1", 400)])
def test_a_page_of_buckets_has_from_one_to_ten_thousand(server: Server, bucket: str, limit: str, status: int) -> None:
    answer = request(server, "GET", f"/?max-buckets={limit}")
    assert answer.status == status
    if status == 400:
        found = answer.code, answer.find("ArgumentName"), answer.find("ArgumentValue")
        assert found == ("InvalidArgument", "max-buckets", limit)


def test_no_buckets_are_in_another_region(server: Server, bucket: str) -> None:
    client = server.client()
    for region, wanted in (("us-east-1", [bucket]), ("eu-west-1", [])):
        listed = client.list_buckets(Prefix=bucket, BucketRegion=region)
        assert [item["Name"] for item in listed["Buckets"]] == wanted
    assert request(server, "GET", f"/?bucket-region=&prefix={bucket}").find("Name") == bucket


@pytest.mark.parametrize("ownership", ["BucketOwnerPreferred", "ObjectWriter"])
def test_whoever_shall_own_the_objects_a_bucket_is_made(server: Server, bucket_name: str, ownership: Any) -> None:
    """There is one owner."""
    client = server.client()
    client.create_bucket(Bucket=bucket_name, ObjectOwnership=ownership)
    client.delete_bucket(Bucket=bucket_name)


def test_a_bucket_that_is_not_there_has_no_settings(server: Server) -> None:
    client, none = server.client(), {"Bucket": "no-such-bucket"}
    rule: Any = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    for call, more in (
        (client.get_bucket_location, {}),
        (client.get_bucket_encryption, {}),
        (client.put_bucket_encryption, {"ServerSideEncryptionConfiguration": rule}),
        (client.delete_bucket_encryption, {}),
        (client.put_object_acl, {"Key": "o", "ACL": "private"}),
    ):
        assert error_of(call, **none, **more) == ("NoSuchBucket", 404)


PATHS = {
    "GetBucketAccelerateConfiguration": "accelerate", "GetBucketAcl": "acl", "GetBucketCors": "cors",
    "GetBucketLifecycleConfiguration": "lifecycle", "GetBucketLogging": "logging",
    "GetBucketNotificationConfiguration": "notification", "GetBucketOwnershipControls": "ownershipControls",
    "GetBucketPolicy": "policy", "GetBucketPolicyStatus": "policyStatus", "GetBucketReplication": "replication",
    "GetBucketRequestPayment": "requestPayment", "GetBucketTagging": "tagging", "GetBucketVersioning": "versioning",
    "GetBucketWebsite": "website", "GetObjectLockConfiguration": "object-lock",
    "GetPublicAccessBlock": "publicAccessBlock", "GetObjectAcl": "/o?acl", "GetObjectLegalHold": "/o?legal-hold",
    "GetObjectRetention": "/o?retention",
}  # fmt: skip


@pytest.mark.parametrize("operation", sorted(UNSET))
def test_a_setting_that_was_never_made_is_answered_as_aws_does(server: Server, bucket: str, operation: str) -> None:
    server.client().put_object(Bucket=bucket, Key="o", Body=b"x")
    path = PATHS[operation] if PATHS[operation].startswith("/") else f"?{PATHS[operation]}"
    answer = request(server, "GET", f"/{bucket}{path}")
    says = UNSET[operation]
    if says[0].isupper() and says != "BucketOwner":
        assert (answer.status, answer.code) == (400 if says == "InvalidRequest" else 404, says)
    else:
        assert answer.status == 200 and answer.body.startswith(b"<?xml")
    missing = request(server, "GET", f"/no-such-bucket{path}")
    assert (missing.status, missing.code) == (404, "NoSuchBucket")


def test_sdks_understand_those_answers(server: Server, bucket: str) -> None:
    client = server.client()
    assert "Status" not in client.get_bucket_versioning(Bucket=bucket)
    assert client.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    assert client.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert error_of(client.get_bucket_policy, Bucket=bucket) == ("NoSuchBucketPolicy", 404)


def test_an_acl_that_leaves_all_to_the_owner_is_taken(server: Server, bucket: str) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**o, Body=b"x")
    client.put_bucket_acl(Bucket=bucket, ACL="private")
    client.put_object_acl(**o, ACL="bucket-owner-full-control")
    for setting, shown, what in [
        (client.put_bucket_acl, client.get_bucket_acl, {"Bucket": bucket}),
        (client.put_object_acl, client.get_object_acl, o),
    ]:
        policy = {name: shown(**what)[name] for name in ("Owner", "Grants")}
        setting(**what, AccessControlPolicy=policy)
        assert policy == {name: shown(**what)[name] for name in policy}


def test_any_other_acl_is_refused(server: Server, bucket: str) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    assert error_of(client.put_object_acl, **o, ACL="private") == ("NoSuchKey", 404)
    client.put_object(**o, Body=b"x")
    shown: Any = client.get_object_acl(**o)
    everybody = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}
    refused = ("AccessControlListNotSupported", 400)
    for grants in (
        [],
        [*shown["Grants"], {"Grantee": everybody, "Permission": "READ"}],
        [{"Grantee": {"Type": "CanonicalUser", "ID": "0" * 64}, "Permission": "FULL_CONTROL"}],
        [{**shown["Grants"][0], "Permission": "READ"}],
    ):
        policy: Any = {"Owner": shown["Owner"], "Grants": grants}
        assert error_of(client.put_object_acl, **o, AccessControlPolicy=policy) == refused
        assert error_of(client.put_bucket_acl, Bucket=bucket, AccessControlPolicy=policy) == refused
    assert error_of(client.put_object_acl, **o, ACL="public-read") == refused
    assert error_of(client.put_bucket_acl, Bucket=bucket, GrantRead="id=0") == refused
    assert error_of(client.put_bucket_acl, Bucket=bucket) == ("MissingSecurityHeader", 400)
    assert error_of(client.put_object_acl, **o) == ("MissingSecurityHeader", 400)
    assert request(server, "PUT", f"/{bucket}?acl").find("MissingHeaderName") == "x-amz-acl"
    assert error_of(client.put_bucket_acl, Bucket="no-such-bucket", ACL="private") == ("NoSuchBucket", 404)


@pytest.mark.parametrize(
    ("acl", "code"),
    [
        ("private", ""),
        ("bucket-owner-read", ""),
        ("bucket-owner-full-control", ""),
        ("public-read", "AccessControlListNotSupported"),
        ("public-read-write", "AccessControlListNotSupported"),
        ("authenticated-read", "AccessControlListNotSupported"),
        ("aws-exec-read", "AccessControlListNotSupported"),
        ("log-delivery-write", "InvalidArgument"),
    ],
)
def test_an_acl_that_has_a_name_is_taken_if_it_gives_nobody_else_a_right(
    server: Server, bucket: str, acl: Any, code: str
) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    assert error_of(client.put_object, **o, Body=b"x", ACL=acl)[0] == code
    client.put_object(**o, Body=b"x")
    assert error_of(client.put_object_acl, **o, ACL=acl)[0] == code
    assert error_of(client.put_bucket_acl, Bucket=bucket, ACL=acl)[0] == code
    (grant,) = client.get_object_acl(**o)["Grants"]
    assert grant["Grantee"]["ID"] == client.list_buckets()["Owner"]["ID"]


OF_A_USER = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'


def test_an_acl_is_of_the_one_version_that_there_is(server: Server, bucket: str) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**o, Body=b"x")
    client.put_object_acl(**o, ACL="private", VersionId="null")
    assert client.get_object_acl(**o, VersionId="null")["Grants"] == client.get_object_acl(**o)["Grants"]
    assert error_of(client.put_object_acl, **o, ACL="private", VersionId="1")[0] == "NoSuchVersion"
    assert error_of(client.get_object_acl, **o, VersionId="1")[0] == "NoSuchVersion"
    assert error_of(client.get_object_acl, Bucket=bucket, Key="none")[0] == "NoSuchKey"


@pytest.mark.parametrize("grantee", ["", f"<Grantee {OF_A_USER}/>"])
def test_a_grant_to_nobody_in_particular_is_refused(server: Server, bucket: str, grantee: str) -> None:
    grant = f"<Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
    document = f"<AccessControlPolicy><AccessControlList>{grant}</AccessControlList></AccessControlPolicy>"
    answer = request(server, "PUT", f"/{bucket}?acl", body=document.encode())
    assert (answer.status, answer.code) == (400, "AccessControlListNotSupported")


def test_an_object_keeps_its_tags(server: Server, bucket: str) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    client.put_object(**o, Body=b"x", Tagging="colour=dark%20blue&empty=")
    wanted: Any = [{"Key": "colour", "Value": "dark blue"}, {"Key": "empty", "Value": ""}]
    assert client.get_object_tagging(**o)["TagSet"] == wanted
    assert client.get_object(**o)["TagCount"] == 2
    etag = client.head_object(**o)["ETag"]
    tags = [{"Key": "größe", "Value": "ü/+=:@"}]
    client.put_object_tagging(**o, Tagging={"TagSet": tags})
    assert client.get_object_tagging(**o)["TagSet"] == tags
    assert client.head_object(**o)["ETag"] == etag
    client.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/o")
    assert client.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == tags
    client.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/o", TaggingDirective="REPLACE", Tagging="new=1")
    assert client.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"] == [{"Key": "new", "Value": "1"}]
    client.delete_object_tagging(**o)
    assert client.get_object_tagging(**o)["TagSet"] == []
    assert "TagCount" not in client.get_object(**o)
    assert client.get_object(**o)["Body"].read() == b"x"


def test_tags_that_are_none_are_refused(server: Server, bucket: str) -> None:
    client, o = server.client(), {"Bucket": bucket, "Key": "o"}
    assert error_of(client.get_object_tagging, **o) == ("NoSuchKey", 404)
    assert error_of(client.put_object_tagging, **o, Tagging={"TagSet": []}) == ("NoSuchKey", 404)
    client.put_object(**o, Body=b"x", Tagging="kept=1")
    for tags, code in [
        ([{"Key": "a", "Value": ""}] * 2, "InvalidTag"),
        ([{"Key": "x" * 129, "Value": ""}], "InvalidTag"),
        ([{"Key": "aws:a", "Value": ""}], "InvalidTag"),
        ([{"Key": "a", "Value": "<>"}], "InvalidTag"),
        ([{"Key": str(number), "Value": ""} for number in range(11)], "BadRequest"),
    ]:
        assert error_of(client.put_object_tagging, **o, Tagging={"TagSet": tags})[0] == code
    assert client.get_object_tagging(**o)["TagSet"] == [{"Key": "kept", "Value": "1"}]


def test_tags_of_multipart_and_sse_c_objects(server: Server, bucket: str) -> None:
    client = server.client()
    client.put_object(Bucket=bucket, Key="c", Body=b"x", Tagging="a=1", **SSE_C)
    target, parts = upload_of_one_part(client, bucket, "m", Tagging="b=2")
    client.complete_multipart_upload(**target, MultipartUpload=parts)
    assert client.get_object_tagging(Bucket=bucket, Key="c")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert client.get_object_tagging(Bucket=bucket, Key="m")["TagSet"] == [{"Key": "b", "Value": "2"}]
