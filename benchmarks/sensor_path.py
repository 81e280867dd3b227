"""Seconds from a file landing to the committed list of its user, where no worker runs: the sensor path at its defaults.

Only Dagster's daemon runs, with the slim code location. Files with one event of a new user each land at random moments;
what is measured is what `ops.list_freshness` says of them.

    python benchmarks/sensor_path.py --home HOME
"""

import argparse
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from run_facts import write_results

from assets.lake import Lake
from orchestration.commands.child_processes import ChildProcesses, Service
from orchestration.home import open_lake, prepare_home
from orchestration.settings import Settings, load_settings

RESULTS = Path(__file__).parent / "results" / "nearline"
MODULE = "orchestration.nearline_definitions"
_MEASURED = """
SELECT user_id, epoch(committed_at - arrived_at) AS seconds FROM ops.list_freshness
WHERE source = 'landing' AND arrived_at >= ? ORDER BY arrived_at
"""


def main() -> None:
    """Land files while the daemon runs, print the percentiles and write them."""
    arguments, begun = parse(), time.perf_counter()
    settings = load_settings(home=arguments.home)
    prepare_home(settings)
    lake = open_lake(settings)
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", MODULE]
    environment = {**os.environ, "FRESHET_HOME": str(settings.root), "DAGSTER_HOME": str(settings.dagster_home)}
    with tempfile.TemporaryDirectory() as logs, ChildProcesses(Path(logs), environment) as children:
        children.start(Service("dagster-daemon", command, "", ""))
        time.sleep(arguments.warm_up)
        children.check()
        since = datetime.now(UTC).replace(tzinfo=None)
        land(settings, lake, arguments.files, arguments.longest_gap, arguments.seed)
        seconds = measured(lake, since, arguments.files, arguments.patience)
    facts = summary(seconds, settings) | {"files": arguments.files, "longest_gap_s": arguments.longest_gap}
    print(facts)
    write_results(RESULTS / "sensor_path.json", facts, begun=begun)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="a home folder that is built; it gets the events")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument(
        "--longest-gap", type=float, default=60.0, help="seconds between two files are drawn up to this"
    )
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds that the daemon has to start")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds to wait for the last list")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def land(settings: Settings, lake: Lake, files: int, longest_gap: float, seed: int) -> None:
    """Land files of one event each, whole at once, with random pauses between them."""
    rng = np.random.default_rng(seed)
    items = lake.frame("SELECT item_id FROM marts.items ORDER BY item_id LIMIT 1000")["item_id"].tolist()
    kind = min(lake.frame("SELECT event_type FROM raw.event_types WHERE weight > 0")["event_type"])
    for number in range(files):
        time.sleep(float(rng.uniform(0, longest_gap)))
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        file = settings.landing_path / "events" / f"sensor-path-{time.time_ns()}.csv"
        unfinished = file.with_name(f".{file.name}")
        row = f"sensor-path-{number}-{time.time_ns()},{rng.choice(items)},{kind},{at},1"
        unfinished.write_text(f"user_id,item_id,event_type,event_at,value\n{row}\n")
        unfinished.replace(file)


def measured(lake: Lake, since: datetime, files: int, patience_s: float) -> list[float]:
    """Seconds of each list, once all are there.

    Raises:
        TimeoutError: some are missing after the last pause and `patience_s`.
    """
    deadline = time.monotonic() + patience_s
    while True:
        found = lake.frame(_MEASURED, [since])
        if found["user_id"].nunique() >= files:
            return found.groupby("user_id")["seconds"].min().tolist()
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"{found['user_id'].nunique()} of {files} lists are there; see the runs in the Dagster UI"
            )
        time.sleep(1)


def summary(seconds: list[float], settings: Settings) -> dict[str, Any]:
    """Percentiles, and the settings that bound them."""
    p50, p95, p99 = np.percentile(np.array(seconds), [50, 95, 99])
    return {
        "arrival_to_list_s": {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "p99": round(float(p99), 2)},
        "worst_s": round(max(seconds), 2),
        "seconds": [round(one, 2) for one in seconds],
        "load_average": [round(one, 1) for one in os.getloadavg()],
        "settle_seconds": settings.settle_seconds,
        "linger_s": settings.nearline_linger_s,
    }


if __name__ == "__main__":
    main()
