"""Two gateways before one backend that do what does not go together, one in the midst of the other, at each request."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest
from botocore.exceptions import ClientError

from tests.backends import Backend
from tests.customer_keys import SSE_C
from tests.gateway_s3.conftest import Gateway
from tests.gateway_s3.proxy import Proxy
from tests.http.raw import error_of
from tests.server import Server

PART = 5 * 1024**2
LARGE = os.urandom(7_000_000)
BODIES = {1: os.urandom(PART), 2: os.urandom(1000), 3: os.urandom(1000)}
MOST = 40
"""Requests to the backend that none of these calls needs."""


class Between:
    """Does something before the backend gets the n-th request about a bucket, once."""

    def __init__(self, proxy: Proxy, bucket: str, number: int, what: Callable[[], None]) -> None:
        self.done = False
        self._left, self._bucket, self._what = number, bucket, what
        self._lock = threading.Lock()
        proxy.fault = self._met

    def _met(self, line: str) -> str | None:
        target = line.split(" ")[1].partition("?")[0]
        if target == f"/{self._bucket}" or target.startswith(f"/{self._bucket}/"):
            with self._lock:
                now = self._left == 0
                self._left -= 1
            if now:
                self._what()
                self.done = True
        return None


class Pair(NamedTuple):
    """Clients of two gateways before one backend, and the proxy between the second gateway and the backend."""

    first: Any
    second: Any
    proxy: Proxy


@pytest.fixture(params=["minio", "versitygw"])
def pair(request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str) -> Iterator[Pair]:
    """Such a pair, and a bucket."""
    backend: Backend = request.getfixturevalue(request.param)
    with Proxy(backend.endpoint) as proxy:
        pair = Pair(gateway(backend).client(), gateway(backend, proxy=proxy).client(), proxy)
        pair.first.create_bucket(Bucket=bucket_name)
        yield pair


def content(numbers: list[int]) -> bytes:
    return b"".join(BODIES[number] for number in numbers)


def begun(client: Any, bucket: str, key: str) -> tuple[dict[str, Any], dict[int, str]]:
    """An upload with all parts: what names it, and the ETags of the parts."""
    target: dict[str, Any] = {"Bucket": bucket, "Key": key}
    target["UploadId"] = client.create_multipart_upload(**target)["UploadId"]
    return target, {n: client.upload_part(**target, PartNumber=n, Body=body)["ETag"] for n, body in BODIES.items()}


def completed(client: Any, target: dict[str, Any], etags: dict[int, str], numbers: list[int]) -> str:
    """The ETag of the object that a completion with these parts is acknowledged with, or the code of its error."""
    parts = [{"PartNumber": number, "ETag": etags[number]} for number in numbers]
    try:
        answer = client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return str(answer["ETag"])


def check_acknowledged(outcomes: list[tuple[list[int], str]], etag: str, body: bytes) -> None:
    """See that the object is the one of these completions that was acknowledged, and that no other one was."""
    (of,) = [numbers for numbers, _ in outcomes if content(numbers) == body]
    digests = b"".join(hashlib.md5(BODIES[number]).digest() for number in of)
    assert etag == f'"{hashlib.md5(digests).hexdigest()}-{len(of)}"'
    assert [(numbers, outcome) for numbers, outcome in outcomes if outcome.startswith('"')] == [(of, etag)]


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [1]), ([1, 2], [1, 3])],
    ids=["fewer", "others"],
)
def test_of_two_completions_with_other_parts_the_object_is_that_of_the_one_that_is_acknowledged(
    pair: Pair, bucket_name: str, one: list[int], other: list[int]
) -> None:
    first, second, proxy = pair
    for number in range(MOST):
        target, etags = begun(first, bucket_name, f"o{number}")
        second.list_parts(**target)

        early: list[str] = []

        def complete_first(target: Any = target, etags: Any = etags, early: list[str] = early) -> None:
            early.append(completed(first, target, etags, one))

        between = Between(proxy, bucket_name, number, complete_first)
        late = completed(second, target, etags, other)
        proxy.fault = lambda line: None
        if not between.done:
            assert late.startswith('"')
            assert number > 3
            return
        for client in (first, second):
            got = client.get_object(Bucket=bucket_name, Key=target["Key"])
            body = got["Body"].read()
            check_acknowledged([(one, early[0]), (other, late)], got["ETag"], body)
            assert client.head_object(Bucket=bucket_name, Key=target["Key"])["ETag"] == got["ETag"]
        (listed,) = first.list_objects_v2(Bucket=bucket_name, Prefix=target["Key"])["Contents"]
        assert (listed["Size"], listed["ETag"]) == (len(body), got["ETag"])
        first.delete_object(Bucket=bucket_name, Key=target["Key"])
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_of_completions_that_run_at_the_same_time_one_makes_the_object(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    clients = [gateway(backend).client() for _ in range(2)]
    clients[0].create_bucket(Bucket=bucket_name)
    with ThreadPoolExecutor(4) as pool:
        for number in range(8):
            target, etags = begun(clients[0], bucket_name, f"o{number}")
            lists = [[1, 2], [1], [1, 3], [2]]
            calls = [
                pool.submit(completed, clients[place % 2], target, etags, numbers)
                for place, numbers in enumerate(lists)
            ]
            outcomes = [(numbers, call.result()) for numbers, call in zip(lists, calls, strict=True)]
            for client in clients:
                got = client.get_object(Bucket=bucket_name, Key=target["Key"])
                check_acknowledged(outcomes, got["ETag"], got["Body"].read())


def test_of_three_completions_that_wait_for_each_other_the_object_keeps_the_record_of_its_own(
    minio: Backend, gateway: Gateway, bucket_name: str
) -> None:
    with (
        Proxy(minio.endpoint) as one,
        Proxy(minio.endpoint) as two,
        Proxy(minio.endpoint) as three,
        ThreadPoolExecutor(3) as pool,
    ):
        proxies, lists = [one, two, three], [[1, 2], [1], [1, 3]]
        clients = [gateway(minio, proxy=proxy).client() for proxy in proxies]
        clients[0].create_bucket(Bucket=bucket_name)
        target, etags = begun(clients[0], bucket_name, "o")
        reached, go = [threading.Event() for _ in proxies], threading.Event()
        calls = []
        for place, proxy in enumerate(proxies):

            def hold(line: str, place: int = place) -> None:
                if place == 0 and line.startswith("POST") and "uploadId=" in line:  # all but the object lies there
                    reached[0].set()
                    assert go.wait(60)
                elif place and line.startswith("PUT") and "/.strongroom.sys/" in line:
                    reached[place].set()

            proxy.fault = hold
            calls.append(pool.submit(completed, clients[place], target, etags, lists[place]))
            assert reached[place].wait(60)
        go.set()
        outcomes = [(numbers, call.result()) for numbers, call in zip(lists, calls, strict=True)]
        for client in clients:
            got = client.get_object(Bucket=bucket_name, Key="o")
            check_acknowledged(outcomes, got["ETag"], got["Body"].read())


DEFAULT = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


def made(gateway: Gateway, backend: Backend, proxies: list[Proxy]) -> list[Server]:
    return [gateway(backend, {"MINIO_SSE_AUTO_ENCRYPTION": None}, proxy=proxy) for proxy in proxies]


def check_kept(client: Any, bucket: str, body: bytes) -> None:
    """See that the object is readable, and that the bucket still encrypts by default."""
    got = client.get_object(Bucket=bucket, Key="o")
    assert got["Body"].read() == body
    (rule,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    client.put_object(Bucket=bucket, Key="later", Body=b"later")
    assert client.head_object(Bucket=bucket, Key="later")["ServerSideEncryption"] == "AES256"


ASKED = {"ServerSideEncryption": "AES256"}
"""Has the gateway make the bucket's listing key, which lies among the settings."""


