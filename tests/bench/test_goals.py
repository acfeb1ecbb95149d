"""Whether a run's figures meet the goals, and what the report says of it."""

from __future__ import annotations

from bench import floors
from bench.fresh import Fresh
from bench.goals import Goal, goals
from bench.measure import Measured, Sample
from bench.peers import PEERS
from bench.report import Run, Server, markdown
from bench.work import RANGES, WORK, first_pages, large, small, through_gateway

MIB = 1024**2


def measured(name: str, **rates: float | list[float]) -> Measured:
    """Work whose peers reached so much in each round; names with their blanks as underscores."""
    [work] = [work for work in WORK if work.name == name]
    samples = {
        peer.replace("__", ", ").replace("_", " "): [
            Sample(rate, 0.0005, 1.0, 2.0, 0.00005) for rate in (rounds if isinstance(rounds, list) else [rounds])
        ]
        for peer, rounds in rates.items()
    }
    return Measured(work, samples)


def goal(text: str, results: list[Measured], memory: dict[str, int] | None = None) -> list[Goal]:
    return [found for found in goals(results, memory or {}) if found.text == text]


def everything() -> list[Measured]:
    """All work that there is, each peer as fast as the others."""
    return [
        Measured(work, {name: [Sample(100.0, 0.01, 1.0, 2.0)] for name in (*work.peers, *work.slow, *work.floors)})
        for work in WORK
    ]


def test_a_run_of_all_work_has_figures_for_every_goal() -> None:
    found = goals(everything(), {"strongroom": MIB})
    assert found and [goal.text for goal in found if not goal.figures] == []


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {found.met for found in goals([], {})} == {None}


def test_a_goal_is_met_when_all_its_figures_are() -> None:
    results = [measured(small("put", 1), strongroom=2500, minio=1000)]
    minio, versitygw, _ = goal("4 KiB PUT, by clients", results)
    assert minio.met
    assert minio.figures == {"1": 2.5}
    assert versitygw.met is None
    results.append(measured(small("put", 64), strongroom=2499, minio=1000))
    assert goal("4 KiB PUT, by clients", results)[0].met is False


def test_ratios_are_of_the_same_rounds() -> None:
    [found] = goal("ranged GETs", [measured(RANGES, strongroom=[10, 300, 50], minio=[5, 100, 50])])
    assert found.figures == {"64 KiB of 1 GiB": 2.0}


def test_large_uploads_are_compared_with_copies_that_are_hashed_and_synced() -> None:
    put = measured(large("put"), **{"strongroom": 400, "strongroom --no-compat": 700})
    put.samples |= {floors.MD5_AND_COPY: [Sample(500, 0, 0, 0)], floors.COPY: [Sample(1000, 0, 0, 0)]}
    assert goal("64 MiB PUT, of what MD5 and the disk allow", [put])[0].figures == {"": 0.8}
    assert goal("64 MiB PUT with --no-compat, of a plain copy", [put])[0].met is False


def test_listings_are_flat_when_more_objects_make_them_no_slower() -> None:
    rates = {10_000: 100, 100_000: 90, 1_000_000: 79}
    results = [measured(first_pages(count), strongroom=rate) for count, rate in rates.items()]
    [found] = goal("listing just after a start, flat", results)
    assert found.figures == {"100,000": 0.9, "1,000,000": 0.79}
    assert found.met is False
    assert goal("listing just after a start, flat", results[:2])[0].met


def test_encryption_may_cost_ten_percent_of_any_work() -> None:
    results = [
        measured(small("get", 8), strongroom=95, strongroom__plain=100),
        measured(RANGES, strongroom=85, strongroom__plain=100),
    ]
    [found] = goal("encryption costs less than 10 %", results)
    assert found.met is False
    assert {name for name, figure in found.figures.items() if not found.holds(figure)} == {RANGES}


def test_a_core_of_the_gateway_is_what_its_processor_time_allows() -> None:
    name = through_gateway("get", 64)
    results = [measured(name, strongroom_gateway_s3__1_worker=1000, minio__plain=2500)]
    assert goal("4 KiB GET through the S3 gateway, 1 worker, by clients", results)[0].figures == {"64": 0.4}
    assert goal("4 KiB GET through the S3 gateway, a core, by clients", results)[0].figures == {"64": 0.8}


def test_memory_is_of_strongrooms_processes() -> None:
    memory = {"strongroom": 100 * MIB, "strongroom --no-compat": 299 * MIB, "minio": 900 * MIB}
    assert goal("memory of a worker", [], memory)[0].met
    assert goal("memory of a worker", [], memory | {"strongroom": 300 * MIB})[0].met is False


def report(results: list[Measured]) -> str:
    servers = [Server("strongroom", "synced", 100 * MIB), Server("minio", "synced", 500 * MIB)]
    fresh = Fresh("minio", 5, first=[0.5], again=[0.1], heads=[10.0], direct=[9.0])
    return markdown(Run(results, servers, [fresh], ["4 KiB HEAD: a server was gone"], 2.0, "make bench"))


def test_the_report_begins_with_the_goals() -> None:
    text = report([measured(small("get", 64), strongroom=[3000, 2000, 1000], minio=[1000, 1000, 1000])])
    assert "| 4 KiB GET, by clients | rate / MinIO's | at least 2.5 | 64: 2.00 | **no** |" in text
    assert "| memory of a worker | largest resident set of a process at any time, MiB | under 300 MiB |" in text
    assert (
        text.index("4 KiB HEAD: a server was gone")
        < text.index("## Goals")
        < text.index("## Servers")
        < text.index("## Work")
    )


def test_the_report_says_what_the_load_generator_took() -> None:
    text = report([measured(small("get", 64), strongroom=[3000, 2000, 1000], minio=[1000, 1000, 1000])])
    assert "| strongroom | 2,000 objects | 1,000 – 3,000 |  | 1.00, 2.00 | 500 µs each | 50 µs each |" in text
    assert "|  | minio | 1,000 objects | 1,000 – 1,000 | 2.00 x |" in text
    assert "| minio | 5 ms | 0.500 | 0.100 | 10.00 | 20.0 | 9.00 |" in text


def test_floors_are_compared_only_with_a_server() -> None:
    [in_memory] = [work for work in WORK if work.name == "in memory, all cores"]
    text = report([Measured(in_memory, {name: [Sample(100.0, 1.0, 0.0, 0.0)] for name in in_memory.floors})])
    assert "|  | SHA-256 | 100 MB | 100 – 100 |  |" in text


def test_the_report_names_what_fails_where_figures_are_many() -> None:
    names = [small("get", count) for count in (1, 8, 64)] + [small("put", count) for count in (1, 8, 64)]
    results = [measured(name, strongroom=99 if name != names[1] else 50, strongroom__plain=100) for name in names]
    assert f"| at least 0.9 | {names[1]}: 0.50; the other 5 more | **no** |" in report(results)


def test_work_is_done_by_servers_and_floors_that_there_are() -> None:
    assert {name for work in WORK for name in (*work.peers, *work.slow)} == set(PEERS)
    assert {name for work in WORK for name in work.floors} == set(floors.FLOORS)


def test_work_has_names_of_its_own() -> None:
    assert len({work.name for work in WORK}) == len(WORK)
