"""The work that is measured: what the load generator is told to do, and what has to be there before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from bench import floors

State = Literal["", "warm", "cold"]

KIB, MIB, GIB = 1024, 1024**2, 1024**3

ENCRYPTED = ("strongroom", "minio", "versitygw")
PRICE = ("strongroom, plain", "minio, plain")
"""Peers that show what encryption costs, beside those that are compared."""
WITHOUT_MD5 = ("strongroom --no-compat", "minio, SSE-KMS")
"""Peers whose ETags are no MD5s."""
SYNCED = ("versitygw, synced",)
"""The peer that syncs what versitygw by itself does not, where objects are written or removed."""
OVER_TLS = ("strongroom, TLS", "minio, TLS")
GATEWAY = ("strongroom gateway s3", "strongroom gateway s3, 1 worker", "strongroom gateway s3, plain", "minio, plain")


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work, done by each peer in turn; the first is the one that the others are compared with.

    ``load`` are the load generator's flags; where they hold ``-times``, it is done so often instead of for a time. What
    puts objects does so under new names each time. ``fill`` are the flags of what is done once before, with each peer.
    ``unit`` is "MB" (of the objects' bytes a second) or what one operation is. ``floors`` are measured in the same
    turns. ``slow`` are further peers, for which filling takes many minutes. ``kept``: what it is filled with may be
    used again by the next run, since nothing else is written beside it. ``state``: "warm" where each peer has one turn
    that does not count, "cold" where it is started anew for each turn.
    """

    name: str
    load: str
    unit: str
    fill: str = ""
    peers: tuple[str, ...] = ENCRYPTED + PRICE
    floors: tuple[str, ...] = ()
    slow: tuple[str, ...] = ()
    kept: bool = False
    state: State = ""

    @property
    def puts(self) -> bool:
        """Whether it puts objects."""
        return any(f"-op {operation}" in self.load for operation in ("put", "multipart", "mixed"))

    @property
    def puts_much(self) -> bool:
        """Whether what it puts is measured by its bytes."""
        return self.puts and self.unit == "MB"


def clients(count: int) -> str:
    """How many clients, in words."""
    return f"{count} client{'s' * (count > 1)}"


def small(operation: str, count: int) -> str:
    """The name of work with objects of 4 KiB."""
    return f"4 KiB {operation.upper()}, {clients(count)}"


def through_gateway(operation: str, count: int) -> str:
    """The name of work with objects of 4 KiB through the S3 gateway."""
    return f"{small(operation, count)}, through the S3 gateway"


def large(operation: str) -> str:
    """The name of work with objects of 64 MiB."""
    return f"64 MiB {operation.upper()}, 4 clients"


def pages(count: int) -> str:
    """The name of work that lists pages of 1,000, over and over."""
    return f"pages from anywhere of {count:,} objects"


def first_pages(count: int) -> str:
    """The name of work that lists ten pages that the server has not seen since it started."""
    return f"pages just after a start, of {count:,} objects"


def folders(count: int) -> str:
    """The name of work that lists with a delimiter."""
    return f"100 folders of {count:,} objects"


LARGE = ((MIB, "1 MiB", 8), (64 * MIB, "64 MiB", 4))
"""Sizes of large objects, how they are called, and how many clients deal with them."""

RANGES = "64 KiB ranges of a 1 GiB object, 8 clients"

ANEW = "4 KiB GET, 8 clients, a connection each time"

_SMALL_FILL = "-op put -prefix small -size 4096 -clients 8 -times 1000"


def _small(operation: str, count: int) -> Work:
    load = f"-op {operation} -prefix small -size 4096 -objects 1000 -clients {count}"
    peers: tuple[str, ...] = ENCRYPTED + PRICE
    if operation != "head":
        peers += ("strongroom, OpenBao", "strongroom, OpenBao, bucket keys") + ("strongroom, 1 worker",) * (count == 64)
    if operation == "put":
        return Work(small(operation, count), load.replace("small", f"put{count}"), "objects", "", peers + SYNCED)
    return Work(small(operation, count), load, "objects", _SMALL_FILL, peers)


def _delete(count: int) -> Work:
    times = 1000 if count == 1 else 2000
    fill = f"-op put -prefix gone{count} -size 4096 -clients 32 -times {times}"
    load = f"-op delete -prefix gone{count} -clients {count} -times {times}"
    return Work(small("delete", count), load, "objects", fill, (*ENCRYPTED, *SYNCED, "strongroom, plain"))


def _mixed(count: int) -> Work:
    fill = f"-op put -prefix mixed{count} -size 4096 -clients 8 -times 1000"
    load = f"-op mixed -prefix mixed{count} -size 4096 -objects 1000 -clients {count}"
    return Work(f"4 KiB mixed, {clients(count)}", load, "requests", fill, ENCRYPTED + SYNCED + PRICE)


