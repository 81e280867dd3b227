"""Kill a refresh with SIGKILL at random moments, run it again, and compare all tables with an undisturbed run.

    python benchmarks/crash.py --kills 10 --seed 3

Both runs start from the same landing files. Compared are the content hashes of every table (without the columns that
say when a row was written), the model files by content version, the registered model versions, and what is left lying
about: temporary files, running MLflow runs, data files that no snapshot knows.
"""

import argparse
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

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
class CrashResult:
    """What the benchmark found."""

    kills: list[float] = field(default_factory=list)
    """Seconds after the start at which each run was killed."""
    finished_early: int = 0
    """Runs that had ended before their kill."""
    different_tables: list[str] = field(default_factory=list)
    stray_files: list[str] = field(default_factory=list)
    open_runs: int = 0
    registered: dict[str, list[str]] = field(default_factory=dict)
    is_registered_equally: bool = False
    seconds_undisturbed: float = 0.0
    seconds_last_rerun: float = 0.0


def main() -> int:
    """Run the benchmark; returns 0 when the killed home ends like the undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--users", type=int, default=150)
    parser.add_argument("--items", type=int, default=150)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--domain", default="", help="domain TOML with small budgets; default: the shop's")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = compare(Path(folder), options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    facts = {"machine": machine(), "command": " ".join(["python", *sys.argv]), **asdict(result)}
    options.output.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))
    is_clean = not (result.different_tables or result.stray_files or result.open_runs)
    return 0 if is_clean and result.is_registered_equally else 1


def compare(folder: Path, options: argparse.Namespace) -> CrashResult:
    """Make both homes, kill one of them again and again, and compare."""
    result = CrashResult()
    calm, killed = (prepare(folder / name, options) for name in ("calm", "killed"))
    started = time.monotonic()
    if start(calm).wait():
        raise SystemExit("the undisturbed run failed; see its output above")
    result.seconds_undisturbed = time.monotonic() - started
    moments = random.Random(options.seed)
    for _ in range(options.kills):
        process = start(killed)
        delay = moments.uniform(0.5, result.seconds_undisturbed)
        try:
            process.wait(timeout=delay)
            result.finished_early += 1
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        result.kills.append(round(delay, 1))
    started = time.monotonic()
    if start(killed).wait():
        raise SystemExit("the rerun after the kills failed; see its output above")
    result.seconds_last_rerun = time.monotonic() - started
    expected, found = tables(calm), tables(killed)
    result.different_tables = sorted(name for name in expected if expected[name] != found[name])
    result.stray_files = strays(killed)
    result.registered = registered(killed)
    result.is_registered_equally = registered(calm) == result.registered
    result.open_runs = open_runs(killed)
    return result


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
    command = [str(Path(sys.executable).with_name("freshet")), "run"]
    return subprocess.Popen(command, env=environment, start_new_session=True)


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


def machine() -> dict[str, Any]:
    """The machine in words."""
    return {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
