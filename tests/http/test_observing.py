"""What operators see of requests: the metrics of all workers, and the access log."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509

from tests.backends import served_by
from tests.certificates import make_certificates
from tests.http.raw import error_of, request
from tests.http.test_browser_uploads import post, signed
from tests.kms.test_transit import soft_delete, undelete
from tests.observe.test_metrics import samples
from tests.openbao import OpenBao
from tests.server import ACCESS_KEY, SECRET_KEY, Server
from tests.waiting import comes

pytestmark = pytest.mark.filterwarnings("ignore:The HMAC key is")

PATH = "/minio/v2/metrics/cluster"
KEY = "0123456789abcdef0123456789ABCDEF"
SSE_C: dict[str, Any] = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}


@pytest.fixture(scope="module")
def observed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that writes an access log."""
    home = tmp_path_factory.mktemp("observed")
    settings: dict[str, str | None] = {
        "STRONGROOM_ACCESS_LOG": str(home / "access.log"),
        "STRONGROOM_ALLOW_INSECURE_SSE_C": "on",
    }
    with served_by(None, home, settings) as running:
        yield running


@pytest.fixture
def filled(observed: Server, bucket_name: str) -> str:
    observed.client().create_bucket(Bucket=bucket_name)
    return bucket_name


def token(key: str = SECRET_KEY, algorithm: str = "HS512", seconds: float = 60, **claims: Any) -> str:
    return jwt.encode({"sub": ACCESS_KEY, "exp": time.time() + seconds, **claims}, key, algorithm)


def get(server: Server, path: str = PATH, authorization: str | None = None) -> tuple[int, bytes]:
    headers = {"Authorization": authorization} if authorization else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(server.endpoint + path, headers=headers)) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def metrics(server: Server) -> dict[tuple[str, ...], float]:
    status, text = get(server, authorization=f"Bearer {token()}")
    assert status == 200
    return samples(text)


def lines(server: Server, bucket: str) -> list[dict[str, Any]]:
    """What the access log has on a bucket."""
    text = (server.home / "access.log").read_text()
    return [fields for fields in map(json.loads, text.splitlines()) if fields.get("bucket") == bucket]


def gets(server: Server, bucket: str, count: int) -> list[dict[str, Any]]:
    """So many lines on GETs of objects of a bucket, once they are there: a line is written when the answer was."""

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(server, bucket) if line["operation"] == "GetObject"]

    assert comes(lambda: len(found()) >= count)
    return found()


# -- metrics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [PATH, "/minio/v2/metrics/node", "/minio/prometheus/metrics"])
def test_the_page_is_for_who_knows_the_credentials(observed: Server, path: str) -> None:
    assert get(observed, path, f"Bearer {token()}")[0] == 200
    for wrong in (
        None,
        "Bearer",
        "Bearer x",
        f"Basic {token()}",
        f"Bearer {token('another-secret-key')}",
        f"Bearer {token(seconds=-60)}",
        f"Bearer {token(sub='nobody')}",
        f"Bearer {token(algorithm='HS256')}",
        f"Bearer {jwt.encode({'sub': ACCESS_KEY}, SECRET_KEY, 'HS512')}",
        f"Bearer {jwt.encode({'sub': ACCESS_KEY, 'exp': time.time() + 60}, '', 'none')}",
        "Bearer " + "x" * 5000,
    ):
        status, body = get(observed, path, wrong)
        assert (status, b"AccessDenied" in body) == (403, True), wrong


def test_the_page_is_for_everybody_if_that_is_wanted(tmp_path: Path) -> None:
    with Server(tmp_path, {"MINIO_PROMETHEUS_AUTH_TYPE": "public"}, workers=1) as server:
        assert get(server)[0] == 200


