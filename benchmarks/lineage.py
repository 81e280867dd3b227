"""A dataset through the whole lineage by the command line, as a user would: time, memory, counts, conservation.

    python benchmarks/lineage.py --source amazon-reviews --data DIR -- --tie-order p5_position
    python benchmarks/lineage.py --source online-retail --data DIR

Runs `freshet load SOURCE DIR` and `freshet run` in a temporary home and writes
`benchmarks/results/lineage/<source>.json`. Memory is the sum of the resident sizes of all processes, sampled twice a
second.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
from run_facts import write_results

from assets.builds import last_build
from orchestration.home import open_lake
from orchestration.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "lineage"


class PeakMemory:
    """Samples the resident memory of a process and all below it."""

    def __init__(self, pid: int) -> None:
        self.gib = 0.0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop sampling."""
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.5):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                resident = sum(process.memory_info().rss for process in family)
            except psutil.NoSuchProcess:
                continue
            self.gib = max(self.gib, resident / 2**30)


def main() -> int:
    """Run the benchmark; returns 0 when every file is conserved and every user has a list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path, help="keep the home folder here instead of a temporary one")
    parser.add_argument("options", nargs="*", help="options of `freshet load SOURCE`, after --")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.home or Path(scratch)
        steps = [
            step(["load", arguments.source, str(arguments.data), *arguments.options], home),
            step(["run"], home),
        ]
        facts = {
            "source": arguments.source,
            "steps": steps,
            "lineage_seconds": round(sum(one["seconds"] for one in steps), 1),
            "lineage_peak_memory_gib": max(one["peak_memory_gib"] for one in steps),
            **outcome(home),
            "temporal_evaluation": evaluation(home),
        }
    write_results(RESULTS / f"{arguments.source}.json", facts, begun=begun)
    print(json.dumps(facts, indent=1, sort_keys=True))
    return 0 if facts["is_conserved"] and facts["users"] == facts["users_with_lists"] else 1


def step(words: list[str], home: Path) -> dict[str, Any]:
    """Run one command of `freshet` to its end, with its time and memory."""
    environment = {**os.environ, "FRESHET_HOME": str(home)}
    started = time.monotonic()
    process = subprocess.Popen([str(Path(sys.executable).with_name("freshet")), *words], env=environment)
    memory = PeakMemory(process.pid)
    code = process.wait()
    memory.end()
    if code:
        raise SystemExit(f"`freshet {' '.join(words)}` ended with {code}")
    seconds = round(time.monotonic() - started, 1)
    return {"command": f"freshet {words[0]}", "seconds": seconds, "peak_memory_gib": round(memory.gib, 2)}


def evaluation(home: Path) -> dict[str, Any]:
    """What the lineage's own report says on the global temporal split: each model alone and what is served."""
    said = subprocess.run(
        [str(Path(sys.executable).with_name("freshet")), "evaluate", "--json"],
        env={**os.environ, "FRESHET_HOME": str(home)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    report = json.loads(said)

    def headline(result: dict[str, Any]) -> dict[str, Any]:
        return {"users": result["users"], **{name: result["metrics"][name] for name in ("recall@10", "ndcg@10")}}

    return {
        "models": {name: headline(result) for name, result in report["results"].items()},
        "encoder_stages": {name: headline(result) for name, result in report["stages"].items()},
        "decision": report["decision"],
    }


def outcome(home: Path) -> dict[str, Any]:
    """What the lake holds at the end."""
    lake = open_lake(load_settings(home=home))
    files = lake.frame(
        "SELECT kind, sum(rows_in) AS rows_in, sum(rows_accepted) AS rows_accepted, "
        "sum(rows_quarantined) AS rows_quarantined, sum(rows_duplicate) AS rows_duplicate "
        "FROM ops.files GROUP BY kind ORDER BY kind"
    )
    parts = files["rows_accepted"] + files["rows_quarantined"] + files["rows_duplicate"]
    rules = lake.frame("SELECT kind, rule, count(*) AS n FROM quarantine.rows GROUP BY kind, rule ORDER BY n DESC")
    counts = lake.frame(
        "SELECT (SELECT count(*) FROM marts.users) AS users, (SELECT count(*) FROM marts.items) AS items, "
        "(SELECT count(*) FROM marts.interactions) AS interactions, "
        "(SELECT count(DISTINCT user_id) FROM serving.top_k) AS users_with_lists"
    ).iloc[0]
    builds = lake.frame("SELECT asset FROM ops.builds")["asset"]
    records = {asset: last_build(lake, asset) for asset in builds}
    return {
        "files": files.astype(object).to_dict("records"),
        "is_conserved": bool((files["rows_in"] == parts).all()),
        "quarantine": rules.astype(object).to_dict("records"),
        **{str(name): int(value) for name, value in counts.items()},
        "build_seconds": {asset: round(record.seconds, 1) for asset, record in records.items() if record},
    }


if __name__ == "__main__":
    sys.exit(main())
