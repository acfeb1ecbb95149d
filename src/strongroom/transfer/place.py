"""Where objects are copied from or to: an S3 endpoint, a bucket, a prefix. Values only, pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from strongroom.secret import Secret
from strongroom.trust import in_the_clear


@dataclass(frozen=True, slots=True)
class Place:
    """All buckets of an S3 (``bucket`` is ""), one bucket, or the keys in it that begin with ``prefix``."""

    endpoint: str
    bucket: str = ""
    prefix: str = ""

    @property
    def in_the_clear(self) -> bool:
        """Whether what is sent there can be read on the way: plain HTTP to another machine."""
        return in_the_clear(self.endpoint)

    def __str__(self) -> str:
        return "/".join(part for part in (self.endpoint, self.bucket, self.prefix) if part)


@dataclass(frozen=True, slots=True)
class Access:
    """How an S3 is reached. What is None, botocore finds where AWS's tools look. ``ca``: a PEM file of certificates."""

    access_key: str | None = None
    secret_key: Secret | None = None
    profile: str | None = None
    region: str | None = None
    ca: str | None = None


def parse_place(text: str) -> Place:
    """A place from ``http(s)://HOST[:PORT][/BUCKET[/PREFIX]]``. Raises ValueError, saying what is wrong."""
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{text!r} is not a URL such as http://127.0.0.1:9000/bucket")
    if url.username or url.password:
        raise ValueError("credentials do not belong into a URL; everybody can see a command line")
    if url.query or url.fragment:
        raise ValueError(f"{text!r} has more behind the name of the bucket than a prefix")
    try:
        port = url.port
    except ValueError:
        raise ValueError(f"{text!r} names no port") from None
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    bucket, _, prefix = unquote(url.path).removeprefix("/").partition("/")
    return Place(f"{url.scheme}://{host}{f':{port}' if port else ''}", bucket, prefix)
