"""The work that is measured: what the load generator is told to do, and what has to be there before."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1024, 1024**2, 1024**3

ENCRYPTED = ("strongroom", "minio", "versitygw")
PRICE = ("strongroom, plain", "minio, plain")
"""Peers that show what encryption costs, beside those that are compared."""


@dataclass(frozen=True, slots=True)
class Work:
    """One kind of work.

    ``load`` are the load generator's flags; where they hold ``-times``, it is done so often instead of for a time, each
    time under new names. ``fill`` are the flags of what is done once before, with each peer. ``unit`` is "MB" (of the
    objects' bytes a second) or what one operation is. ``slow``: takes minutes.
    """

    name: str
    load: str
    unit: str
    fill: str = ""
    peers: tuple[str, ...] = ENCRYPTED + PRICE
    slow: bool = False


def _small(operation: str, clients: int) -> Work:
    fill = "" if operation == "put" else "-op put -prefix small -size 4096 -clients 8 -times 1000"
    prefix = "small" if fill else f"put{clients}"
    load = f"-op {operation} -prefix {prefix} -size 4096 -objects 1000 -clients {clients}"
    return Work(f"4 KiB {operation.upper()}, {clients} clients", load, "objects", fill)


def _delete(clients: int) -> Work:
    fill = f"-op put -prefix gone{clients} -size 4096 -clients 16 -times 2000"
    load = f"-op delete -prefix gone{clients} -clients {clients} -times 2000"
    return Work(f"4 KiB DELETE, {clients} clients", load, "objects", fill)


def _sized(operation: str, size: int, label: str, clients: int) -> Work:
    prefix = operation + label.replace(" ", "")
    fill = "" if operation == "put" else f"-op put -prefix {prefix} -size {size} -clients 2 -times 8"
    load = f"-op {operation} -prefix {prefix} -size {size} -objects 8 -clients {clients}"
    peers = ENCRYPTED + PRICE + (("strongroom --no-compat",) if operation == "put" else ())
    return Work(f"{label} {operation.upper()}, {clients} clients", load, "MB", fill, peers)


def _gateway(operation: str, size: int, label: str, clients: int) -> Work:
    count = 1000 if size < MIB else 8
    prefix = f"gateway{label[0]}{clients}"
    fill = f"-op put -prefix {prefix} -size {size} -clients 4 -times {count}" if operation == "get" else ""
    load = f"-op {operation} -prefix {prefix} -size {size} -objects {count} -clients {clients}"
    name = f"{label} {operation.upper()} through the S3 gateway, {clients} clients"
    return Work(name, load, "objects" if size < MIB else "MB", fill, ("strongroom gateway s3", "minio, plain"))


_GIB = f"-op multipart -prefix gib -size {GIB} -clients 1 -times 1"

WORK: tuple[Work, ...] = (
    *(_small(operation, clients) for operation in ("put", "get", "head") for clients in (1, 8, 64)),
    *(_delete(clients) for clients in (1, 8, 64)),
    *(
        _sized(operation, size, label, clients)
        for size, label, clients in ((64 * KIB, "64 KiB", 8), (MIB, "1 MiB", 8), (64 * MIB, "64 MiB", 4))
        for operation in ("put", "get")
    ),
    Work("1 GiB multipart upload", _GIB.replace("gib", "multi"), "MB", "", ENCRYPTED + PRICE, slow=True),
    Work(
        "64 KiB ranges of a 1 GiB object, 8 clients",
        f"-op range -prefix gib -size {GIB} -range 65536 -clients 8",
        "ranges",
        _GIB,
        ENCRYPTED + PRICE,
        slow=True,
    ),
    *(
        Work(
            f"4 KiB GET, {clients} clients, master key in OpenBao",
            f"-op get -prefix small -size 4096 -objects 1000 -clients {clients}",
            "objects",
            "-op put -prefix small -size 4096 -clients 8 -times 1000",
            ("strongroom, OpenBao", "strongroom"),
        )
        for clients in (1, 8, 64)
    ),
    Work(
        "4 KiB PUT, 64 clients, master key in OpenBao",
        "-op put -prefix kms -size 4096 -clients 64",
        "objects",
        "",
        ("strongroom, OpenBao", "strongroom"),
    ),
    *(
        _gateway(operation, size, label, clients)
        for size, label, clients in ((4 * KIB, "4 KiB", 1), (4 * KIB, "4 KiB", 8), (64 * MIB, "64 MiB", 4))
        for operation in ("put", "get")
    ),
    Work(
        "4 KiB GET, SSE-C, 8 clients",
        "-op get -prefix ssec -size 4096 -objects 500 -clients 8 -sse-c",
        "objects",
        "-op put -prefix ssec -size 4096 -clients 8 -times 500 -sse-c",
        ("strongroom",),
    ),
    Work(
        "4 KiB GET, 8 clients, 1 worker",
        "-op get -prefix small -size 4096 -objects 1000 -clients 8",
        "objects",
        "-op put -prefix small -size 4096 -clients 8 -times 1000",
        ("strongroom, 1 worker", "strongroom"),
    ),
    *(
        Work(
            f"{what} of {label} objects",
            f"-op {operation} -prefix list{count} -objects {count} -clients 2",
            "pages",
            f"-op put -prefix list{count} -size 1 -clients 32 -times {count}",
            ("strongroom",) + (("minio",) if count < 1_000_000 else ()) + ("versitygw",) * (count < 100_000),
            slow=count > 10_000,
        )
        for count, label in ((10_000, "10,000"), (100_000, "100,000"), (1_000_000, "1,000,000"))
        for operation, what in (("list", "pages from anywhere"), ("listdelim", "a page with delimiter"))
    ),
)
