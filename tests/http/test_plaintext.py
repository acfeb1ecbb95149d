"""With auto-encryption on, nothing of a client's lies on the disk in plaintext.

Not after uploads of every kind, not while they are under way, and not when the server is killed amid them.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.http.raw import begun
from tests.http.test_browser_uploads import post
from tests.server import SERVER, Server
from tests.storage import blobs, files_with, stored_bytes
from tests.waiting import comes

pytestmark = pytest.mark.local

MIB = 1024 * 1024
MARK = b"nobody-may-find-this-on-the-disk"
TEXT = MARK * (200_000 // len(MARK))
LARGE = MARK * (6 * MIB // len(MARK))
KEY = b"0123456789abcdef" * 2
SSE_C = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
SECRETS = (MARK, b"said-of-it", b"tagged-so", KEY, b"test-secret-key")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("searched")


def own(home: Any, command: tuple[str, ...] = SERVER) -> Server:
    return Server(home, {"STRONGROOM_ALLOW_INSECURE_SSE_C": "on"}, workers=1, command=command)


def upload_parts(client: Any, key: str, parts: list[bytes], **options: Any) -> tuple[str, list[dict[str, Any]]]:
    upload = client.create_multipart_upload(Bucket="bucket", Key=key, Metadata={"a": "said-of-it"}, **options)
    with_key = {name: value for name, value in options.items() if name.startswith("SSEC")}
    done = []
    for number, body in enumerate(parts, 1):
        etag = client.upload_part(
            Bucket="bucket", Key=key, UploadId=upload["UploadId"], PartNumber=number, Body=body, **with_key
        )["ETag"]
        done.append({"PartNumber": number, "ETag": etag})
    return upload["UploadId"], done


def test_uploads_of_every_kind_leave_only_ciphertext(home: Any, command: tuple[str, ...]) -> None:
    with own(home, command) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        ways: dict[str, Any] = {"auto": {}, "s3": {"ServerSideEncryption": "AES256"}, "c": SSE_C}
        for name, options in ways.items():
            said: Any = {"Metadata": {"a": "said-of-it"}, "ContentDisposition": "said-of-it", "Tagging": "t=tagged-so"}
            for size, body in {"small": MARK, "middle": TEXT, "large": LARGE}.items():
                client.put_object(Bucket="bucket", Key=f"{name}/{size}", Body=body, **said, **options)
            upload, done = upload_parts(client, f"{name}/multipart", [LARGE, MARK], **options)
            parts = {"Parts": done}
            client.complete_multipart_upload(
                Bucket="bucket", Key=f"{name}/multipart", UploadId=upload, MultipartUpload=parts
            )
            upload_parts(client, f"{name}/open", [LARGE, MARK], **options)
            client.copy_object(Bucket="bucket", Key=f"{name}/copy", CopySource="bucket/auto/large", **options)
        fields = server.client(signature_version="s3v4").generate_presigned_post("bucket", "form")["fields"]
        assert post(server, "bucket", fields, LARGE).status == 204
        assert files_with(server.directory, *SECRETS) == []
        assert client.get_object(Bucket="bucket", Key="auto/large")["Body"].read() == LARGE
    assert files_with(home / "data", *SECRETS) == []
    assert sum(len(content) for _, content in stored_bytes(home / "data")) > 8 * len(LARGE)


def test_a_plain_upload_is_found_by_the_same_search(home: Any) -> None:
    with Server(home, {"MINIO_SSE_AUTO_ENCRYPTION": None}, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="large", Body=LARGE)
        client.put_object(Bucket="bucket", Key="small", Body=MARK)
        assert len(files_with(server.directory, MARK)) >= 2


def test_a_server_that_is_killed_amid_uploads_leaves_only_ciphertext(home: Any) -> None:
    with own(home) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        upload = client.create_multipart_upload(Bucket="bucket", Key="parts")["UploadId"]
        client.upload_part(Bucket="bucket", Key="parts", UploadId=upload, PartNumber=1, Body=LARGE)
        part = f"/bucket/parts?partNumber=2&uploadId={upload}"
        with ExitStack() as stack:
            for path in ("/bucket/a", "/bucket/b", part):
                connection = stack.enter_context(begun(server, "PUT", path, 2 * len(LARGE)))
                connection.sendall(LARGE)
            assert comes(lambda: len(server.unfinished_files()) >= 3)
            assert files_with(server.directory, *SECRETS) == []
            server.kill()
        assert files_with(server.directory, *SECRETS) == []
        server.start()
        assert server.client().list_objects_v2(Bucket="bucket")["KeyCount"] == 0
        assert len(server.client().list_parts(Bucket="bucket", Key="parts", UploadId=upload)["Parts"]) == 1
        assert server.unfinished_files() == []
        assert comes(lambda: len(blobs(server)) == 1)
