"""What others can do to the files of encrypted objects, and that no byte of it is served as if it were right."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from strongroom.dates import http_date
from strongroom.store.mapping import decode_mapping, encode_mapping
from strongroom.store.nas.layout import LayoutInvalid, Segment, decode_trailer, encode_trailer
from tests.customer_keys import SSE_C
from tests.http.raw import error_of
from tests.http.test_damage import refused
from tests.server import NAS, Server
from tests.storage import spoil_file

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A gateway that encrypts everything, and the folder of its bucket "bucket"."""
    settings: dict[str, str | None] = {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}
    with Server(tmp_path_factory.mktemp("spoilt"), settings, command=NAS, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        yield server, server.directory / "bucket"


def put(server: Server, key: str, body: bytes, **options: Any) -> None:
    server.client().put_object(Bucket="bucket", Key=key, Body=body, **options)


@pytest.mark.parametrize(("sse", "step"), [({}, 3), (SSE_C, 7)], ids=["SSE-S3", "SSE-C"])
def test_a_changed_bit_anywhere_in_a_file_is_detected(bucket: tuple[Server, Path], sse: Any, step: int) -> None:
    server, folder = bucket
    body = os.urandom(100)
    put(server, "o", body, Metadata={"who": "me"}, **sse)
    whole = (folder / "o").read_bytes()
    unharmed = []
    for at in range(8, len(whole), step):
        (folder / "o").write_bytes(whole)
        spoil_file(folder / "o", at)
        if not refused(server, "o", **sse):
            unharmed.append(at - len(whole))
    assert unharmed == []


@pytest.mark.parametrize("size", [1000, 5 * MIB])
@pytest.mark.parametrize("how", ["cut by a byte", "cut by half", "cut behind the mark", "extended"])
def test_a_file_of_another_length_is_detected(bucket: tuple[Server, Path], how: str, size: int) -> None:
    server, folder = bucket
    put(server, "o", os.urandom(size))
    length = (folder / "o").stat().st_size
    lengths = {
        "cut by a byte": length - 1,
        "cut by half": length // 2,
        "cut behind the mark": 8,
        "extended": length + 1,
    }
    os.truncate(folder / "o", lengths[how])
    assert refused(server, "o")
    listed = server.client().list_objects_v2(Bucket="bucket")["Contents"]
    assert [item["Key"] for item in listed] == ["o"]
    put(server, "o", b"written anew")
    assert not refused(server, "o")


def test_objects_that_change_places_are_detected(bucket: tuple[Server, Path]) -> None:
    server, folder = bucket
    put(server, "one", b"one body")
    put(server, "two", b"another!")
    os.rename(folder / "one", folder / "kept")
    os.rename(folder / "two", folder / "one")
    os.rename(folder / "kept", folder / "two")
    assert refused(server, "one") and refused(server, "two")


def test_parts_that_are_exchanged_are_detected(bucket: tuple[Server, Path]) -> None:
    server, _ = bucket
    client = server.client()
    upload = client.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
    part: Any = {"Bucket": "bucket", "Key": "m", "UploadId": upload}
    client.upload_part(**part, PartNumber=1, Body=os.urandom(5 * MIB))
    (kept,) = (server.directory / ".strongroom.sys" / "uploads" / "bucket" / upload).glob("0*")
    earlier = kept.read_bytes()
    etags = [client.upload_part(**part, PartNumber=n, Body=os.urandom(5 * MIB))["ETag"] for n in (1, 2)]
    parts = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]}
    kept.write_bytes(earlier)
    with pytest.raises(Exception, match=r"InvalidPart|damaged"):
        client.complete_multipart_upload(**part, MultipartUpload=parts)
    client.abort_multipart_upload(**part)


def test_a_part_table_that_would_fill_the_memory_is_not_read() -> None:
    usual, long = (encode_trailer(bytes(16), 0, [Segment(8, 100)], {}, bytes(size)) for size in (2 * MIB, 5 * MIB))
    assert decode_trailer(usual, 108 + len(usual), 8).annex_length == 2 * MIB
    with pytest.raises(LayoutInvalid):
        decode_trailer(long, 108 + len(long), 8)


@pytest.mark.parametrize(("seconds", "year"), [(300_000_000_000, 9999), (-100_000_000_000, 1601), (-5, 1969)])
def test_a_time_out_of_all_bounds_spoils_no_listing(bucket: tuple[Server, Path], seconds: int, year: int) -> None:
    assert http_date(seconds * 10**9).split()[3] == str(year)
    server, client = bucket[0], bucket[0].client()
    upload = client.create_multipart_upload(Bucket="bucket", Key="o")["UploadId"]
    (document,) = server.directory.glob(f".strongroom.sys/uploads/bucket/{upload}/upload")
    started = str(seconds * 10**9).encode()  # not all file systems keep such times of files
    document.write_bytes(encode_mapping({**decode_mapping(document.read_bytes()), "started": started}))
    uploads = client.list_multipart_uploads(Bucket="bucket")["Uploads"]
    client.abort_multipart_upload(Bucket="bucket", Key="o", UploadId=upload)
    assert [listed["UploadId"] for listed in uploads] == [upload]


