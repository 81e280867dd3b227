"""How fast single lists are read while others are being written: the mirror, with reads at a fixed rate.

    python benchmarks/online_reads.py --users 100000 --rate 2000 --seconds 60
    python benchmarks/online_reads.py --mirror redis://127.0.0.1:6379/9

A lake gets lists of `--items` items for all users, and the mirror is filled from it. Then one process upserts
`--upsert` lists in the lake, brings the mirror up to it, and begins again, while this process reads random users
through `ListReader`, as a service does. A read is due at a fixed time whether or not the one before has ended, and its
latency counts from then, so a pause shows in all the reads that it delays. Written: percentiles, the share that the
mirror answered, and what the upserts did meanwhile.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import psutil
from run_facts import write_results

from assets.lake import Lake
from assets.list_reader import ListReader
from assets.mirrors.contract import ListMirror
from assets.mirrors.filling import catch_up
from assets.mirrors.opening import open_mirror
from assets.warm_lake import warmed

RESULTS = Path(__file__).parent / "results" / "nearline"
BAR_MS = 2.0
_WARM_UP = 2_000

_INSERT = """
INSERT INTO serving.top_k
SELECT 'home', md5(u::VARCHAR), list_transform(range($items), lambda i: {
    'item_id': 'item-' || ((u * 7 + i * 13 + $turn) % 20000), 'score': 1.0 / (i + 1), 'source': 'sequence',
    'reason': 'because you chose item ' || ((u * 3 + i) % 20000),
    'contributions': list_transform(range(4), lambda j: {'term': 'sequence_' || j, 'amount': 0.25 / (i + 1)}),
    'propensity': 1.0}), 'model', 'index', 1, $now, $expires, $lane, $now
FROM range($begin, $end) AS t(u)
"""


def main() -> int:
    """Run the benchmark; returns 0 when the bar is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--rate", type=int, default=2_000, help="reads a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--upsert", type=int, default=100, help="lists of one upsert")
    parser.add_argument("--threads", type=int, default=1, help="threads of the service that reads")
    parser.add_argument("--nice", type=int, default=0, help="priority of the upserts, as of nice(1)")
    parser.add_argument("--mirror", default="lmdb", help="lmdb or redis://…")
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lake = lake_in(folder)
        lake.create_tables()
        write_lists(lake, 0, options.users, options.items, lane="batch")
        filling = fill(lake, folder, options.mirror)
        try:
            facts = measured(folder, options)
        finally:
            clear(folder, options.mirror)
    kind = "lmdb" if options.mirror == "lmdb" else "redis"
    facts |= {"mirror": kind, "seconds_to_fill": filling, "bar_p99_ms": BAR_MS, "load_average": psutil.getloadavg()[0]}
    facts |= {name: getattr(options, name) for name in ("users", "items", "rate", "upsert", "threads", "nice")}
    facts["is_met"] = facts["read_ms"]["p99"] <= BAR_MS
    write_results(RESULTS / f"online_reads.{kind}.json", facts, begun=begun)
    print(facts)
    return 0 if facts["is_met"] else 1


def lake_in(folder: Path) -> Lake:
    """The lake of a folder."""
    return Lake(f"sqlite:{folder / 'lake' / 'catalogue.sqlite'}", folder / "lake" / "data", folder / "lake" / "lock")


def mirror_in(folder: Path, kind: str) -> ListMirror:
    """The mirror of the lake in a folder."""
    mirror = open_mirror(kind, lake_in(folder), folder=folder / "mirror", budget_bytes=2**30)
    assert mirror is not None
    return mirror


