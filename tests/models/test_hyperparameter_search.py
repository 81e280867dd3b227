"""The search on functions whose best point is known, and after a kill."""

import math
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from filelock import FileLock

from models.errors import ConfigurationError, DataError, LakeLockedError
from models.hyperparameter_search import SearchBudget, SearchResult, search
from models.search_space import Dimension, Value

SPACE = {
    "ease.regularization": Dimension(1.0, 1000.0, is_log=True),
    "als.epochs": Dimension(1, 9, is_integer=True),
    "sequence.norm": Dimension(choices=("pre", "post")),
}
START = {"ease.regularization": 700.0, "als.epochs": 9, "sequence.norm": "post"}


def planted(number: int, settings: Mapping[str, Value]) -> float:
    """Highest, 1, at a regularization of 30, 4 epochs and pre-norm."""
    distance = abs(math.log10(float(settings["ease.regularization"]) / 30)) + abs(int(settings["als.epochs"]) - 4) / 8
    return 1 - distance / 4 - (settings["sequence.norm"] != "pre") / 4


def run(folder: Path, trials: int, objective=planted, **options: object) -> SearchResult:
    return search(objective, SPACE, START, SearchBudget(trials, **options), storage=folder / "s.journal", seed=5)


def test_the_planted_optimum_is_found(tmp_path: Path) -> None:
    best = run(tmp_path, 40).best
    assert best.settings["sequence.norm"] == "pre"
    assert best.settings["als.epochs"] in (3, 4, 5)
    assert best.settings["ease.regularization"] == pytest.approx(30, rel=0.5)
    assert best.value > 0.93


def test_the_first_trial_is_the_configuration_in_force(tmp_path: Path) -> None:
    result = run(tmp_path, 3)
    assert result.start.settings == START
    assert result.start.value == planted(1, START)
    assert result.best.value >= result.start.value


def test_a_search_that_is_continued_counts_on_and_proposes_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", 14)
    run(tmp_path / "parts", 9)
    parts = run(tmp_path / "parts", 14)
    assert [trial.number for trial in parts.trials] == list(range(1, 15))
    assert [trial.settings for trial in parts.trials] == [trial.settings for trial in whole.trials]


def test_a_search_that_has_its_trials_runs_none(tmp_path: Path) -> None:
    run(tmp_path, 4)

    def never(number: int, settings: Mapping[str, Value]) -> float:
        raise AssertionError(f"trial {number} was run")

    assert len(run(tmp_path, 4, never).trials) == 4


def test_no_trial_begins_after_the_seconds(tmp_path: Path) -> None:
    began: list[float] = []

    def slow(number: int, settings: Mapping[str, Value]) -> float:
        began.append(time.monotonic())
        time.sleep(0.2)
        return planted(number, settings)

    run(tmp_path, 1)
    begun = time.monotonic()
    result = run(tmp_path, 1000, slow, seconds=1.0)
    assert all(moment - begun < 1.5 for moment in began)
    assert len(result.trials) == len(began) + 1 <= 7


def test_a_killed_trial_is_tried_again(tmp_path: Path) -> None:
    """The process ends inside the objective of trial 3, without any clean-up."""
    script = (
        "import os, sys; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "import test_hyperparameter_search as t\n"
        "t.run(Path(sys.argv[3]), 5, lambda number, s: os._exit(9) if number == 3 else t.planted(number, s))\n"
    )
    here = Path(__file__)
    words = [sys.executable, "-c", script, str(here.parents[2]), str(here.parent), str(tmp_path / "killed")]
    assert subprocess.run(words, check=False).returncode == 9
    continued = run(tmp_path / "killed", 5)
    undisturbed = run(tmp_path / "whole", 5)
    assert [trial.settings for trial in continued.trials] == [trial.settings for trial in undisturbed.trials]


def test_settings_that_cannot_be_trained_are_the_worst_and_do_not_end_the_search(tmp_path: Path) -> None:
    def fragile(number: int, settings: Mapping[str, Value]) -> float:
        if number == 2:
            raise DataError("the training loss is nan")
        return planted(number, settings)

    result = run(tmp_path, 4, fragile)
    assert (result.trials[1].value, result.trials[1].problem) == (0.0, "the training loss is nan")
    assert len(result.trials) == 4
    assert result.best.number != 2


def test_a_value_in_force_outside_its_range_widens_it(tmp_path: Path) -> None:
    seen = []
    space = {"a.b": Dimension(10.0, 20.0, is_log=True), "c.d": Dimension(choices=("x",))}
    search(
        lambda number, settings: seen.append(settings) or 0.5,
        space,
        {"a.b": 0.0, "c.d": "y"},
        SearchBudget(6),
        storage=tmp_path / "s.journal",
        seed=1,
    )
    assert seen[0] == {"a.b": 0.0, "c.d": "y"}
    assert all(0 <= one["a.b"] <= 20 for one in seen)


def test_one_search_at_a_time(tmp_path: Path) -> None:
    with FileLock(tmp_path / "s.searching"), pytest.raises(LakeLockedError, match="another search"):
        run(tmp_path, 1)


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one trial"):
        SearchBudget(0)


def test_a_result_without_trials_says_so() -> None:
    with pytest.raises(DataError, match="no finished trial"):
        _ = SearchResult(()).best
