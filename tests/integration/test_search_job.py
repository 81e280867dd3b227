"""The job `hyperparameter_search` on a built home, as `freshet search` starts it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance

from orchestration.search import run_search

pytestmark = pytest.mark.slow


def test_the_job_searches_on_the_built_home_and_goes_on_where_it_ended(built_home: Any) -> None:
    lists = built_home.lake.fingerprint("serving.top_k")
    first = run_search(built_home.settings, trials=2, seconds=0.0, target="ease")
    assert first["trials"] == 2
    assert 0 < first["validation_ndcg_in_force"] <= first["validation_ndcg"] <= 1
    assert set(tomllib.loads(first["fragment"])["recommender"]) == {"ease"}
    assert Path(first["file"]).is_relative_to(built_home.settings.root)
    run = DagsterInstance.get().get_run_by_id(first["run_id"])
    assert run is not None
    assert run.job_name == "hyperparameter_search"
    second = run_search(built_home.settings, trials=3, seconds=0.0, target="ease")
    assert second["trials"] == 3
    assert second["validation_ndcg"] >= first["validation_ndcg"]
    assert built_home.lake.fingerprint("serving.top_k") == lists