@pytest.mark.parametrize(
    ("body", "asked"), [(b"small", {}), (LARGE, {}), (b"small", ASKED)], ids=["small", "large", "encrypted"]
)
@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_an_object_that_is_put_while_its_bucket_is_removed_keeps_the_bucket(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str, body: bytes, asked: Any
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    with Proxy(backend.endpoint) as straight, Proxy(backend.endpoint) as proxy:
        putting, removing = (server.client() for server in made(gateway, backend, [straight, proxy]))
        for number in range(MOST):
            bucket = f"{bucket_name}-{number}"
            putting.create_bucket(Bucket=bucket)
            putting.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=DEFAULT)
            removing.put_object(Bucket=bucket, Key="earlier", Body=LARGE)
            removing.delete_object(Bucket=bucket, Key="earlier")

            def put(bucket: str = bucket) -> None:
                putting.put_object(Bucket=bucket, Key="o", Body=body, **asked)

            between = Between(proxy, bucket, number, put)
            refused = error_of(removing.delete_bucket, Bucket=bucket)
            if not between.done:
                assert refused == ("", 200)
                assert number > 2
                return
            assert refused == ("BucketNotEmpty", 409), number
            for client in (putting, removing):
                check_kept(client, bucket, body)
        raise AssertionError("it never came to an end")


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
def test_an_object_that_is_about_to_be_there_while_its_bucket_is_removed_keeps_the_bucket(
    request: pytest.FixtureRequest, gateway: Gateway, bucket_name: str, kind: str
) -> None:
    backend: Backend = request.getfixturevalue(kind)
    with (
        Proxy(backend.endpoint) as holding,
        Proxy(backend.endpoint) as proxy,
        ThreadPoolExecutor(1) as pool,
    ):
        putting, removing = (server.client() for server in made(gateway, backend, [holding, proxy]))
        for number in range(MOST):
            bucket = f"{bucket_name}-{number}"
            putting.create_bucket(Bucket=bucket)
            putting.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=DEFAULT)
            laid, go = threading.Event(), threading.Event()

            def hold(line: str, laid: threading.Event = laid, go: threading.Event = go) -> None:
                if line.startswith("POST") and "uploadId=" in line:  # its record lies there, the object not yet
                    laid.set()
                    assert go.wait(60)

            holding.fault = hold
            put = pool.submit(error_of, putting.put_object, Bucket=bucket, Key="o", Body=LARGE)
            assert laid.wait(60)

            def land(go: threading.Event = go, put: Any = put) -> None:
                go.set()
                assert put.result() == ("", 200)

            between = Between(proxy, bucket, number, land)
            refused = error_of(removing.delete_bucket, Bucket=bucket)
            go.set()
            if not between.done:
                assert refused == ("", 200)
                assert put.result()[1] == 404
                assert number > 2
                return
            assert refused == ("BucketNotEmpty", 409), number
            for client in (putting, removing):
                check_kept(client, bucket, LARGE)
        raise AssertionError("it never came to an end")


