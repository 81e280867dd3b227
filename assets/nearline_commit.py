"""One transaction for each batch of the nearline lane: its rows, how far the source was read, and the new lists.

Either all of it is in the lake or nothing. The position must be where the batch began and the leader must still lead;
so what a killed or superseded worker had half done is done once, by whoever comes next.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from assets.ingest_commit import StagedFile, commit_file, insert_new_rows, insert_quarantined_rows
from assets.lake import append_frame, snapshot_of
from assets.lake_memory import LakeMemory
from assets.list_freshness import forget_freshness
from assets.list_table import ListFacts, delete_lists, insert_lists
from assets.row_staging import StagedRows
from assets.source_positions import PartitionProgress, SourceProgress
from assets.streams.contract import Delivery
from models.errors import LeaseLostError, PositionMovedError, StaleStateError
from models.schema import LIST_FRESHNESS, NEARLINE_POSITIONS

_ORIGIN = ("origin_file", "origin_row", "origin_hash")

# As a case, the lane and the snapshot are looked at for these users only.
_LATER = """
SELECT count(*) FROM serving.top_k
WHERE user_id IN (SELECT unnest(?::VARCHAR[]))
    AND CASE WHEN surface = ? AND lane = 'nearline' THEN input_snapshot >= ? ELSE false END
