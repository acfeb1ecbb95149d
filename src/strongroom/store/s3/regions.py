"""Where the backend's buckets are, as learnt from its answers: their regions, and hosts that AWS redirects to."""

from __future__ import annotations

import contextlib
import logging
import re
from urllib.parse import urlsplit

from strongroom.store.s3.endpoint import AWS_SUFFIX, Endpoint

_log = logging.getLogger("strongroom.backend")

_REGION = re.compile(r"[A-Za-z0-9._-]{1,64}")  # what all later requests for a bucket are signed for, and may be sent to


class Regions:
    """The regions of buckets; ``default`` for a bucket whose region was not learnt."""

    def __init__(self, endpoint: Endpoint, default: str) -> None:
        self._endpoint = endpoint
        self._default = default
        self._regions: dict[str, str] = {}
        self._hosts: dict[str, str] = {}

    def of(self, bucket: str) -> str:
        """The region that requests for a bucket are signed for."""
        return self._regions.get(bucket, self._default)

    def address(self, bucket: str, key: str) -> tuple[str, str]:
        """The host and the raw path of a request."""
        host, path = self._endpoint.address(self.of(bucket), bucket, key)
        return self._hosts.get(bucket, host), path

    def learn(self, bucket: str, region: str) -> bool:
        """Remember the region that the backend names for a bucket. Returns whether a repeated request can now go
        elsewhere.
        """
        if not bucket:
            return False
        if _REGION.fullmatch(region) and region != self.of(bucket):
            _log.info("a bucket lies in another region", extra={"bucket": bucket, "region": region})
            self._regions[bucket] = region
            return True
        return bucket in self._hosts

    def follow(self, bucket: str, location: str) -> None:
        """Follow a temporary redirect of AWS, but only to hosts of AWS: requests carry a signature."""
        if self._endpoint.host:
            return
        with contextlib.suppress(ValueError):  # no address
            host = urlsplit(location).netloc
            if host.endswith(AWS_SUFFIX):
                self._hosts[bucket] = host

    def unfollow(self, bucket: str) -> None:
        """Send requests for a bucket to the host of its region again."""
        self._hosts.pop(bucket, None)