def _sized(operation: str, size: int, label: str, count: int) -> Work:
    prefix = operation + label.replace(" ", "")
    fill = "" if operation == "put" else f"-op put -prefix {prefix} -size {size} -clients 2 -times 8"
    load = f"-op {operation} -prefix {prefix} -size {size} -objects 8 -clients {count}"
    peers: tuple[str, ...] = ENCRYPTED + PRICE
    below: tuple[str, ...] = ()
    if operation == "put":
        peers += WITHOUT_MD5 + SYNCED
    if size == 64 * MIB:
        peers += ("strongroom, 1 worker",)
        below = floors.OF_PUT if operation == "put" else floors.OF_GET
    return Work(f"{label} {operation.upper()}, {clients(count)}", load, "MB", fill, peers, below)


def _through_gateway(operation: str, count: int) -> Work:
    prefix = f"gateway{operation}{count}"
    fill = f"-op put -prefix {prefix} -size 4096 -clients 8 -times 1000" if operation == "get" else ""
    load = f"-op {operation} -prefix {prefix} -size 4096 -objects 1000 -clients {count}"
    return Work(through_gateway(operation, count), load, "objects", fill, GATEWAY)


def _large_through_gateway(operation: str) -> Work:
    prefix = f"large{operation}"
    fill = f"-op put -prefix {prefix} -size {64 * MIB} -clients 2 -times 8" if operation == "get" else ""
    load = f"-op {operation} -prefix {prefix} -size {64 * MIB} -objects 8 -clients 4"
    return Work(f"{large(operation)}, through the S3 gateway", load, "MB", fill, GATEWAY)


def _over_tls() -> Iterator[Work]:
    """Some of the work above, as those do it who serve more than one machine."""
    kinds = [_small(operation, 8) for operation in ("put", "get")]
    kinds += [_sized(op, size, label, count) for size, label, count in LARGE for op in ("put", "get")]
    for work in kinds:
        yield replace(work, name=f"{work.name}, over TLS", peers=OVER_TLS, floors=())


def _anew() -> Iterator[Work]:
    """Requests that each open a connection, as those of command lines do, and of proxies that keep none."""
    get = _small("get", 8)
    for name, peers in ((ANEW, ENCRYPTED), (f"{ANEW}, over TLS", OVER_TLS)):
        yield replace(get, name=name, load=f"{get.load} -anew", peers=peers)


def _own_key(operation: str, size: int, label: str, count: int) -> Work:
    prefix = f"ssec{operation}{label[:2]}"
    times = 1000 if size < MIB else 8
    fill = f"-op put -prefix {prefix} -size {size} -clients 4 -times {times} -sse-c" if operation == "get" else ""
    load = f"-op {operation} -prefix {prefix} -size {size} -objects {times} -clients {count} -sse-c"
    unit = "objects" if size < MIB else "MB"
    return Work(f"{label} {operation.upper()}, {clients(count)}, SSE-C", load, unit, fill, ("strongroom",))


def _listings(count: int, peers: tuple[str, ...], slow: tuple[str, ...]) -> Iterator[Work]:
    keys = f"-prefix list{count} -folder {count // 100} -objects {count}"
    fill = f"-op put {keys} -size 1 -clients 64 -times {count}"
    kinds: tuple[tuple[str, str, State], ...] = (
        (pages(count), f"-op list {keys} -clients 8", "warm"),
        (first_pages(count), f"-op spread {keys} -clients 1 -times 10", "cold"),
        (folders(count), f"-op listdelim {keys} -clients 8", ""),
    )
    for name, load, state in kinds:
        yield Work(name, load, "pages", fill, peers, slow=slow, kept=True, state=state)


_GIB = f"-op multipart -prefix gib -size {GIB} -clients 1 -times 1"

WORK: tuple[Work, ...] = (
    *(_small(operation, count) for operation in ("put", "get", "head") for count in (1, 8, 64)),
    *(_delete(count) for count in (1, 8, 64)),
    *(_mixed(count) for count in (8, 64)),
    *(
        _sized(operation, size, label, count)
        for size, label, count in ((64 * KIB, "64 KiB", 8), *LARGE)
        for operation in ("put", "get")
    ),
    *_over_tls(),
    *_anew(),
    Work(
        "1 GiB multipart upload, 4 parts at a time",
        _GIB.replace("gib", "multi"),
        "MB",
        peers=ENCRYPTED + PRICE + WITHOUT_MD5 + SYNCED,
    ),
    Work(RANGES, f"-op range -prefix gib -size {GIB} -range 65536 -clients 8", "ranges", _GIB),
    *(
        _own_key(operation, size, label, count)
        for size, label, count in ((4 * KIB, "4 KiB", 8), (64 * MIB, "64 MiB", 4))
        for operation in ("put", "get")
    ),
    *(_through_gateway(operation, count) for operation in ("put", "get") for count in (1, 8, 64)),
    *(_large_through_gateway(operation) for operation in ("put", "get")),
    *_listings(10_000, (*ENCRYPTED, "strongroom, plain"), ()),
    *_listings(100_000, ("strongroom",), ("minio", "versitygw")),
    *_listings(1_000_000, (), ("strongroom", "versitygw")),
    Work("in memory, all cores", "", "MB", "", (), floors.IN_MEMORY),
)
