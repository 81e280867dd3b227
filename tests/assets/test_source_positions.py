"""Of the rows of a partition the latest one counts, and what a leader remembers is what the lake says."""

from datetime import datetime

import pandas as pd

from assets.lake import Lake, append_frame
from assets.source_positions import KnownProgress, PartitionProgress, drop_old, read_positions, read_progress
from models.schema import NEARLINE_POSITIONS


def _progress(position: str, rows: int, epoch: int = 1) -> PartitionProgress:
    return PartitionProgress(position, epoch, rows, rows, 0, 0)


def _write(lake: Lake, source: str, partition: str, progress: PartitionProgress) -> int:
    row = {"source": source, "partition": partition, **vars(progress), "updated_at": datetime(2026, 1, 1)}
    return lake.write(lambda c: append_frame(c, NEARLINE_POSITIONS, pd.DataFrame([row])), message="x").snapshot


def test_the_latest_row_of_each_partition_counts(lake: Lake) -> None:
    _write(lake, "a", "0", _progress("9-1", 5))
    _write(lake, "a", "0", _progress("10-1", 7, epoch=2))
    _write(lake, "a", "1", _progress("3", 1))
    _write(lake, "b", "0", _progress("99", 40))
    for _ in range(2):
        with lake.connect() as connection:
            assert read_positions(connection, "a") == {"0": "10-1", "1": "3"}
            assert read_progress(connection, "a")["0"] == _progress("10-1", 7, epoch=2)
            assert read_positions(connection, "b") == {"0": "99"}
        lake.write(drop_old, message="x")
    assert lake.frame("SELECT count(*) AS n FROM ops.nearline_positions")["n"].item() == 3


def test_what_was_written_is_remembered_until_somebody_else_writes(lake: Lake) -> None:
    known, snapshot = KnownProgress(), lake.current_snapshot()
    with lake.connect() as connection:
        assert known.of("a", connection, snapshot) == {}
    known.begin()
    known.offer("a", {"0": _progress("1", 1)})
    ours = _write(lake, "a", "0", _progress("1", 1))
    known.written(ours)
    with lake.connect() as connection:
        # Nothing is asked: a source that is not remembered would be.
        assert known.of("a", None, ours) == {"0": _progress("1", 1)}  # type: ignore[arg-type]
        theirs = _write(lake, "a", "0", _progress("5", 5, epoch=2))
    with lake.connect() as connection:
        assert known.of("a", connection, theirs) == {"0": _progress("5", 5, epoch=2)}


def test_what_was_offered_and_not_committed_is_not_remembered(lake: Lake) -> None:
    known, snapshot = KnownProgress(), lake.current_snapshot()
    with lake.connect() as connection:
        known.of("a", connection, snapshot)
        known.offer("a", {"0": _progress("1", 1)})
        known.begin()
        known.written(snapshot + 1)
        assert known.of("a", connection, snapshot + 1) == {}