def test_damaged_settings_of_a_bucket_are_its_own_trouble(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    settings = gateway.directory / ".strongroom.sys" / "buckets" / shared.name
    for content in (settings.read_bytes()[:-1], encode_mapping({"created": b"once"})):
        settings.write_bytes(content)
        listed = {bucket["Name"]: bucket["CreationDate"] for bucket in client.list_buckets()["Buckets"]}
        assert int(listed[shared.name].timestamp()) == int(shared.stat().st_mtime)
        assert error_of(client.create_bucket, Bucket=f"{shared.name}-{len(content)}") == ("", 200)
        assert error_of(client.get_bucket_location, Bucket=shared.name) == ("InternalError", 500)
    client.delete_bucket(Bucket=shared.name)


@pytest.mark.parametrize(
    "put", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/etc/passwd")], ids=["FIFO", "folder", "link"]
)
def test_what_is_no_file_in_the_place_of_one_in_the_reserved_folder_is_damage(
    gateway: Server, shared: Path, put: Callable[[Path], None]
) -> None:
    client, reserved = gateway.client(), gateway.directory / ".strongroom.sys"
    upload = client.create_multipart_upload(Bucket=shared.name, Key="o")["UploadId"]
    other = client.create_multipart_upload(Bucket=shared.name, Key="other")["UploadId"]
    target: Any = {"Bucket": shared.name, "Key": "o", "UploadId": upload}
    client.upload_part(**target, PartNumber=1, Body=b"x")
    refused = ("InternalError", 500)
    for name in ("00001", "upload"):
        file = reserved / "uploads" / shared.name / upload / name
        file.unlink()
        put(file)
        assert error_of(client.list_parts, **target) == refused
    listed = client.list_multipart_uploads(Bucket=shared.name)["Uploads"]
    assert [found["UploadId"] for found in listed] == [other]
    settings = reserved / "buckets" / shared.name
    kept = settings.read_bytes()
    settings.unlink()
    put(settings)
    try:
        assert error_of(client.put_object, Bucket=shared.name, Key="o", Body=b"x") == refused
    finally:
        settings.rmdir() if settings.is_dir() else settings.unlink()
        settings.write_bytes(kept)


def test_links_in_the_place_of_folders_in_the_reserved_folder_lead_nowhere(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
    with Server(tmp_path / "gateway", settings, command=NAS, workers=1) as server:
        client, reserved = server.client(), server.directory / ".strongroom.sys"
        client.create_bucket(Bucket="bucket")
        (reserved / "uploads" / "bucket").symlink_to(outside)
        for number in range(256):
            (reserved / "beside" / f"{number:02x}").symlink_to(outside)
        assert error_of(client.create_multipart_upload, Bucket="bucket", Key="o") == ("NoSuchBucket", 404)
        long: Any = {"Metadata": {"a": "b" * 1500}, "ContentDisposition": "c" * 2000}  # it takes a sidecar
        assert error_of(client.put_object, Bucket="bucket", Key="o", Body=b"x", **long) == ("InternalError", 500)
        assert error_of(client.head_object, Bucket="bucket", Key="o")[1] == 404
        client.put_object(Bucket="bucket", Key="o", Body=b"x", ServerSideEncryption="AES256", **long)
        client.delete_object(Bucket="bucket", Key="o")
        client.delete_bucket(Bucket="bucket")
        assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "spoilt"),
    [(b":etag9", b":etag\x19"), (b"-who", b"\0who"), (b"-who", b"-Who"), (b"myself", b"my\nelf")],
    ids=["ETag", "name", "capital letter", "value"],
)
def test_a_damaged_record_of_a_plain_object_is_its_own_trouble(
    gateway: Server, shared: Path, there: bytes, spoilt: bytes
) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="o", Body=b"x", Metadata={"who": "myself"})
    client.put_object(Bucket=shared.name, Key="other", Body=b"x")
    record = os.getxattr(shared / "o", "user.strongroom.record")
    assert there in record
    os.setxattr(shared / "o", "user.strongroom.record", record.replace(there, spoilt))
    listed = {item["Key"]: item["ETag"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]}
    assert listed.keys() == {"o", "other"}
    with pytest.raises(ClientError, match="damaged"):
        client.get_object(Bucket=shared.name, Key="o")


def test_what_a_later_release_wrote_is_refused_and_left_as_it_is(gateway: Server, shared: Path) -> None:
    client = gateway.client()
    client.put_object(Bucket=shared.name, Key="sealed", Body=b"x", ServerSideEncryption="AES256")
    client.put_object(Bucket=shared.name, Key="plain", Body=b"x", Metadata={"who": "me"})
    (shared / "sealed").write_bytes((shared / "sealed").read_bytes().replace(b"SRNAS1", b"SRNAS2"))
    record = os.getxattr(shared / "plain", "user.strongroom.record")
    later = record.replace(b"SRP1", b"SRP2")
    os.setxattr(shared / "plain", "user.strongroom.record", later)
    for key in ("sealed", "plain"):
        assert error_of(client.get_object, Bucket=shared.name, Key=key) == ("InternalError", 500)
        tagging = {"TagSet": [{"Key": "a", "Value": "b"}]}
        assert error_of(client.put_object_tagging, Bucket=shared.name, Key=key, Tagging=tagging)[1] == 500
    assert os.getxattr(shared / "plain", "user.strongroom.record") == later
    assert "'sealed': it is not of a format that this release knows" in gateway.log.replace(f"{shared.name}/", "")
    listed = [item["Key"] for item in client.list_objects_v2(Bucket=shared.name)["Contents"]]
    assert listed == ["plain", "sealed"]
    for key in listed:
        client.put_object(Bucket=shared.name, Key=key, Body=b"anew")
        assert client.get_object(Bucket=shared.name, Key=key)["Body"].read() == b"anew"
