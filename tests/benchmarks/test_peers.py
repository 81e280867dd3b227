"""What peers are given and what is accepted back from them."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from models.errors import DataError
from models.interactions import InteractionLog
from models.splitting import Split, leave_one_out

if TYPE_CHECKING:
    from protocol import Data

FOLDER = Path(__file__).parents[2] / "benchmarks"
ITEMS = 12


@pytest.fixture
def exchange() -> ModuleType:
    return importlib.import_module("exchange")


@pytest.fixture
def split() -> Split:
    """User u takes the items u, u + 1, … of a circle, by time."""
    rows = [
        (f"u{user:02d}", f"i{(user + day) % ITEMS:02d}", pd.Timestamp(day, unit="D"), 1.0)
        for user in range(9)
        for day in range(5)
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at", "weight"])
    return leave_one_out(InteractionLog.from_frame(frame, [f"i{row:02d}" for row in range(ITEMS)]))


def read(folder: Path) -> "Data":
    sys.path.insert(0, str(FOLDER / "peers"))
    try:
        import protocol

        return protocol.read(folder)
    finally:
        sys.path.pop(0)


def test_a_peer_reads_the_split_that_was_written(exchange: ModuleType, split: Split, tmp_path: Path) -> None:
    exchange.write_split(split, np.array([f"i{row:02d}" for row in range(ITEMS)], dtype=object), tmp_path)
    data = read(tmp_path)
    assert (data.user_count, data.item_count) == (9, ITEMS)
    assert data.train[data.train["user"] == 8]["item"].tolist() == [8, 9, 10]
    assert data.history["test"].query("user == 8").sort_values("place")["item"].tolist() == [8, 9, 10, 11]
    assert data.targets["validation"].query("user == 8")["item"].tolist() == [11]
    assert data.targets["test"].query("user == 8")["item"].tolist() == [0]
    assert data.users("test").tolist() == split.test.user_rows.tolist()


def accepted(exchange: ModuleType, split: Split, folder: Path, lists: np.ndarray) -> np.ndarray:
    np.save(folder / "test.npy", lists)
    found: np.ndarray = exchange.read_lists(folder / "test.npy", split.test, top_k=lists.shape[1])
    return found


def test_short_lists_of_unseen_items_are_accepted(exchange: ModuleType, split: Split, tmp_path: Path) -> None:
    lists = np.array([[(user + 4) % ITEMS, -1] for user in range(9)])
    np.testing.assert_array_equal(accepted(exchange, split, tmp_path, lists), lists)


def test_a_list_with_an_item_of_the_history_is_refused(exchange: ModuleType, split: Split, tmp_path: Path) -> None:
    lists = np.array([[(user + 4) % ITEMS, -1] for user in range(9)])
    lists[5, 1] = 8  # what user 5 took last before the test
    with pytest.raises(DataError, match=r"user row 5 holds item row 8"):
        accepted(exchange, split, tmp_path, lists)


def test_an_item_that_does_not_exist_is_refused(exchange: ModuleType, split: Split, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="item row 12; the catalogue has 12 items"):
        accepted(exchange, split, tmp_path, np.full((9, 1), ITEMS))


def test_the_runner_of_implicit_finds_the_block_and_its_metrics_are_ours(exchange: ModuleType, tmp_path: Path) -> None:
    """The library is one of ours too, so its runner can run here: users of two blocks, each wanting its own."""
    rng = np.random.default_rng(0)
    rows = [
        (f"u{user:02d}", f"i{(user % 2) * 6 + item:02d}", pd.Timestamp(day, unit="D"), 1.0)
        for user in range(40)
        for day, item in enumerate(rng.permutation(6)[:5])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "event_at", "weight"])
    split = leave_one_out(InteractionLog.from_frame(frame, [f"i{row:02d}" for row in range(ITEMS)]))
    exchange.write_split(split, np.array([f"i{row:02d}" for row in range(ITEMS)], dtype=object), tmp_path / "split")
    runner = [sys.executable, str(FOLDER / "peers" / "run_implicit.py"), "--data", str(tmp_path / "split")]
    subprocess.run([*runner, "--out", str(tmp_path / "out"), "--model", "ItemKNN"], check=True)
    lists = exchange.read_lists(tmp_path / "out" / "test.npy", split.test, top_k=20)
    for user, ranked in enumerate(lists):
        assert set(ranked[ranked >= 0]) <= set(range((user % 2) * 6, (user % 2) * 6 + 6))
    subprocess.run([*runner, "--out", str(tmp_path / "out"), "--check", str(tmp_path / "out" / "test.npy")], check=True)
    theirs = json.loads((tmp_path / "out" / "check.json").read_text())["metrics"]
    ours = importlib.import_module("peers").own_metrics(lists, split)
    assert theirs == pytest.approx({name: ours[name] for name in theirs}, abs=1e-9)
    assert 0 < theirs["ndcg@10"] < 1