@pytest.mark.parametrize("mode", [None, "c", "s3;c"])
def test_an_upload_takes_the_place_of_an_object_that_the_backend_keeps_under_a_client_s_key(
    minio_tls: Backend, gateway: Gateway, bucket_name: str, mode: str | None
) -> None:
    client = gateway(minio_tls, {"MINIO_GATEWAY_SSE": mode}).client()
    client.create_bucket(Bucket=bucket_name)
    for encryption in ({}, SSE_C):
        client.put_object(Bucket=bucket_name, Key="o", Body=b"old", **SSE_C)
        target: Any = {"Bucket": bucket_name, "Key": "o"}
        target["UploadId"] = client.create_multipart_upload(**target, **encryption)["UploadId"]
        etag = client.upload_part(**target, PartNumber=1, Body=b"new", **encryption)["ETag"]
        assert completed(client, target, {1: etag}, [1]).startswith('"')
        assert client.get_object(Bucket=bucket_name, Key="o", **encryption)["Body"].read() == b"new"


@pytest.mark.parametrize("what", ["get_object", "delete_object_tagging", "list"])
def test_an_object_whose_tags_are_set_again_and_again_while_it_is_looked_at_is_not_damaged(
    pair: Pair, bucket_name: str, what: str
) -> None:
    first, second, proxy = pair
    target, etags = begun(first, bucket_name, "o")
    etag = completed(first, target, etags, [1, 2])
    name: dict[str, Any] = {"Bucket": bucket_name, "Key": "o"}
    left = [3]

    def set_tags(line: str) -> None:
        if "/.strongroom.sys/records/" in line and line.startswith("GET") and left[0]:
            left[0] -= 1
            first.put_object_tagging(**name, Tagging={"TagSet": [{"Key": "a", "Value": str(left[0])}]})

    proxy.fault = set_tags
    if what == "list":
        (listed,) = second.list_objects_v2(Bucket=bucket_name)["Contents"]
        assert (listed["Size"], listed["ETag"]) == (len(content([1, 2])), etag)
    else:
        assert error_of(getattr(second, what), **name) == ("", 200)
    assert left == [0]


def test_an_object_that_is_removed_while_it_is_listed_is_not_listed_as_another(pair: Pair, bucket_name: str) -> None:
    first, second, proxy = pair
    first.put_object(Bucket=bucket_name, Key="o", Body=LARGE)

    def remove(line: str) -> None:
        if "/.strongroom.sys/records/" in line and line.startswith("GET"):
            first.delete_object(Bucket=bucket_name, Key="o")

    proxy.fault = remove
    assert "Contents" not in second.list_objects_v2(Bucket=bucket_name)


def test_a_completion_that_meets_the_end_of_another_one_of_the_same_parts_is_answered_as_that(
    pair: Pair, bucket_name: str
) -> None:
    first, second, proxy = pair
    target, etags = begun(first, bucket_name, "o")
    second.list_parts(**target)
    early: list[str] = []

    def complete_first(line: str) -> None:
        if "list-type=2" in line and "part" in line and not early:  # the backend's own list is asked for beside it
            time.sleep(1)
            early.append(completed(first, target, etags, [1, 2]))

    proxy.fault = complete_first
    assert completed(second, target, etags, [1, 2]) == early[0]
    assert early[0].startswith('"')


def test_a_completion_of_what_is_aborted_at_the_same_time_is_not_acknowledged(pair: Pair, bucket_name: str) -> None:
    first, second, proxy = pair
    first.put_object(Bucket=bucket_name, Key="o", Body=b"former")
    target, etags = begun(first, bucket_name, "o")

    def abort(line: str) -> None:
        if line.startswith("POST") and "uploadId=" in line:
            first.abort_multipart_upload(**target)

    proxy.fault = abort
    assert completed(second, target, etags, [1, 2]) in ("NoSuchUpload", "ServiceUnavailable")
    assert completed(second, target, etags, [1, 2]) == "NoSuchUpload"
    assert first.get_object(Bucket=bucket_name, Key="o")["Body"].read() == b"former"
