"""Workers that are killed while events come, and whether the tables end as those of workers that are not."""

import argparse
import json
import random
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nearline_load import Kind, kinds_of
from nearline_workers import Worker, existing, sending, tables, worker_of

from orchestration.home import open_lake
from orchestration.settings import Settings

_LONGEST_LOAD_S = 24 * 3600.0
"""Of a load that is ended by a signal."""
_PATIENCE_S = 300.0
"""Within which one of the workers must lead."""


def kills(settings: Settings, options: argparse.Namespace) -> dict[str, Any]:
    """Kill the leader with SIGKILL at random moments while another worker stands by; compare with a calm run."""
    pristine = settings.root.with_name(f"{settings.root.name}-pristine")
    shutil.copytree(settings.root, pristine)
    stream = f"benchmark-{uuid.uuid4()}"
    try:
        found, said = killed_run(settings, options, stream)
        begin_again(settings, pristine)
        calm = calm_run(settings, options, stream, said["sent"])
    finally:
        begin_again(settings, pristine)
        shutil.rmtree(pristine)
    different = sorted(name for name in calm if calm[name] != found[name])
    is_whole = said["lost"] == said["duplicated"] == said["refused_wrongly"] == 0
    holds = not different and is_whole and said["kills"] == options.kills
    return {**said, "different_tables": different, "hashes": found, "holds": holds}


def killed_run(settings: Settings, options: argparse.Namespace, stream: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Two workers, killed in turn while events come; returns the tables at the end, and what was counted."""
    moments, leads = random.Random(options.seed), []
    with existing(stream, options.redis), two_workers(settings, options, stream) as workers:
        _leader(workers)
        load = sending(settings, stream, options, _LONGEST_LOAD_S, seed=options.seed, fixed=True)
        try:
            for _ in range(options.kills):
                begun = time.monotonic()
                leader = _leader(workers)
                leads.append(time.monotonic() - begun)
                time.sleep(moments.uniform(0, options.pause))
                leader.end(signal.SIGKILL)
                leader.start()
        finally:
            load.send_signal(signal.SIGTERM)
        sent = json.loads(load.communicate()[0])["sent"]
        _leader(workers).wait_until_read(sent)
    said = {"sent": sent, "kills": len(leads), **_taken_in(settings, stream, kinds_of(sent))}
    takeovers = np.percentile(np.array(leads[1:] or [0.0]), [50, 100]).round(1).tolist()
    said["takeover_s"] = dict(zip(("p50", "max"), takeovers, strict=True))
    return tables(settings, stream), said


def _taken_in(settings: Settings, stream: str, kinds: Counter[Kind]) -> dict[str, Any]:
    """What the lake has of the events that were sent, beside what it should have."""
    source = [f"redis:{stream}"]
    lake = open_lake(settings)
    sql = "SELECT count(*) AS n, count(DISTINCT event_id) AS ids FROM raw.events WHERE source_file = ?"
    rows, ids = (int(value) for value in lake.frame(sql, source).iloc[0])
    refused = int(lake.frame("SELECT count(*) AS n FROM quarantine.rows WHERE source_file = ?", source)["n"].item())
    return {
        "kinds": dict(kinds),
        "lost": kinds["new"] + kinds["late"] - ids,
        "duplicated": rows - ids,
        "refused_wrongly": refused - kinds["bad"],
    }


def calm_run(settings: Settings, options: argparse.Namespace, stream: str, events: int) -> dict[str, str]:
    """The same events to the same workers, ten times as fast and undisturbed; returns the tables at the end."""
    options = argparse.Namespace(**{**vars(options), "rate": 10 * options.rate})
    with existing(stream, options.redis), two_workers(settings, options, stream) as workers:
        load = sending(settings, stream, options, events / options.rate, seed=options.seed, fixed=True)
        assert json.loads(load.communicate()[0])["sent"] == events
        _leader(workers).wait_until_read(events)
    return tables(settings, stream)


@contextmanager
def two_workers(settings: Settings, options: argparse.Namespace, stream: str) -> Iterator[list[Worker]]:
    """One leads and the other stands by; both end with the block."""
    workers = [worker_of(settings, stream, options.redis, number) for number in range(2)]
    try:
        for worker in workers:
            worker.start()
        yield workers
    finally:
        for worker in workers:
            if worker.process is not None and worker.process.poll() is None:
                worker.end()


def begin_again(settings: Settings, pristine: Path) -> None:
    """Put a home back; DuckLake knows its data by an absolute path, so always to the same place."""
    shutil.rmtree(settings.root)
    shutil.copytree(pristine, settings.root)


def _leader(workers: list[Worker]) -> Worker:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        for worker in workers:
            if worker.health().get("leads"):
                return worker
        workers[0].check(deadline)
        time.sleep(0.1)