def test_the_page_says_when_the_certificate_expires_that_is_shown(tmp_path: Path) -> None:
    certs = make_certificates(tmp_path / "certs")

    def ends() -> float:
        certificate = x509.load_pem_x509_certificate((certs / "public.crt").read_bytes())
        return certificate.not_valid_after_utc.timestamp()

    def told() -> float:
        with urllib.request.urlopen(server.endpoint + PATH, context=ssl._create_unverified_context()) as answer:
            return samples(answer.read())["strongroom_tls_certificate_expiry_timestamp_seconds",]

    with Server(tmp_path, {"MINIO_PROMETHEUS_AUTH_TYPE": "public"}, certs=certs) as server:
        first = ends()
        assert told() == first
        make_certificates(certs, days=90)
        assert told() == first
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        assert comes(lambda: {told() for _ in range(8)} == {ends()})


def test_all_workers_count_and_any_of_them_tells(observed: Server, filled: str) -> None:
    before = metrics(observed)
    for number in range(10):  # on connections of their own: they come to all workers
        observed.client().put_object(Bucket=filled, Key=f"o{number}", Body=bytes(1000))
        observed.client().get_object(Bucket=filled, Key=f"o{number}")["Body"].read()
    error_of(observed.client().head_object, Bucket=filled, Key="none")

    def more(*key: str) -> float:
        return metrics(observed).get(key, 0) - before.get(key, 0)

    assert comes(lambda: more("strongroom_requests_total", "PutObject", "200") == 10)
    assert comes(lambda: more("strongroom_requests_total", "GetObject", "200") == 10)
    assert comes(lambda: more("strongroom_requests_total", "HeadObject", "404") == 1)
    assert comes(lambda: more("strongroom_request_duration_seconds_count", "PutObject") == 10)
    assert comes(lambda: more("strongroom_received_bytes_total") >= 10_000)
    assert comes(lambda: more("strongroom_sent_bytes_total") >= 10_000)
    found = metrics(observed)
    assert found["strongroom_workers",] == 2
    assert found["strongroom_storage_free_bytes",] > 0
    assert found["strongroom_requests_running",] >= 1, "this one"


