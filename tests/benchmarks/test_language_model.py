"""The ablation of the text path, on vectors whose worth is known."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from assets.domain import Domain
from models.catalogue import Catalogue
from models.device import choose_device
from models.interactions import InteractionLog

FOLDER = Path(__file__).parents[2] / "benchmarks"
BLOCKS, PER_BLOCK = 4, 8
ITEMS = [f"i{row:02d}" for row in range(BLOCKS * PER_BLOCK)]


@pytest.fixture
def benchmark_of(monkeypatch: pytest.MonkeyPatch) -> object:
    """Loads a script of the benchmarks by its name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def _log() -> InteractionLog:
    """Each user reads six of the eight items of one block."""
    rng = np.random.default_rng(3)
    rows = [
        (f"u{user:02d}", ITEMS[(user % BLOCKS) * PER_BLOCK + item], pd.Timestamp("2026-01-01") + pd.Timedelta(days=day))
        for user in range(40)
        for day, item in enumerate(rng.permutation(PER_BLOCK)[:6])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at"])
    return InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)


def test_vectors_that_know_the_blocks_are_better_than_those_that_do_not(benchmark_of, tmp_path: Path) -> None:
    bench_module = benchmark_of("language_model")
    domain = Domain(name="amazon-reviews", event_weights={"review": 1.0})
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS}))
    data = bench_module.LandedData(domain, catalogue, [""] * len(ITEMS), _log(), times=None)
    known = np.repeat(np.eye(BLOCKS, dtype=np.float32), PER_BLOCK, axis=0)
    for name, vectors in (("raw", np.random.default_rng(0).normal(size=(32, 4))), ("masked_tokens", known)):
        np.save(tmp_path / f"{name}.npy", vectors.astype(np.float32))
        (tmp_path / f"{name}.json").write_text(json.dumps({}))
    split = data.split("leave-one-out")
    bench = bench_module.Bench(data, split, tmp_path, choose_device("cpu"), "none", 7)
    facts = bench_module.measure(bench, bench_module.ROWS[:2], ("validation",))
    assert facts["rows"]["masked_tokens"]["validation"]["against"]["raw"]["low"] > 0


def test_one_event_type_is_skipped_with_a_reason(benchmark_of) -> None:
    bench_module = benchmark_of("language_model")
    domain = Domain(name="amazon-reviews", event_weights={"review": 1.0, "impression": 0.0})
    data = bench_module.LandedData(domain, None, [], None, times=None)
    row = next(row for row in bench_module.ROWS if row.name == "event_type")
    assert bench_module.why_skipped(data, row) == "the domain has 1 event type, and two are needed"


def test_each_row_builds_on_one_before_it(benchmark_of) -> None:
    names = [row.name for row in benchmark_of("language_model").ROWS]
    for place, row in enumerate(benchmark_of("language_model").ROWS):
        assert {row.base, *row.against} - {""} <= set(names[:place])


def test_last_old_choice_of_each_user_is_held_out(benchmark_of) -> None:
    log = _log()
    new_from = int(pd.Timestamp("2026-01-05").timestamp())
    mask = benchmark_of("continued_learning").held_out_mask(log, new_from)
    assert mask.reshape(-1, 6).tolist() == [[False, False, False, True, False, False]] * 40
