"""The nearline worker under load: latency, throughput, kills, and what one step costs.

    python benchmarks/nearline.py --home HOME latency --rate 200 --minutes 10
    python benchmarks/nearline.py --home HOME throughput --order market --rate 2000 --minutes 5
    python benchmarks/nearline.py --home HOME kills --kills 50
    python benchmarks/nearline.py touched --items 1000 20000 --touched 1 10 100 1000 10000

HOME is a home folder whose lists are built, such as `freshet demo --users 100000 --items 20000 --home HOME` makes; the
events that are sent stay in it, except after `kills`, which puts it back. Events go through a Redis stream of their
own, which is deleted at the end. Results are written to `benchmarks/results/nearline/<scenario>.json`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from nearline_kills import kills
from nearline_load import URL
from nearline_workers import Worker, existing, rows_read, running, sending, worker_of
from run_facts import write_results

from orchestration.home import open_lake
from orchestration.settings import Settings, load_settings

RESULTS = Path(__file__).parent / "results" / "nearline"
BARS = {"p50_s": 0.7, "p95_s": 2.0, "p99_s": 4.0}
"""From the arrival of an event to the commit of the list that reflects it, at 200 events a second."""
FLAT_SHARE = 0.1
"""Memory counts as flat when the last third of a run takes at most this share more than the middle third."""


@dataclass
class Samples:
    """What was seen of a worker once a second."""

    seconds: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    backlog: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    """Load average of the machine over the last minute."""

    def take(self, worker: Worker, begun: float) -> None:
        """Ask once."""
        values = worker.metrics()
        self.seconds.append(round(time.monotonic() - begun, 1))
        self.memory_mib.append(round(worker.memory_mib(), 1))
        self.backlog.append(values.get("freshet_nearline_backlog", 0.0))
        self.load.append(round(os.getloadavg()[0], 2))


def main() -> int:
    """Run one scenario; returns 0 when what it must hold holds."""
    options = arguments().parse_args()
    begun = time.perf_counter()
    if options.scenario == "touched":
        from nearline_touched import curve, grows_with_users

        points, left_out = curve(options.items, options.touched, options.longest)
        facts: dict[str, Any] = {"curve": points, "left_out": left_out, "holds": grows_with_users(points)}
    else:
        if options.home is None:
            raise SystemExit("give a home folder whose lists are built with --home")
        settings = load_settings(home=options.home)
        facts = {"home": size(settings), **SCENARIOS[options.scenario](settings, options)}
    path = options.output or RESULTS / f"{options.scenario}{'.market' if options.order == 'market' else ''}.json"
    write_results(path, facts, begun=begun)
    print(json.dumps({name: value for name, value in facts.items() if name not in ("samples", "curve")}, indent=1))
    return 0 if facts["holds"] else 1


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--redis", default=URL, help="address of a Redis server that may be written to")
    parser.add_argument("--output", type=Path)
    parser.set_defaults(order="random")
    scenarios = parser.add_subparsers(dest="scenario", required=True)
    for name, rate, minutes in (("latency", 200.0, 10.0), ("throughput", 2000.0, 2.0)):
        scenario = scenarios.add_parser(name)
        scenario.add_argument("--rate", type=float, default=rate, help="events a second")
        scenario.add_argument("--minutes", type=float, default=minutes)
        scenario.add_argument("--order", choices=("random", "market"), default="random", help="whose events")
        scenario.add_argument("--warm-up", type=float, default=30.0, help="seconds of load before the measured time")
    kills = scenarios.add_parser("kills")
    kills.add_argument("--kills", type=int, default=50)
    kills.add_argument("--rate", type=float, default=20.0, help="events a second")
    kills.add_argument("--pause", type=float, default=4.0, help="most seconds that a worker leads until it is killed")
    kills.add_argument("--seed", type=int, default=3)
    touched = scenarios.add_parser("touched")
    touched.add_argument("--items", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    touched.add_argument("--touched", type=int, nargs="+", default=[1, 10, 100, 1_000, 10_000, 100_000])
    touched.add_argument(
        "--longest", type=float, default=math.inf, help="leaves out steps expected to take more seconds"
    )
    return parser


def latency(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from arrival to list at a rate, and memory."""
    run = under_load(settings, options)
    lags = run["arrival_to_list"]
    is_flat = run["memory"]["growth_share"] <= FLAT_SHARE
    holds = run["lost"] == 0 and is_flat and all(lags[name] <= bar for name, bar in BARS.items())
    return {**run, "bars": BARS, "is_memory_flat": is_flat, "holds": holds}


