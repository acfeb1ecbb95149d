"""The page that Prometheus reads, with the metrics of all workers (:mod:`strongroom.observe.metrics`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from strongroom.observe.metrics import BOUNDS, Durations, Everyones, Metrics, Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_PREFIX = "strongroom_"


def page(metrics: Metrics, version: str) -> bytes:
    """The page, in Prometheus's text format. ``version`` is that of the running release."""
    registry = CollectorRegistry()
    everyones = metrics.everyones()
    families = [*_counted(everyones.counted), *_running(everyones), *_state(metrics, version)]
    registry.register(_Families(families))
    return generate_latest(registry)


class _Families(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counted(whole: Snapshot) -> Iterator[Metric]:
    requests = CounterMetricFamily(f"{_PREFIX}requests", "Requests that were answered.", labels=("operation", "status"))
    for operation, status, count in whole["requests"]:
        requests.add_metric((operation, str(status)), count)
    yield requests
    yield _histogram("request_duration_seconds", "How long requests took.", "operation", whole["request_seconds"])
    data_keys = CounterMetricFamily(
        f"{_PREFIX}kms_data_keys", "Data keys that the KMS was asked for.", labels=("call", "result")
    )
    for call, result, count in whole["data_keys"]:
        data_keys.add_metric((call, result), count)
    yield data_keys
    yield _histogram("kms_call_duration_seconds", "How long the KMS took to answer.", "call", whole["kms_seconds"])
    backend = CounterMetricFamily(f"{_PREFIX}backend_requests", "Requests to the backend.", labels=("result",))
    for result, count in whole["backend"]:
        backend.add_metric((result,), count)
    yield backend
    yield CounterMetricFamily(f"{_PREFIX}received_bytes", "Bytes of the bodies of requests.", whole["received"])
    yield CounterMetricFamily(f"{_PREFIX}sent_bytes", "Bytes of the bodies of responses.", whole["sent"])


def _running(everyones: Everyones) -> Iterator[Metric]:
    workers = everyones.running
    running, connections = sum(w["running"] for w in workers), sum(w["connections"] for w in workers)
    yield GaugeMetricFamily(f"{_PREFIX}requests_running", "Requests that are being answered.", running)
    yield GaugeMetricFamily(f"{_PREFIX}connections", "Open connections of clients.", connections)
    yield GaugeMetricFamily(f"{_PREFIX}workers", "Worker processes that serve.", len(workers))
    memory = max(worker["memory"] for worker in workers)
    yield GaugeMetricFamily(f"{_PREFIX}worker_memory_bytes", "Resident memory of the largest worker.", memory)
    yield CounterMetricFamily(f"{_PREFIX}processor_seconds", "Processor time of the workers.", everyones.processor)


def _state(metrics: Metrics, version: str) -> Iterator[Metric]:
    build = GaugeMetricFamily(f"{_PREFIX}build_info", "The release that runs.", labels=("version",))
    build.add_metric((version,), 1)
    yield build
    free = metrics.free_bytes()
    if free is not None:
        yield GaugeMetricFamily(f"{_PREFIX}storage_free_bytes", "Bytes free where objects are stored.", free)
    end = metrics.certificate_end()
    if end is not None:
        name = f"{_PREFIX}tls_certificate_expiry_timestamp_seconds"
        yield GaugeMetricFamily(name, "When the server's TLS certificate expires.", end.timestamp())


def _histogram(name: str, told: str, label: str, durations: Durations) -> HistogramMetricFamily:
    family = HistogramMetricFamily(_PREFIX + name, told, labels=(label,))
    for value, (*counts, seconds) in durations.items():
        names = (*map(str, BOUNDS), "+Inf")
        family.add_metric((value,), list(zip(names, accumulate(counts), strict=True)), seconds)
    return family