"""


@dataclass(frozen=True)
class NewLists:
    """Lists of the touched users, ready to be written."""

    made: ListFacts
    files: str | None
    """Glob of their Parquet files; None where nobody gets a list."""

    user_ids: tuple[str, ...]
    """Users whose old lists go."""

    freshness: pd.DataFrame
    """Columns of `ops.list_freshness` but `committed_at`."""


@dataclass(frozen=True)
class ComingLists:
    """Lists that are made while the transaction does what does not depend on them."""

    surface: str
    user_ids: tuple[str, ...]
    """Users whose old lists go."""
    known_until: int
    """Snapshot up to which the lake is known to who makes them; what others commit after it may know more."""
    made: Callable[[], NewLists]
    """Waits for them; asked again where the transaction is run again."""


@dataclass(frozen=True)
class StagedDelivery:
    """A delivery after the row rules."""

    delivery: Delivery
    rows: StagedRows
    file: StagedFile | None
    """Where the delivery is a landing file."""

    new_events: int
    """How many rows the step took for new."""


@dataclass(frozen=True)
class RowCounts:
    """What became of the rows of a batch; `rows_in` is the sum of the other three."""

    rows_in: int
    accepted: int
    quarantined: int
    duplicate: int
    days_touched: tuple[date, ...] = ()


def commit_batch(
    staged: StagedDelivery | None,
    lists: ComingLists | None,
    *,
    epoch: int,
    received_at: datetime,
    now: Callable[[], datetime],
    oldest_freshness: datetime | None = None,
    memory: LakeMemory,
) -> Callable[[duckdb.DuckDBPyConnection], RowCounts]:
    """The work of `Lake.write` for one batch.

    Args:
        staged: The rows; None for a batch that only renews lists.
        lists: The lists; None where the rows touch nobody.
        epoch: Term of this leader.
        received_at: Moment of reception, UTC without a zone.
        now: Clock of the edge, asked once before the commit.
        oldest_freshness: Rows of `ops.list_freshness` from before it are dropped; None keeps all.
        memory: Asked what is new and how far sources were read, where it is true at the snapshot of the transaction.

    Raises:
        PositionMovedError: another worker has committed these rows, or lists of these users that know more.
        LeaseLostError: a leader of a later term has committed.
        StaleStateError: raw had rows that the step took for new, or the other way round.
    """

    def work(connection: duckdb.DuckDBPyConnection) -> RowCounts:
        counts = RowCounts(0, 0, 0, 0)
        memory.begin()
        if staged is not None:
            counts = _add_rows(connection, staged, epoch, received_at, memory)
            if staged.delivery.kind == "events" and counts.accepted != staged.new_events:
                raise StaleStateError(
                    f"{staged.delivery.source}: the step took {staged.new_events} rows for new, raw took "
                    f"{counts.accepted}; nothing was written, the batch is to be made again from the lake"
                )
        if oldest_freshness is not None:
            forget_freshness(connection, oldest_freshness)
        if lists is not None:
            # Rows of a stream come with a position, which tells as much.
            if staged is None or staged.file is not None:
                _check_lists(connection, lists)
            delete_lists(connection, lists.surface, user_ids=lists.user_ids)
            new = lists.made()
            if new.files is not None:
                insert_lists(connection, new.made, new.files)
            append_frame(connection, LIST_FRESHNESS, new.freshness.assign(committed_at=now()))
        return counts

    return work


def origin_of(source: str, partition: str) -> str:
    """Name of a partition, as rows carry it."""
    return f"{source}/{partition}" if partition else source


def _add_rows(
    connection: duckdb.DuckDBPyConnection,
    staged: StagedDelivery,
    epoch: int,
    received_at: datetime,
    memory: LakeMemory,
) -> RowCounts:
    snapshot = snapshot_of(connection)
    known = memory.events if memory.events.is_true_at(snapshot) else None
    if staged.file is not None:
        report = commit_file(staged.file, received_at, known)(connection)
        if report is None:
            raise PositionMovedError(f"{staged.file.file.name}: another process has ingested it")
        return RowCounts(
            report.rows_in, report.rows_accepted, report.rows_quarantined, report.rows_duplicate, report.days_touched
        )
    delivery = staged.delivery
    connection.register("accepted_rows", _with_origin(staged.rows.accepted, delivery))
    added, days = insert_new_rows(
        connection,
        "events",
        "accepted_rows",
        received_at,
        source_file="origin_file",
        source_row="origin_row",
        known=known,
    )
    refused = 0
    if staged.rows.quarantined.num_rows:
        connection.register("refused_rows", _with_origin(staged.rows.quarantined, delivery))
        refused = insert_quarantined_rows(
            connection,
            "events",
            "refused_rows",
            received_at,
            file_hash="origin_hash",
            source_file="origin_file",
            source_row="origin_row",
        )
    accepted = {delivery.origins[0]: added}
    if len(set(delivery.origins)) > 1:
        by_origin = "SELECT origin_file, count(*) FROM accepted_rows SEMI JOIN fresh USING (source_row) GROUP BY ALL"
        accepted = dict(connection.execute(by_origin).fetchall())
    before = memory.progress.of(delivery.source, connection, snapshot)
    after = _moved(staged, before, accepted, epoch)
    rows = [
        {"source": delivery.source, "partition": partition, **vars(progress), "updated_at": received_at}
        for partition, progress in after.items()
    ]
    append_frame(connection, NEARLINE_POSITIONS, pd.DataFrame(rows))
    memory.progress.offer(delivery.source, after)
    return RowCounts(len(delivery.numbers), added, refused, len(delivery.numbers) - added - refused, days)


def _moved(
    staged: StagedDelivery, before: SourceProgress, accepted: Mapping[str, int], epoch: int
) -> dict[str, PartitionProgress]:
    """Progress after a delivery, of each partition among its rows."""
    delivery = staged.delivery
    rows_in = Counter(delivery.origins)
    refused = Counter(delivery.origins[row - 1] for row in staged.rows.quarantined["source_row"].to_pylist())
    after = {}
    for partition, position in delivery.after.items():
        origin = origin_of(delivery.source, partition)
        last = before.get(partition)
        _check(origin, delivery.before.get(partition), last, epoch)
        counts = (last.rows_in, last.rows_accepted, last.rows_quarantined, last.rows_duplicate) if last else (0,) * 4
        taken, bad = accepted.get(origin, 0), refused[origin]
        added = (rows_in[origin], taken, bad, rows_in[origin] - taken - bad)
        after[partition] = PartitionProgress(position, epoch, *(sum(pair) for pair in zip(counts, added, strict=True)))
    return after


def _check(origin: str, begun: str | None, last: PartitionProgress | None, epoch: int) -> None:
    """A partition stands where the delivery began, and no later leader has written."""
    if last is not None and last.epoch > epoch:
        raise LeaseLostError(
            f"{origin}: a worker of term {last.epoch} has taken over from this one of term {epoch}; it goes on, this "
            "one stops"
        )
    position = None if last is None else last.position
    if position != begun:
        raise PositionMovedError(
            f"{origin}: read on from {begun}, but the lake is at {position}; the source is to be read again from there"
        )


def _check_lists(connection: duckdb.DuckDBPyConnection, lists: ComingLists) -> None:
    """No list that goes was made by somebody who knew more of the lake."""
    values = [list(lists.user_ids), lists.surface, lists.known_until]
    (later,) = connection.execute(_LATER, values).fetchall()[0]
    if later:
        raise PositionMovedError(
            f"another worker has made lists of {later} of these users since snapshot {lists.known_until}; they stay, "
            "and what is still to be done is made from the lake as it is now"
        )


def _with_origin(rows: pa.Table, delivery: Delivery) -> pa.Table:
    """Rows with the columns `_ORIGIN`; their `source_row` is their place in the delivery, from 1."""
    from hashlib import sha256

    places = [row - 1 for row in rows["source_row"].to_pylist()]
    origins = [delivery.origins[place] for place in places]
    hashes = {origin: sha256(origin.encode()).hexdigest() for origin in set(origins)}
    columns = (
        pa.array(origins, pa.string()),
        pa.array([delivery.numbers[place] for place in places], pa.int64()),
        pa.array([hashes[origin] for origin in origins], pa.string()),
    )
    for name, values in zip(_ORIGIN, columns, strict=True):
        rows = rows.append_column(name, values)
    return rows


def list_files(folder: Path) -> str:
    """Glob of the list blocks in a folder."""
    return str(folder / "*.parquet")
