"""What workers count, and the page that Prometheus's own parser reads."""

from __future__ import annotations

import json
import resource
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from strongroom.observe.exposition import page
from strongroom.observe.metrics import Metrics


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """The samples of a page, by name and label values."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_the_page_adds_up_what_all_workers_counted() -> None:
    one, two = Metrics(lambda: 12345), Metrics()
    one.request("GetObject", 200, 0.002, 0, 1_234_567_890_123)
    one.request("GetObject", 404, 0.0001, 0, 7)
    two.request("GetObject", 200, 100.0, 0, 0)
    two.request("PutObject", 200, 0.05, 10, 0)
    for result in ("2xx", "failed", "2xx"):
        two.backend_request(result)
    two.kms_call("unwrap", ["ok", "denied", "ok"], 0.003)
    one.running, two.running, two.connections = 1, 2, 5
    one.others = lambda: [two.snapshot()]
    found = samples(page(one, "1.2.3"))
    assert found["strongroom_requests_total", "GetObject", "200"] == 2
    assert found["strongroom_requests_total", "GetObject", "404"] == 1
    assert found["strongroom_requests_total", "PutObject", "200"] == 1
    assert found["strongroom_request_duration_seconds_count", "GetObject"] == 3
    assert found["strongroom_request_duration_seconds_bucket", "0.001", "GetObject"] == 1
    assert found["strongroom_request_duration_seconds_bucket", "0.0025", "GetObject"] == 2
    assert found["strongroom_request_duration_seconds_bucket", "60.0", "GetObject"] == 2
    assert found["strongroom_request_duration_seconds_bucket", "+Inf", "GetObject"] == 3
    assert found["strongroom_request_duration_seconds_sum", "GetObject"] == 100.0021
    assert found["strongroom_kms_data_keys_total", "unwrap", "ok"] == 2
    assert found["strongroom_kms_data_keys_total", "unwrap", "denied"] == 1
    assert found["strongroom_kms_call_duration_seconds_count", "unwrap"] == 1
    assert found["strongroom_backend_requests_total", "2xx"] == 2
    assert found["strongroom_backend_requests_total", "failed"] == 1
    assert found["strongroom_sent_bytes_total",] == 1_234_567_890_130
    assert found["strongroom_received_bytes_total",] == 10
    assert (found["strongroom_requests_running",], found["strongroom_connections",]) == (3, 5)
    assert (found["strongroom_workers",], found["strongroom_storage_free_bytes",]) == (2, 12345)
    assert found["strongroom_build_info", "1.2.3"] == 1
    assert found["strongroom_worker_memory_bytes",] > 0


def test_asking_changes_nothing() -> None:
    one, two = Metrics(), Metrics()
    two.request("PutObject", 200, 0.05, 10, 0)
    one.others = lambda: [two.snapshot()]
    before = samples(page(one, ""))
    after = samples(page(one, ""))
    key = "strongroom_requests_total", "PutObject", "200"
    assert before[key] == after[key] == 1


def test_a_worker_goes_on_from_the_numbers_of_the_one_before() -> None:
    before = Metrics()
    before.request("PutObject", 200, 0.05, 10, 0)
    before.running = 3
    after = Metrics()
    after.resume(before.snapshot())
    after.request("PutObject", 200, 0.05, 10, 0)
    found = samples(page(after, ""))
    assert found["strongroom_requests_total", "PutObject", "200"] == 2
    assert found["strongroom_received_bytes_total",] == 20
    assert found["strongroom_requests_running",] == 0, "what it was answering went with it"


def test_a_worker_that_is_gone_has_counted_and_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Metrics(), Metrics()
    two.request("PutObject", 200, 0.05, 10, 0)
    two.running = two.connections = 7
    last = two.snapshot()
    one.others = lambda: [last]
    assert samples(page(one, ""))["strongroom_workers",] == 2
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    found = samples(page(one, ""))
    assert found["strongroom_requests_total", "PutObject", "200"] == 1
    assert (found["strongroom_workers",], found["strongroom_requests_running",], found["strongroom_connections",]) == (
        1, 0, 0,
    )  # fmt: skip


def test_processor_time_does_not_go_back_with_a_new_worker() -> None:
    before = Metrics()
    sum(range(200_000))
    last = before.snapshot()
    after = Metrics()
    after.resume(last)
    spent = samples(page(before, ""))["strongroom_processor_seconds_total",]
    assert samples(page(after, ""))["strongroom_processor_seconds_total",] > spent


def test_being_out_of_file_descriptors_ends_nothing() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    metrics = Metrics()
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        assert json.loads(metrics.snapshot())["memory"] == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_a_store_whose_room_is_known_the_page_does_not_say_it() -> None:
    assert b"storage_free_bytes" not in page(Metrics(), "")