def test_a_worker_that_takes_the_place_of_another_goes_on_from_its_numbers(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        key = "strongroom_requests_total", "CreateBucket", "200"
        assert metrics(server)[key] == 1
        time.sleep(1)  # it tells what it counted twice a second
        (pid,) = server.worker_pids()
        os.kill(pid, 9)
        assert comes(lambda: server.worker_pids() not in ([pid], []))
        assert comes(lambda: _answers(server))
        assert metrics(server)[key] == 1


def _answers(server: Server) -> bool:
    try:
        return get(server)[0] == 403
    except OSError:
        return False


def test_calls_to_the_kms_are_counted(bao: OpenBao, tmp_path: Path) -> None:
    role, log = bao.role("observing", "observing"), tmp_path / "access.log"
    with Server(tmp_path, role.settings(STRONGROOM_ACCESS_LOG=str(log)), workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="o", Body=b"x")
        client.get_object(Bucket="bucket", Key="o")
        soft_delete(bao, role.key)
        try:
            assert error_of(client.get_object, Bucket="bucket", Key="o")[1] == 400
        finally:
            undelete(bao, role.key)
        found = metrics(server)
    (denied,) = (line for line in map(json.loads, log.read_text().splitlines()) if line["status"] == 400)
    assert denied["error"] == "KMS.DisabledException" and "'observing'" in denied["reason"]
    assert found["strongroom_kms_data_keys_total", "generate", "ok"] == 2  # one of them for the bucket's listings
    assert found["strongroom_kms_data_keys_total", "unwrap", "ok"] == 1
    assert found["strongroom_kms_data_keys_total", "unwrap", "disabled"] == 1
    assert found["strongroom_kms_call_duration_seconds_count", "unwrap"] == 2


# -- the access log ------------------------------------------------------------------------------------------------


def test_each_request_is_a_line(observed: Server, filled: str) -> None:
    client = observed.client()
    put = client.put_object(Bucket=filled, Key="a/ü\n", Body=b"body")
    client.get_object(Bucket=filled, Key="a/ü\n")["Body"].read()
    client.put_object(Bucket=filled, Key="named", Body=b"", ServerSideEncryption="aws:kms")
    client.put_object(Bucket=filled, Key="of-a-client", Body=b"", **SSE_C)
    assert error_of(client.get_object, Bucket=filled, Key="none")[0] == "NoSuchKey"
    client.list_objects_v2(Bucket=filled)
    assert comes(lambda: len(lines(observed, filled)) == 7)  # a line is written when the answer was
    created, *rest = lines(observed, filled)
    assert (created["operation"], created["status"]) == ("CreateBucket", 200)
    shown = [
        [
            line.get(name)
            for name in ("operation", "key", "status", "error", "received", "sent", "encryption", "master_key")
        ]
        for line in rest
    ]
    assert shown[:5] == [
        ["PutObject", "a/ü\n", 200, None, 4, 0, "SSE-S3", "my-minio-key"],
        ["GetObject", "a/ü\n", 200, None, 0, 4, "SSE-S3", "my-minio-key"],
        ["PutObject", "named", 200, None, shown[2][4], 0, "SSE-KMS", "my-minio-key"],
        ["PutObject", "of-a-client", 200, None, shown[3][4], 0, "SSE-C", None],
        ["GetObject", "none", 404, "NoSuchKey", 0, shown[4][5], None, None],
    ]
    assert shown[5][0] == "ListObjectsV2"
    first = rest[0]
    assert first["request_id"] == put["ResponseMetadata"]["RequestId"]
    assert (first["access_key"], first["client"]) == (ACCESS_KEY, "127.0.0.1")
    assert first["seconds"] > 0 and "Boto3" in first["user_agent"]


def test_who_is_not_let_in_is_named_without_what_they_know(observed: Server, filled: str) -> None:
    answer = request(observed, "GET", f"/{filled}/o", access_key="stranger")
    assert answer.status == 403
    signing = observed.client(signature_version="s3v4")
    url = signing.generate_presigned_url("get_object", Params={"Bucket": filled, "Key": "o"})
    assert get(observed, url.removeprefix(observed.endpoint))[0] == 404
    stranger, known = gets(observed, filled, 2)
    assert (stranger["error"], stranger.get("access_key")) == ("InvalidAccessKeyId", None)
    assert (known["error"], known["access_key"]) == ("NoSuchKey", ACCESS_KEY)
    text = (observed.home / "access.log").read_text()
    for secret in ("Signature", SECRET_KEY, KEY, base64.b64encode(KEY.encode()).decode()):
        assert secret not in text


def test_the_address_that_a_proxy_adds_is_named_whatever_its_client_wrote_before(observed: Server, filled: str) -> None:
    seen = f"{'x' * 500}, 192.0.2.7"
    assert request(observed, "GET", f"/{filled}/o", {"X-Forwarded-For": seen}).status == 404
    (line,) = gets(observed, filled, 1)
    assert line["forwarded_for"].endswith(", 192.0.2.7") and len(line["forwarded_for"]) < 300


def test_administration_is_no_operation_on_a_bucket(observed: Server) -> None:
    path = "/minio/admin/v3/list-users"
    assert get(observed, f"{path}?bucket=x")[0] == 501
    assert get(observed, "/minio/health/live")[0] == 200

    def found() -> list[dict[str, Any]]:
        text = (observed.home / "access.log").read_text()
        return [line for line in map(json.loads, text.splitlines()) if line.get("key") == path]

    assert comes(lambda: bool(found()))
    (line,) = found()
    assert (line["operation"], line["status"], line["error"]) == ("Page", 501, "NotImplemented")
    assert "bucket" not in line


def test_a_client_that_goes_away_is_a_line_too(observed: Server, filled: str) -> None:
    observed.client().put_object(Bucket=filled, Key="large", Body=bytes(32 * 1024**2))
    answer = observed.client().get_object(Bucket=filled, Key="large")
    answer["Body"].read(1000)
    answer["Body"].close()
    (line,) = gets(observed, filled, 1)
    assert (line["status"], line["error"]) == (200, "ClientGone")
    assert 0 < line["sent"] < 32 * 1024**2


def test_a_response_that_is_cut_short_is_an_error(observed: Server, filled: str) -> None:
    client, here = observed.client(), {"Bucket": filled, "Key": "spoilt"}
    size = 33 * 1024**2
    client.put_object(**here, Body=os.urandom(size))
    stored = size + size // 65_536 * 32
    (blob,) = (file for file in observed.directory.rglob("*") if file.is_file() and file.stat().st_size == stored)
    with blob.open("r+b") as file:
        file.seek(-1000, os.SEEK_END)
        file.write(b"spoilt")
    with pytest.raises(Exception, match=r"(?i)incomplete|broken|read"):
        client.get_object(**here)["Body"].read()
    (line,) = gets(observed, filled, 1)
    assert (line["status"], line["error"]) == (500, "InternalError")
    assert comes(lambda: metrics(observed).get(("strongroom_requests_total", "GetObject", "500"), 0) == 1)


def test_what_a_form_brings_and_a_copy_takes_is_named(observed: Server, filled: str) -> None:
    assert post(observed, filled, signed(observed, filled, "by/form"), b"body").status == 204
    source = {"Bucket": filled, "Key": "by/form"}
    observed.client().copy_object(Bucket=filled, Key="copy", CopySource=source)
    assert comes(lambda: len(lines(observed, filled)) == 3)
    _, form, copy = lines(observed, filled)
    assert (form["access_key"], form["key"], form["encryption"]) == (ACCESS_KEY, "by/form", "SSE-S3")
    assert form["received"] > 4
    assert (copy["key"], copy["copy_source"]) == ("copy", f"{filled}/by/form")


def test_a_url_that_is_copied_from_is_written_without_its_signature(observed: Server, filled: str) -> None:
    request(observed, "PUT", f"/{filled}/copy", {"x-amz-copy-source": f"/{filled}/o?X-Amz-Signature=5ea1ed"})
    assert comes(lambda: len(lines(observed, filled)) == 2)
    assert lines(observed, filled)[1]["copy_source"] == f"/{filled}/o"


def test_a_log_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    server = Server(tmp_path, {"STRONGROOM_ACCESS_LOG": str(tmp_path / "missing" / "access.log")})
    with pytest.raises(AssertionError), server:
        pass
    assert f"STRONGROOM_ACCESS_LOG: cannot write to '{tmp_path}/missing/access.log': No such file" in server.log
    assert "Traceback" not in server.log


# -- what the log says of failures -----------------------------------------------------------------------------------


def test_a_warning_names_the_request_and_the_object(tmp_path: Path) -> None:
    with Server(tmp_path, workers=1) as server:
        server.client().create_bucket(Bucket="bucket")
        etag = server.client().put_object(Bucket="bucket", Key="a/ü", Body=b"body")["ETag"]
    other = {"MINIO_SSE_MASTER_KEY": f"my-minio-key:{'00' * 32}", "STRONGROOM_LOG_FORMAT": "json"}
    with Server(tmp_path, {**other}, workers=1) as server:
        client = server.client(signature_version="s3v4")
        read = request(server, "GET", "/bucket/a/%C3%BC")
        link = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "a/ü"})
        assert get(server, link.removeprefix(server.endpoint))[0] == 403
        listed = {"Objects": [{"Key": "none"}, {"Key": "a/ü", "ETag": etag}]}
        assert [error["Key"] for error in client.delete_objects(Bucket="bucket", Delete=listed)["Errors"]] == ["a/ü"]
        found = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    said = [line for line in found if line["logger"] == "strongroom.s3"]
    assert [line["operation"] for line in said] == ["GetObject", "GetObject", "DeleteObjects"]
    assert {(line["level"], line["bucket"], line["key"]) for line in said} == {("warning", "bucket", "a/ü")}
    assert said[0]["request_id"] == read.headers["x-amz-request-id"]
    assert len({line["request_id"] for line in said}) == 3
    assert "X-Amz-" not in server.log
