"""Kill refreshes with SIGKILL at random moments, run them again, and compare all tables with an undisturbed run.

    python benchmarks/crash.py --kills 10 --seed 3

Every home starts from the same landing files. The n-th is killed once, at a random moment in the n-th part of the time
that the undisturbed refresh took, so that the kills are spread over all its stages; then it is refreshed again.
Compared are the content hashes of every table (without the columns that say when a row was written), the model files by
content version, the registered model versions, and what is left lying about: temporary files, running MLflow runs, data
files that no snapshot knows.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from run_facts import write_results

from assets.lake import BOOKKEEPING
from assets.sources.demo.config import DemoConfig
from assets.sources.demo.generate import generate
from orchestration.home import open_lake
from orchestration.settings import Settings, load_settings, write_home_file

RESULT = Path(__file__).parent / "results" / "crash.json"
# Ids of snapshots count commits, and a killed run may have made some before it died.
EXCLUDED = (*BOOKKEEPING, "snapshot", "input_snapshot", "index_version", "version", "fingerprint")
MARTS = ("marts.interactions", "marts.sessions", "marts.item_daily_stats", "marts.items", "marts.users")
SCRATCH = ("*.tmp", "*.part", ".staging/*-*-*", "staging/*-*-*")


@dataclass
class Kill:
    """One home that was killed and refreshed again."""

    seconds: float
    """After the start of the refresh."""
    was_running: bool
    """False where the refresh had ended before its kill."""
    seconds_rerun: float
    different_tables: list[str]
    stray_files: list[str]
    open_runs: int
    is_registered_equally: bool

    @property
    def is_clean(self) -> bool:
        """Whether the home ended like the undisturbed one."""
        is_tidy = not (self.different_tables or self.stray_files or self.open_runs)
        return is_tidy and self.is_registered_equally


def main() -> int:
    """Run the benchmark; returns 0 when all homes end like the undisturbed one and every kill hit a running refresh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--items", type=int, default=150)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--domain", default="", help="domain TOML with small budgets; default: the shop's")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        calm = prepare(Path(folder) / "calm", options)
        seconds = refresh(calm)
        expected, versions = tables(calm), registered(calm)
        moments = random.Random(options.seed)
        kills = []
        for number in range(options.kills):
            moment = seconds * (number + moments.random()) / options.kills
            killed = prepare(Path(folder) / f"killed-{number}", options)
            kills.append(kill(killed, moment, expected, versions))
            print(f"killed after {moment:.1f} s: {'clean' if kills[-1].is_clean else kills[-1]}", flush=True)
    facts = {
        "tables": len(expected),
        "seconds_undisturbed": round(seconds, 1),
        "kills": [asdict(one) for one in kills],
    }
    write_results(options.output, facts, begun=begun)
    return 0 if all(one.is_clean and one.was_running for one in kills) else 1


def kill(settings: Settings, moment: float, expected: dict[str, str], versions: dict[str, list[str]]) -> Kill:
    """Kill one refresh after `moment` seconds, refresh again, and compare."""
    process = start(settings)
    was_running = False
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        was_running = True
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    seconds = refresh(settings)
    found = tables(settings)
    return Kill(
        seconds=round(moment, 1),
        was_running=was_running,
        seconds_rerun=round(seconds, 1),
        different_tables=sorted(name for name in expected if expected[name] != found.get(name)),
        stray_files=strays(settings),
        open_runs=open_runs(settings),
        is_registered_equally=registered(settings) == versions,
    )


def refresh(settings: Settings) -> float:
    """Refresh a home to its end; returns the seconds it took."""
    started = time.monotonic()
    if start(settings).wait():
        raise SystemExit(f"a refresh of {settings.root.name} failed; see its output above")
    return time.monotonic() - started


def prepare(home: Path, options: argparse.Namespace) -> Settings:
    """A home folder with a small market landed."""
    config = DemoConfig(users=options.users, items=options.items, days=options.days)
    last = date.fromordinal(config.first_day.toordinal() + options.days - 1)
    write_home_file(home, {"domain": options.domain or "shop", "first_day": config.first_day, "last_day": last})
    settings = load_settings(home=home)
    generate(settings.landing_path, config)
    return settings


def start(settings: Settings) -> "subprocess.Popen[bytes]":
    """Start a refresh in its own process group."""
    environment = {**os.environ, "FRESHET_HOME": str(settings.root), "FRESHET_SETTLE_SECONDS": "0"}
    words = [str(Path(sys.executable).with_name("freshet")), "run"]
    return subprocess.Popen(words, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)


def tables(settings: Settings) -> dict[str, str]:
    """Content hash of every table that holds results."""
    lake = open_lake(settings)
    names = lake.frame(
        "SELECT table_schema || '.' || table_name AS name FROM information_schema.tables "
        "WHERE table_catalog = 'lake' AND table_schema NOT LIKE '%staging%' AND table_type = 'BASE TABLE'"
    )["name"]
    return {name: lake.fingerprint(name, exclude=EXCLUDED) for name in sorted({*names, *MARTS})}


def strays(settings: Settings) -> list[str]:
    """Files that nobody knows any more."""
    found = [str(path.relative_to(settings.root)) for sign in SCRATCH for path in settings.root.rglob(sign)]
    return sorted(found) + [f"orphan data file {n}" for n in range(open_lake(settings).remove_orphans())]


def registered(settings: Settings) -> dict[str, list[str]]:
    """Content versions of the registered models, in order."""
    from models.registry import Registry

    registry = Registry(settings.tracking_uri, settings.mlflow_artifacts)
    names = [model.name for model in registry.client.search_registered_models()]
    return {name: sorted({version.content_version for version in registry.list_versions(name)}) for name in names}


def open_runs(settings: Settings) -> int:
    """MLflow runs that claim to be running."""
    from models.registry import Registry

    client = Registry(settings.tracking_uri, settings.mlflow_artifacts).client
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return len(client.search_runs(experiments, "attributes.status = 'RUNNING'"))


if __name__ == "__main__":
    sys.exit(main())
