"""What is recorded of each request: it is counted in the metrics, and written to the access log if there is one."""

from __future__ import annotations

import time

from strongroom.observe.access import AccessLog
from strongroom.observe.metrics import Metrics
from strongroom.s3.observing import Seen
from strongroom.sealed.keys import KIND_NAMES

_UNKNOWN = "Unknown"
_MAX_AGENT = 256
_MAX_SOURCE = 4096


class RequestObserver:
    """Counts requests in ``metrics`` and writes them to ``access_log``, if there is one."""

    def __init__(self, metrics: Metrics, access_log: AccessLog | None) -> None:
        self._metrics = metrics
        self._access_log = access_log

    def begun(self, seen: Seen) -> None:
        """The head of a request has arrived."""
        self._metrics.running += 1

    def ended(self, seen: Seen) -> None:
        """The request was answered, or will not be."""
        seconds = time.perf_counter() - seen.begun
        self._metrics.running -= 1
        self._metrics.request(seen.operation or _UNKNOWN, seen.status, seconds, seen.received, seen.sent)
        if self._access_log is not None:
            self._access_log.write(_fields(seen, seconds))


def _fields(seen: Seen, seconds: float) -> dict[str, object]:
    """The fields of a line in the access log: nothing of the query or the headers that may be secret."""
    request, about = seen.request, seen.about
    return {
        "request_id": seen.request_id,
        "client": request.client,
        "forwarded_for": request.headers.get("x-forwarded-for", "")[-_MAX_AGENT:],
        "access_key": seen.access_key,
        "operation": seen.operation or _UNKNOWN,
        "bucket": seen.bucket,
        "key": seen.key,
        "copy_source": request.headers.get("x-amz-copy-source", "").partition("?")[0][:_MAX_SOURCE],
        "status": seen.status,
        "error": seen.error,
        "reason": seen.reason,
        "received": seen.received,
        "sent": seen.sent,
        "seconds": round(seconds, 6),
        "encryption": KIND_NAMES[about.kind] if about is not None else "",
        "master_key": about.key_id if about is not None else "",
        "user_agent": request.headers.get("user-agent", "")[:_MAX_AGENT],
    }