def throughput(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Whether the worker keeps up: what waits in the last third is at most two seconds of events above the middle."""
    run = under_load(settings, options)
    middle, last = thirds(run["samples"]["backlog"])
    growth = float(np.median(last) - np.median(middle))
    keeps_up = growth <= 2 * options.rate
    return {**run, "backlog_growth_rows": growth, "holds": keeps_up and run["lost"] == 0}


def under_load(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """A worker with events at a steady rate, first for the warm-up, then for the measured time."""
    stream = f"benchmark-{uuid.uuid4()}"
    with existing(stream, options.redis), running(worker_of(settings, stream, options.redis)) as worker:
        warm_up = sent_while(worker, Samples(), sending(settings, stream, options, options.warm_up, seed=1))
        worker.wait_until_read(warm_up["sent"])
        since = datetime.now(UTC).replace(tzinfo=None)
        samples = Samples()
        load = sent_while(worker, samples, sending(settings, stream, options, 60 * options.minutes, seed=2))
        worker.wait_until_read(warm_up["sent"] + load["sent"])
        seconds = samples.seconds[-1]
        batches, exit_status = worker.metrics()["freshet_nearline_batches_total"], worker.end()
        middle, last = thirds(samples.memory_mib)
        return {
            "rate": options.rate,
            "order": options.order,
            "load": load,
            "seconds_until_read": round(seconds, 1),
            "lost": warm_up["sent"] + load["sent"] - rows_read(settings, stream),
            "batches": int(batches),
            "exit_status": exit_status,
            "arrival_to_list": lags_of(settings, stream, since),
            "memory": {
                "most_mib": max(samples.memory_mib),
                "growth_share": round(float(np.median(last) / np.median(middle) - 1), 3),
            },
            "load_average": {"first": samples.load[0], "median": float(np.median(samples.load))},
            "samples": vars(samples),
        }


def lags_of(settings: Settings, stream: str, since: datetime) -> dict[str, float]:
    """Percentiles over the lists that a stream's events renewed since a moment."""
    lags = open_lake(settings).frame(
        "SELECT epoch(committed_at - arrived_at) AS seconds FROM ops.list_freshness "
        "WHERE source = ? AND arrived_at > ?",
        [f"redis:{stream}", since],
    )
    p50, p95, p99, most = np.percentile(lags["seconds"], [50, 95, 99, 100]).round(3).tolist()
    return {"lists": len(lags), "p50_s": p50, "p95_s": p95, "p99_s": p99, "max_s": most}


def sent_while(worker: Worker, samples: Samples, load: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """Sample the worker until the load has been sent; returns what was sent."""
    begun = time.monotonic()
    while load.poll() is None:
        samples.take(worker, begun)
        time.sleep(1.0)
    samples.take(worker, begun)
    if load.returncode:
        raise SystemExit("the load could not be sent; see above")
    return dict(json.loads(load.communicate()[0]))


def thirds(values: list[float]) -> tuple[list[float], list[float]]:
    """The middle and the last third."""
    third = max(1, len(values) // 3)
    return values[-2 * third : -third] or values, values[-third:]


def size(settings: Settings) -> dict[str, int]:
    """How large the home is."""
    sql = ", ".join(f"(SELECT count(*) FROM marts.{name}) AS {name}" for name in ("users", "items", "interactions"))
    return {str(name): int(count) for name, count in open_lake(settings).frame(f"SELECT {sql}").iloc[0].items()}


SCENARIOS = {"latency": latency, "throughput": throughput, "kills": kills}


if __name__ == "__main__":
    sys.exit(main())