def utc_now() -> datetime:
    """The clock: UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


def write_lists(lake: Lake, begin: int, end: int, items: int, *, lane: str, turn: int = 0) -> None:
    """Give users `begin` to `end` new lists, in one transaction."""
    now = utc_now()
    values = {"items": items, "turn": turn, "lane": lane, "now": now, "expires": now + timedelta(hours=48)}

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        old = "DELETE FROM serving.top_k WHERE user_id IN (SELECT md5(u::VARCHAR) FROM range(?, ?) AS t(u))"
        connection.execute(old, [begin, end])
        connection.execute(_INSERT, {**values, "begin": begin, "end": end})

    lake.write(work, message=f"{end - begin} lists")


def fill(lake: Lake, folder: Path, kind: str) -> float:
    """Fill the mirror; returns the seconds."""
    begun = time.perf_counter()
    mirror = mirror_in(folder, kind)
    catch_up(lake, mirror, now=utc_now())
    mirror.close()
    return round(time.perf_counter() - begun, 2)


def clear(folder: Path, kind: str) -> None:
    """Leave nothing in a store that others use."""
    mirror = mirror_in(folder, kind)
    mirror.mark(None)
    mirror.remove_others(0)
    mirror.close()


def upsert(folder: Path, kind: str, users: int, items: int, count: int, nice: int, stop: Event, told: Any) -> None:
    """Upsert lists and bring the mirror up to them until told to stop; tells how many, and the seconds of each."""
    os.nice(nice)
    # As the nearline worker opens it.
    lake, mirror = warmed(lake_in(folder)), mirror_in(folder, kind)
    draws = random.Random(1)
    written: list[float] = []
    filled: list[float] = []
    told.put("ready")
    while not stop.is_set():
        begin = draws.randrange(max(users - count, 1))
        started = time.perf_counter()
        write_lists(lake, begin, begin + count, items, lane="nearline", turn=len(written) + 1)
        committed = time.perf_counter()
        catch_up(lake, mirror, now=utc_now())
        written.append(committed - started)
        filled.append(time.perf_counter() - committed)
    mirror.close()
    told.put((written, filled))


def measured(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Read at the rate while another process upserts."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    words = (folder, options.mirror, options.users, options.items, options.upsert, options.nice, stop, told)
    writer = context.Process(target=upsert, args=words)
    writer.start()
    assert told.get(timeout=120) == "ready"
    with ListReader(lake_in(folder), mirror_in(folder, options.mirror), surface="home", clock=utc_now) as reader:
        latencies, services, origins = read(reader, options)
    stop.set()
    written, filled = told.get(timeout=300)
    writer.join()
    return {
        "reads": len(latencies),
        "read_ms": percentiles(latencies * 1_000),
        "read_ms_from_its_start": percentiles(services * 1_000),
        "share_from_mirror": round(float(np.mean(origins)), 6),
        "upserts": len(written),
        "upsert_seconds": percentiles(np.array(written)),
        "commit_to_mirror_seconds": percentiles(np.array(filled)),
    }


def read(reader: ListReader, options: argparse.Namespace) -> tuple[Any, Any, list[bool]]:
    """Latencies from when each read was due, and from its start, in seconds; and whether the mirror answered."""
    draws = random.Random(2)
    count = int(options.rate * options.seconds) + _WARM_UP
    users = [hashlib.md5(str(draws.randrange(options.users)).encode()).hexdigest() for _ in range(count)]
    latencies, services, origins = np.zeros(count), np.zeros(count), [False] * count
    begun = time.perf_counter() + 0.1
    # One that waits alone does it awake at the end, since a sleep ends late and would count as a slow read.
    awake = 0.001 if options.threads == 1 else 0.0

    def take_turns(first: int) -> None:
        for number in range(first, count, options.threads):
            due = begun + number / options.rate
            while (early := due - time.perf_counter()) > 0:
                if early > awake:
                    time.sleep(early - awake)
            started = time.perf_counter()
            found = reader.read(users[number])
            ended = time.perf_counter()
            latencies[number], services[number] = ended - due, ended - started
            origins[number] = found is not None and found.origin == "mirror"

    threads = [threading.Thread(target=take_turns, args=(first,)) for first in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies[_WARM_UP:], services[_WARM_UP:], origins[_WARM_UP:]


def percentiles(values: Any) -> dict[str, float]:
    """Median, 95th, 99th percentile and largest."""
    found = np.percentile(values, [50, 95, 99, 100])
    return {name: round(float(value), 4) for name, value in zip(("p50", "p95", "p99", "max"), found, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
