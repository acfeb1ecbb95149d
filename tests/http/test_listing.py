"""Listings: order, pages, prefixes, names that need care."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.http.raw import error_of, request
from tests.server import Server

NAMES = sorted(
    [f"dir/{letter}/{number:03}" for letter in "abc" for number in range(400)]
    + [f"plain-{number:02}" for number in range(30)]
    + ["dir!", "dir.txt", "dir0", "z ü+&<>%41", "\U0001f5dd", "\uffee"],
    key=str.encode,
)


@pytest.fixture(scope="module")
def full(server: Server) -> Iterator[str]:
    """A bucket with objects under all NAMES."""
    client = server.client(max_pool_connections=8)
    client.create_bucket(Bucket="listing-test")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: client.put_object(Bucket="listing-test", Key=name, Body=name.encode()), NAMES))
    yield "listing-test"
    for start in range(0, len(NAMES), 1000):
        objects = [{"Key": name} for name in NAMES[start : start + 1000]]
        assert "Errors" not in client.delete_objects(Bucket="listing-test", Delete={"Objects": objects})
    client.delete_bucket(Bucket="listing-test")


def keys(pages: list[Any]) -> list[str]:
    return [item["Key"] for page in pages for item in page.get("Contents", [])]


def prefixes(pages: list[Any]) -> list[str]:
    return [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]


def pages(server: Server, version: int, **options: Any) -> list[Any]:
    paginator = server.client().get_paginator("list_objects_v2" if version == 2 else "list_objects")
    return list(paginator.paginate(**options))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1000, 97])
def test_pages_together_hold_every_name_once_in_order(server: Server, full: str, version: int, size: int) -> None:
    got = pages(server, version, Bucket=full, PaginationConfig={"PageSize": size})
    assert keys(got) == NAMES
    assert all(len(page["Contents"]) == size for page in got[:-1])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [1000, 2, 1])
def test_a_delimiter_rolls_names_up(server: Server, full: str, version: int, size: int) -> None:
    got = pages(server, version, Bucket=full, Delimiter="/", PaginationConfig={"PageSize": size})
    assert prefixes(got) == ["dir/"]
    assert keys(got) == [name for name in NAMES if not name.startswith("dir/")]
    inner = pages(server, version, Bucket=full, Prefix="dir/", Delimiter="/", PaginationConfig={"PageSize": size})
    assert (prefixes(inner), keys(inner)) == (["dir/a/", "dir/b/", "dir/c/"], [])


def test_any_text_is_a_delimiter(server: Server, full: str) -> None:
    got = pages(server, 2, Bucket=full, Prefix="plain", Delimiter="-1")
    assert prefixes(got) == ["plain-1"]
    assert keys(got) == [f"plain-{number:02}" for number in range(30) if number // 10 != 1]


def test_a_prefix_is_a_prefix_of_the_name_not_a_folder(server: Server, full: str) -> None:
    assert keys(pages(server, 2, Bucket=full, Prefix="dir")) == [name for name in NAMES if name.startswith("dir")]
    assert keys(pages(server, 2, Bucket=full, Prefix="dir/b/39")) == [f"dir/b/{n}" for n in range(390, 400)]
    assert keys(pages(server, 2, Bucket=full, Prefix="nothing")) == []


def test_start_after_and_marker_begin_behind_a_name(server: Server, full: str) -> None:
    client = server.client()
    behind = [name for name in NAMES if name > "plain-2" and name.startswith("plain")]
    got = client.list_objects_v2(Bucket=full, StartAfter="plain-2", Prefix="plain")
    assert (keys([got]), got["StartAfter"]) == (behind, "plain-2")
    got = client.list_objects(Bucket=full, Marker="plain-2", Prefix="plain")
    assert (keys([got]), got["Marker"]) == (behind, "plain-2")
    rolled = client.list_objects_v2(Bucket=full, StartAfter="dir/a/", Prefix="dir/", Delimiter="/")
    assert prefixes([rolled]) == ["dir/b/", "dir/c/"]


def test_a_marker_below_a_common_prefix_skips_it_and_a_start_after_does_not(server: Server, full: str) -> None:
    client = server.client()
    asked: dict[str, Any] = {"Bucket": full, "Prefix": "dir/", "Delimiter": "/"}
    assert prefixes([client.list_objects(**asked, Marker="dir/a/001")]) == ["dir/b/", "dir/c/"]
    assert prefixes([client.list_object_versions(**asked, KeyMarker="dir/a/001")]) == ["dir/b/", "dir/c/"]
    assert prefixes([client.list_objects_v2(**asked, StartAfter="dir/a/001")]) == ["dir/a/", "dir/b/", "dir/c/"]
    assert prefixes([client.list_objects(**asked, Marker="dir/a")]) == ["dir/a/", "dir/b/", "dir/c/"]


def test_a_page_after_the_first_begins_where_its_token_says(server: Server, full: str) -> None:
    """SDKs send with each page what the first one was to begin after."""
    got = pages(server, 2, Bucket=full, StartAfter="plain-2", Prefix="plain", PaginationConfig={"PageSize": 3})
    assert keys(got) == [name for name in NAMES if name > "plain-2" and name.startswith("plain")]


def test_names_are_encoded_where_that_is_asked(server: Server, full: str) -> None:
    answer = request(server, "GET", f"/{full}?encoding-type=url&list-type=2&prefix=z&delimiter=%26")
    assert answer.find("EncodingType") == "url"
    assert b"<Prefix>z+%C3%BC%2B%26</Prefix>" in answer.body
    plain = request(server, "GET", f"/{full}?list-type=2&prefix=z")
    assert plain.find("Key") == "z ü+&<>%41"


@pytest.mark.parametrize("kind", ["list-type=1", "list-type=2", "versions", "uploads"])
def test_all_names_of_a_page_are_encoded_alike(server: Server, bucket: str, kind: str) -> None:
    """A client decodes each of them: what was not encoded would become another name."""
    client, keys, encoded = server.client(), ["a +/1", "b +", "c +", "d +"], [b"a+%2B/", b"b+%2B", b"c+%2B"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
        client.create_multipart_upload(Bucket=bucket, Key=key)
    marker = {"list-type=1": "marker", "list-type=2": "start-after"}.get(kind, "key-marker")
    limit = "max-uploads" if kind == "uploads" else "max-keys"
    asked = f"/{bucket}?{kind}&encoding-type=url&delimiter=%2F&{marker}=A%20%2B&{limit}=3"
    page = request(server, "GET", asked)
    own = {"list-type=1": ("Marker", "NextMarker"), "list-type=2": ("StartAfter", "")}
    names = own.get(kind, ("KeyMarker", "NextKeyMarker"))
    assert (page.find(names[0]), page.find("IsTruncated")) == ("A+%2B", "true")
    if names[1]:
        assert page.find(names[1]) == "c+%2B"
    assert all(b">%s</" % name in page.body for name in encoded)
    assert page.find("KeyCount") == ("3" if kind == "list-type=2" else "")  # prefixes count
    assert b" +" not in page.body
    of_prefix = request(server, "GET", f"/{bucket}?{kind}&encoding-type=url&prefix=a%20%2B&delimiter=1")
    assert of_prefix.find("Prefix") == "a+%2B"
    assert b">a+%2B/1</Prefix>" in of_prefix.body
    assert b" +" not in of_prefix.body


def test_owners_are_told_where_that_is_asked(server: Server, full: str) -> None:
    client = server.client()
    assert "Owner" not in client.list_objects_v2(Bucket=full, MaxKeys=1)["Contents"][0]
    assert client.list_objects_v2(Bucket=full, MaxKeys=1, FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    assert client.list_objects(Bucket=full, MaxKeys=1)["Contents"][0]["Owner"]["ID"]


def test_a_page_of_none_is_empty(server: Server, full: str) -> None:
    got = server.client().list_objects_v2(Bucket=full, MaxKeys=0)
    assert (got["KeyCount"], got["IsTruncated"]) == (0, False)


def test_a_page_never_has_more_than_a_thousand(server: Server, full: str) -> None:
    got = server.client().list_objects_v2(Bucket=full, MaxKeys=5000)
    assert (len(got["Contents"]), got["MaxKeys"], got["IsTruncated"]) == (1000, 1000, True)


def test_sizes_and_etags_are_those_of_get(server: Server, full: str) -> None:
    client = server.client()
    for item in client.list_objects_v2(Bucket=full, Prefix="plain", MaxKeys=5)["Contents"]:
        head = client.head_object(Bucket=full, Key=item["Key"])
        assert (item["ETag"], item["Size"]) == (head["ETag"], head["ContentLength"])
        assert item["LastModified"].replace(microsecond=0) == head["LastModified"]


def test_each_object_is_its_own_only_version(server: Server, full: str) -> None:
    client = server.client()
    got = client.list_object_versions(Bucket=full, Prefix="plain", MaxKeys=2)
    assert [(item["VersionId"], item["IsLatest"]) for item in got["Versions"]] == [("null", True)] * 2
    assert (got["IsTruncated"], got["NextKeyMarker"], got["NextVersionIdMarker"]) == (True, "plain-01", "null")
    following = client.list_object_versions(
        Bucket=full, Prefix="plain", MaxKeys=1, KeyMarker="plain-01", VersionIdMarker="null"
    )
    assert [item["Key"] for item in following["Versions"]] == ["plain-02"]
    refused = error_of(client.list_object_versions, Bucket=full, VersionIdMarker="null")
    assert refused == ("InvalidArgument", 400)


def test_a_bucket_that_is_not_there_lists_nothing(server: Server) -> None:
    client = server.client()
    assert error_of(client.list_objects_v2, Bucket="no-such-bucket") == ("NoSuchBucket", 404)
    assert error_of(client.list_objects_v2, Bucket="no-such-bucket", MaxKeys=0) == ("NoSuchBucket", 404)


def test_open_uploads_are_listed_in_pages(server: Server, bucket: str) -> None:
    client = server.client()
    begun = sorted(
        (key, client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"])
        for key in ["a", "a", "a", "b/1", "b/2", "c"]
    )
    paginator = client.get_paginator("list_multipart_uploads")
    for size in (1000, 2, 1):
        got = list(paginator.paginate(Bucket=bucket, PaginationConfig={"PageSize": size}))
        assert sorted((item["Key"], item["UploadId"]) for page in got for item in page.get("Uploads", [])) == begun
    rolled = client.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [item["Prefix"] for item in rolled["CommonPrefixes"]] == ["b/"]
    assert [item["Key"] for item in rolled["Uploads"]] == ["a", "a", "a", "c"]
    behind = client.list_multipart_uploads(Bucket=bucket, Delimiter="/", KeyMarker="b/1", UploadIdMarker=begun[3][1])
    assert ("CommonPrefixes" in behind, [item["Key"] for item in behind["Uploads"]]) == (False, ["c"])
    for key, upload in begun:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
