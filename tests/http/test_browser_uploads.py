"""Browser uploads: forms with a signed policy, and forms that do not hold to it."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
from typing import Any

import pytest
from botocore.auth import S3SigV4PostAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.http.raw import Answer, send
from tests.server import ACCESS_KEY, SECRET_KEY, Server

Fields = dict[str, str]


def form(fields: Fields, body: bytes, file_name: str = "file.bin", boundary: str = "----boundary") -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'.encode()
    return b"".join([*parts, head, body, f"\r\n--{boundary}--\r\n".encode()])


def post(server: Server, bucket: str, fields: Fields, body: bytes, **options: str) -> Answer:
    headers = {"Content-Type": "multipart/form-data; boundary=----boundary"}
    return send(server, "POST", f"/{bucket}", headers, form(fields, body, **options))


def signed(
    server: Server,
    bucket: str,
    key: str,
    fields: Fields | None = None,
    conditions: list[Any] | None = None,
    **more: Any,
) -> Fields:
    client = server.client(signature_version="s3v4")
    made = client.generate_presigned_post(bucket, key, fields, conditions, **more)
    assert made["url"] == f"{server.endpoint}/{bucket}"
    result: Fields = made["fields"]
    return result


def signed_policy(policy: dict[str, Any], key: str) -> Fields:
    """The fields of a form with a policy of the test's own."""
    request = AWSRequest("POST", "http://127.0.0.1/")
    request.context = {"s3-presign-post-fields": {"key": key}, "s3-presign-post-policy": copy.deepcopy(policy)}
    S3SigV4PostAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
    result: Fields = request.context["s3-presign-post-fields"]
    return result


def keys(server: Server, bucket: str) -> list[str]:
    return [item["Key"] for item in server.client().list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize("size", [0, 5, 70_000, 3_000_000])
def test_a_form_brings_an_object(server: Server, bucket: str, size: int) -> None:
    body = os.urandom(size)
    answer = post(server, bucket, signed(server, bucket, "o"), body)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["x-amz-server-side-encryption"] == "AES256"
    assert answer.headers["etag"] == f'"{hashlib.md5(body).hexdigest()}"'
    assert server.client().get_object(Bucket=bucket, Key="o")["Body"].read() == body


def test_a_form_says_all_that_headers_say_elsewhere(server: Server, bucket: str) -> None:
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    fields = {
        "Content-Type": "text/plain", "x-amz-meta-who": "me", "tagging": tags, "success_action_status": "201",
        "x-amz-storage-class": "STANDARD",
    }  # fmt: skip
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(server, bucket, signed(server, bucket, "dir/${filename}", fields, conditions), b"x")
    assert (answer.status, answer.find("Key"), answer.find("Bucket")) == (201, "dir/file.bin", bucket)
    head = server.client().head_object(Bucket=bucket, Key="dir/file.bin")
    assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"who": "me"})
    tagged = server.client().get_object_tagging(Bucket=bucket, Key="dir/file.bin")["TagSet"]
    assert tagged == [{"Key": "a", "Value": "1"}]


