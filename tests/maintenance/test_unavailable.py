"""A job whose KMS cannot be reached stops, and does not try one object after another in vain."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.jobs import job, run_job
from tests.mounts import small_file_system
from tests.openbao import OpenBao
from tests.server import NAS, Server, free_port

COUNT = 100
ROW = 20 + 4
FEW = ["one", "two"]


@pytest.fixture(scope="module")
def unreachable(bao: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that was stopped, with objects of both kinds, whose KMS cannot be reached any more."""
    settings = bao.role("unavailable", "unavailable-key").settings(MINIO_SSE_AUTO_ENCRYPTION=None)
    with Server(tmp_path_factory.mktemp("unavailable"), settings, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="sealed")
        client.create_bucket(Bucket="plain")
        client.create_bucket(Bucket="few")
        for key in FEW:
            client.put_object(Bucket="few", Key=key, Body=b"x", ServerSideEncryption="AES256")
        for number in range(COUNT):
            client.put_object(Bucket="sealed", Key=str(number), Body=b"x", ServerSideEncryption="AES256")
            client.put_object(Bucket="plain", Key=str(number), Body=b"x")
        assert job(server, "audit", "--bucket", "sealed")["failed_count"] == 0
    server.settings = {**settings, "MINIO_SSE_VAULT_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    return server


@pytest.mark.parametrize("name", ["audit", "encrypt"])
def test_it_stops_after_some_objects_in_a_row(unreachable: Server, name: str) -> None:
    bucket = "sealed" if name == "audit" else "plain"
    ended = run_job(unreachable, name, "--json", "--tasks", "4", "--bucket", bucket)
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["finished"], report["done"]) == (130, False, 0)
    assert ROW <= report["failed_count"] < ROW + 4
    (note,) = report["notes"]
    assert note.startswith(f"it failed with {ROW} objects in a row") and "is not available" in note


def test_of_a_few_it_does_not_say_that_they_do_not_open(unreachable: Server) -> None:
    ended = run_job(unreachable, "audit", "--json", "--bucket", "few")
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["finished"], [failed["key"] for failed in report["failed"]]) == (130, False, FEW)
    (note,) = report["notes"]
    assert note.startswith("2 failures because something was not available") and "the KMS" in note


def test_beside_a_real_failure_it_says_which_are_none(unreachable: Server) -> None:
    ended = run_job(unreachable, "audit", "--json", "--bucket", "few", "--bucket", "plain")
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["finished"], report["failed_count"]) == (3, True, 2 + COUNT)
    (note,) = report["notes"]
    assert note.startswith("2 failures because something was not available")


def test_so_it_does_where_the_disk_is_full(tmp_path: Path) -> None:
    settings: dict[str, str | None] = {"MINIO_SSE_AUTO_ENCRYPTION": None}
    with (
        small_file_system(tmp_path / "disk", 8) as point,
        Server(tmp_path, settings, 1, command=NAS, data=point) as nas,
    ):
        client = nas.client()
        client.create_bucket(Bucket="plain")
        for number in range(COUNT):
            client.put_object(Bucket="plain", Key=str(number), Body=bytes(5_000))
        with suppress(OSError), (point / "full").open("wb", 0) as file:
            while file.write(bytes(4096)):
                pass
        ended = run_job(nas, "encrypt", "--json", "--tasks", "4")
        report = json.loads(ended.stdout)
        assert (ended.returncode, report["finished"]) == (130, False)
        assert ROW <= report["failed_count"] < ROW + 4 and "no space is left" in report["notes"][0]
        (point / "full").unlink()
        report = job(nas, "encrypt")
        assert (report["finished"], report["done"]) == (True, COUNT)


def test_a_quota_of_the_kms_is_waited_for(bao: OpenBao, tmp_path: Path) -> None:
    settings = bao.role("quota", "quota-key").settings()
    with Server(tmp_path, settings, workers=1) as server:
        client = server.client()
        client.create_bucket(Bucket="sealed")
        for number in range(COUNT):
            client.put_object(Bucket="sealed", Key=str(number), Body=b"x")
        bao.api("POST", "transit/keys/quota-key/rotate", {})
        bao.api("POST", "sys/quotas/rate-limit/few", {"path": "transit/", "rate": 5})
        try:
            for name in ("rewrap", "audit"):
                report = job(server, name, "--tasks", "8")
                assert (report["finished"], report["done"], report["failed"]) == (True, COUNT, [])
        finally:
            bao.api("DELETE", "sys/quotas/rate-limit/few")


def test_objects_that_need_no_kms_count_as_a_success(unreachable: Server) -> None:
    report = job(unreachable, "audit", "--bucket", "plain")
    assert (report["finished"], report["done"]) == (True, COUNT)


def test_rewrap_does_not_begin(unreachable: Server) -> None:
    ended = run_job(unreachable, "rewrap")
    assert (ended.returncode, "is not available" in ended.stderr) == (1, True)
