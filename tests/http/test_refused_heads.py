"""What a HEAD that is refused is told: its answer has no body, so headers name the error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from strongroom.s3.errors import ERRORS
from tests.backends import Backend, served_by
from tests.http.raw import request
from tests.server import Server

CODE, DESC = "x-minio-error-code", "x-minio-error-desc"


def test_an_answer_without_a_body_names_the_error_too(server: Server, bucket: str) -> None:
    refused: list[tuple[str, dict[str, Any], int, str]] = [
        (f"/{bucket}", {"secret_key": "another-secret-key"}, 403, "SignatureDoesNotMatch"),
        (f"/{bucket}/o", {"access_key": "nobody"}, 403, "InvalidAccessKeyId"),
        (f"/{bucket}/o", {}, 404, "NoSuchKey"),
        (f"/{bucket}-none", {}, 404, "NoSuchBucket"),
    ]
    for path, options, status, code in refused:
        answer = request(server, "HEAD", path, **options)
        assert (answer.status, answer.body) == (status, b"")
        assert (answer.headers[CODE], answer.headers[DESC]) == (code, f'"{ERRORS[code][1]}"')


def test_nothing_is_named_where_nothing_is_wrong(server: Server, bucket: str) -> None:
    etag = server.client().put_object(Bucket=bucket, Key="o", Body=b"x")["ETag"]
    for headers, status in (({}, 200), ({"If-None-Match": etag}, 304)):
        answer = request(server, "HEAD", f"/{bucket}/o", headers)
        assert answer.status == status
        assert CODE not in answer.headers and DESC not in answer.headers


def test_what_a_backend_names_is_passed_on_as_it_is(minio: Backend, tmp_path: Path, bucket_name: str) -> None:
    settings: dict[str, str | None] = {"MINIO_SSE_MASTER_KEY": None, "MINIO_SSE_AUTO_ENCRYPTION": None}
    with served_by(minio, tmp_path, settings, workers=1) as gateway:
        answer = request(gateway, "HEAD", f"/{bucket_name}")
        wrong = request(gateway, "HEAD", f"/{bucket_name}", secret_key="another-secret-key")
    says = '"The specified bucket does not exist"'  # without a full stop, which AWS has
    assert (answer.status, answer.headers[CODE], answer.headers[DESC]) == (404, "NoSuchBucket", says)
    assert (wrong.status, wrong.headers[CODE]) == (403, "SignatureDoesNotMatch")
