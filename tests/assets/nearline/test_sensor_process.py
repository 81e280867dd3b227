"""The sensor path with Dagster's own daemon: a file that lands is in its user's list, and nothing else was started."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from orchestration.commands.child_processes import ChildProcesses, Service

ROWS = [f"u07,i{item:02d},purchase,2026-01-04T09:00:00Z,1" for item in (0, 1)]
PATIENCE_S = 400


@pytest.mark.slow
def test_a_file_reaches_the_list_of_its_user_by_the_daemon_alone(market: Any, tmp_path: Path) -> None:
    settings = market.settings
    own = {
        "FRESHET_HOME": str(settings.root),
        "DAGSTER_HOME": str(settings.dagster_home),
        "FRESHET_SETTLE_SECONDS": "0",
    }
    environment = {**os.environ, **own, "FRESHET_NEARLINE_LINGER_S": "0"}
    program = str(Path(sys.executable).with_name("dagster-daemon"))
    with ChildProcesses(tmp_path, environment) as children:
        children.start(Service("daemon", [program, "run", "-m", "orchestration.nearline_definitions"], "", ""))
        market.land("a.csv", ROWS)
        deadline = time.monotonic() + PATIENCE_S
        while not (rows := market.lake.frame("FROM ops.list_freshness")).shape[0]:
            children.check()
            assert time.monotonic() < deadline, (tmp_path / "daemon.log").read_text()[-5_000:]
            time.sleep(0.5)
    assert rows["source"].tolist() == ["landing"]
    assert not market.item_ids("u07") & {"i00", "i01"}
    assert market.lake.frame("SELECT count(*) AS n FROM raw.events")["n"].tolist() == [122]