def test_a_form_may_bring_a_key_of_its_own(server: Server, bucket: str) -> None:
    key, prefix = bytes(range(32)), "x-amz-server-side-encryption-customer-"
    fields = {
        prefix + "algorithm": "AES256",
        prefix + "key": base64.b64encode(key).decode(),
        prefix + "key-MD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    conditions = [{name: value} for name, value in fields.items()]
    assert post(server, bucket, signed(server, bucket, "o", fields, conditions), b"x").status == 204
    got = server.client().get_object(Bucket=bucket, Key="o", SSECustomerAlgorithm="AES256", SSECustomerKey=key)
    assert got["Body"].read() == b"x"


def test_a_form_may_name_a_master_key(server: Server, bucket: str) -> None:
    sse = "x-amz-server-side-encryption"
    fields = {sse: "aws:kms", f"{sse}-aws-kms-key-id": "alias/my-minio-key"}
    conditions = [{name: value} for name, value in fields.items()]
    answer = post(server, bucket, signed(server, bucket, "o", fields, conditions), b"x")
    assert (answer.status, answer.headers[sse]) == (204, "aws:kms")
    assert answer.headers[f"{sse}-aws-kms-key-id"] == "my-minio-key"
    assert server.client().get_object(Bucket=bucket, Key="o")["Body"].read() == b"x"


def test_an_answer_tells_where_the_object_is(plain_server: Server, plain_bucket: str) -> None:
    fields = signed(
        plain_server, plain_bucket, "a b", {"success_action_status": "201"}, [{"success_action_status": "201"}]
    )
    hosts = {f"127.0.0.1:{plain_server.port}": f"/{plain_bucket}", f"{plain_bucket}.s3.test:{plain_server.port}": "/"}
    for host, path in hosts.items():
        headers = {"Host": host, "Content-Type": "multipart/form-data; boundary=----boundary"}
        answer = send(plain_server, "POST", path, headers, form(fields, b"x"))
        assert (answer.status, answer.find("Bucket")) == (201, plain_bucket)
        assert answer.find("Location") == answer.headers["location"] == f"http://{host}{path.rstrip('/')}/a%20b"


def test_a_redirect_tells_where_the_object_is(server: Server, bucket: str) -> None:
    target = "https://example.com/done?a=b"
    fields = {"success_action_redirect": target}
    answer = post(server, bucket, signed(server, bucket, "o", fields, [fields]), b"x")
    assert answer.status == 303
    assert answer.headers["location"].startswith(f"{target}&bucket={bucket}&key=o&etag=")


def test_the_length_of_a_file_is_bounded_by_the_policy(server: Server, bucket: str) -> None:
    fields = signed(server, bucket, "o", None, [["content-length-range", 10, 100]])
    assert post(server, bucket, fields, b"x" * 9).code == "EntityTooSmall"
    assert post(server, bucket, fields, b"x" * 101).code == "EntityTooLarge"
    assert post(server, bucket, fields, b"x" * 1_000_000).code == "EntityTooLarge"
    assert keys(server, bucket) == []
    assert post(server, bucket, fields, b"x" * 100).status == 204


def changed(fields: Fields, **change: str | None) -> Fields:
    names = {name.replace("-", "_"): name for name in fields}
    result = dict(fields)
    for name, value in change.items():
        real = names.get(name, name.replace("_", "-"))
        if value is None:
            del result[real]
        else:
            result[real] = value
    return result


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": "elsewhere"}, "AccessDenied"),
        ({"x_amz_meta_more": "1"}, "AccessDenied"),
        ({"policy": None}, "InvalidArgument"),
        ({"x_amz_date": ""}, "InvalidArgument"),
        ({"policy": base64.b64encode(b"{}").decode()}, "SignatureDoesNotMatch"),
        ({"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"x_amz_signature": None}, "InvalidArgument"),
        ({"x_amz_credential": "nobody/20260101/us-east-1/s3/aws4_request"}, "InvalidArgument"),
        ({"x_amz_algorithm": "AWS4-HMAC-MD5"}, "InvalidArgument"),
    ],
)
def test_a_form_that_does_not_hold_to_its_policy_is_refused(
    server: Server, bucket: str, change: Any, code: str
) -> None:
    fields = changed(signed(server, bucket, "o"), **change)
    assert post(server, bucket, fields, b"x").code == code
    assert keys(server, bucket) == []


def test_each_of_several_content_types_must_begin_as_the_policy_says(server: Server, bucket: str) -> None:
    conditions = [["starts-with", "$Content-Type", "image/"]]
    for kept, content_type in ((True, "image/jpg, image/gif"), (False, "image/png,text/html"), (False, "image/png,")):
        fields = signed(server, bucket, content_type, None, conditions) | {"Content-Type": content_type}
        assert post(server, bucket, fields, b"x").code == ("" if kept else "AccessDenied")
    assert keys(server, bucket) == ["image/jpg, image/gif"]


def test_a_policy_that_has_expired_is_refused(server: Server, bucket: str) -> None:
    answer = post(server, bucket, signed(server, bucket, "o", ExpiresIn=-1), b"x")
    assert (answer.status, answer.code) == (403, "AccessDenied")


def test_a_form_that_nobody_signed_is_refused(server: Server, bucket: str) -> None:
    assert post(server, bucket, {"key": "o"}, b"x").code == "AccessDenied"
    assert keys(server, bucket) == []


def test_a_policy_must_say_for_which_bucket_it_is(server: Server, bucket: str) -> None:
    conditions: list[Any] = [["starts-with", "$key", ""]]
    policy = {"expiration": "2100-01-01T00:00:00Z", "conditions": conditions}
    answer = post(server, bucket, signed_policy(policy, key="o"), b"x")
    assert (answer.code, answer.find("Message")) == (
        "AccessDenied",
        "Invalid according to Policy: Extra input fields: bucket",
    )
    conditions.append({"bucket": bucket})
    assert post(server, bucket, signed_policy(policy, key="o"), b"x").status == 204


@pytest.mark.parametrize("condition", [["eq", "$key", "\ud800"], {"\ud800": "o"}], ids=["value", "name"])
def test_a_policy_with_half_a_character_is_refused(server: Server, bucket: str, condition: Any) -> None:
    policy = {"expiration": "2100-01-01T00:00:00Z", "conditions": [condition]}
    assert post(server, bucket, signed_policy(policy, key="o"), b"x").code == "InvalidPolicyDocument"


def test_a_body_that_is_no_form_is_refused(server: Server, bucket: str) -> None:
    answer = send(server, "POST", f"/{bucket}", {"Content-Type": "application/json"}, b"{}")
    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert answer.find("Condition") == "Bucket POST must be of the enclosure-type multipart/form-data"


def test_a_policy_of_another_bucket_is_refused(server: Server, bucket: str) -> None:
    fields = signed(server, bucket, "o")
    policy = json.loads(base64.b64decode(fields["policy"]))
    assert {"bucket": bucket} in policy["conditions"]
    server.client().create_bucket(Bucket=f"{bucket}-b")
    assert post(server, f"{bucket}-b", fields, b"x").code == "AccessDenied"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form at all",
        b'------boundary\r\nContent-Disposition: form-data; name="key"\r\n\r\no\r\n------boundary--\r\n',
        form({"key": "o", "big": "x" * 30_000}, b"x"),
        form({"key": "o"}, b"x")[:-20],
        b"------boundary\r\nContent-Disposition: form-data\r\n\r\no\r\n------boundary--\r\n",
        b"------boundary\r\n" + b"X: y\r\n" * 5000,
    ],
    ids=range(7),
)
def test_a_form_that_is_none_is_refused(server: Server, bucket: str, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=----boundary"}
    assert send(server, "POST", f"/{bucket}", headers, body).status in (400, 403)
    assert keys(server, bucket) == []
    assert "multipart" not in server.log  # or anybody could fill it


def test_a_file_that_is_cut_off_is_not_kept(server: Server, bucket: str) -> None:
    body = form(signed(server, bucket, "o"), b"x" * 100_000)[:-50]
    headers = {"Content-Type": "multipart/form-data; boundary=----boundary"}
    answer = send(server, "POST", f"/{bucket}", headers, body)
    assert (answer.status, answer.code) == (400, "MalformedPOSTRequest")
    assert keys(server, bucket) == []
