"""The nearline lane: rows of a source become rows of the lake and new lists of the users they touch.

The worker and the sensor's job both hold one `NearlineLane`; the step itself is `models.nearline.advance`.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from assets.batch_report import BatchReport, report_of
from assets.delivered_events import events_of, known_ids, user_days
from assets.domain import Domain
from assets.features import HISTORY_LENGTH
from assets.ingest_commit import StagedFile
from assets.lake import Lake
from assets.list_blocks import write_list_block
from assets.list_freshness import by_user, oldest_kept
from assets.list_guard import strike
from assets.mirrors.held_lists import CommittedLists
from assets.model_inputs import seconds
from assets.nearline_commit import ComingLists, NewLists, RowCounts, StagedDelivery, commit_batch, list_files
from assets.nearline_watch import LakeWatch
from assets.prepared_server import Loaded
from assets.row_staging import stage_rows
from assets.scratch import scratch_folder
from assets.serving import USERS_PER_BLOCK
from assets.streams.contract import Delivery
from assets.warehouse_sql import EVENT_COLUMNS
from models.errors import StaleStateError
from models.nearline import Position, RebuiltDays, Step, advance
from quality.row_rules import RuleContext

STAGES = ("polled", "staged", "loaded", "advanced", "committed", "remembered")
"""Boundaries that a batch passes, in order; `NearlineLane.process` tells of each but the first."""

FRESHNESS_KEPT = timedelta(hours=24)
RENEWED_BESIDE, RENEWED_ALONE = 32, 512
"""Most users without new events whose lists one batch renews, beside those with events and alone."""


@dataclass(frozen=True)
class _Touched:
    """New rows of a batch and whom they touch."""

    events: pd.DataFrame
    """`EVENT_COLUMNS` and `arrived_at` of the new events."""
    pairs: pd.DataFrame
    """`user_id, event_day` of these."""
    user_ids: tuple[str, ...]
    """All users whose lists are to be made."""
    position: Position
    """Position after these events."""


class NearlineLane:
    """Takes deliveries in, one after another; holds the model, the index and the hot state between them."""

    def __init__(
        self,
        lake: Lake,
        domain: Domain,
        watch: LakeWatch,
        key: str,
        *,
        now: Callable[[], datetime],
        on_stage: Callable[[str], None] | None = None,
        freshness_kept: timedelta = FRESHNESS_KEPT,
    ) -> None:
        """Begin with nothing loaded; `watch.refresh` loads.

        Args:
            lake: The lake.
            domain: The domain whose rules and surface count.
            watch: Model, index and hot state, kept in step with what others write.
            key: Key of the pseudonyms.
            now: Clock of the edge, UTC without a zone.
            on_stage: Told of each boundary within a batch.
            freshness_kept: How long the freshness of lists is remembered.
        """
        self._lake = lake
        self._domain = domain
        self._watch = watch
        self._key = key
        self._now = now
        self._on_stage = on_stage or (lambda stage: None)
        self._freshness_kept = freshness_kept
        self._oldest_freshness = datetime.min

    def process(self, delivery: Delivery | None, *, received_at: datetime, epoch: int) -> BatchReport:
        """Take one delivery in, and renew the lists that others have left to this lane.

        Args:
            delivery: Rows of a source; None only renews.
            received_at: The present moment, UTC without a zone: row rules compare with it, and what begins or ends by
                itself until then counts.
            epoch: Term of this leader.

        Raises:
            NearlineError: nothing was written, see its classes.
            LakeError: the lake cannot be written.
        """
        loaded = self._watch.refresh(received_at)
        renewed = self._watch.take_left(self._renewed_with(delivery))
        try:
            try:
                report = self._attempt(loaded, delivery, renewed, received_at, epoch, from_lake=False)
            except StaleStateError:
                self._watch.forget()
                report = self._attempt(loaded, delivery, renewed, received_at, epoch, from_lake=True)
        except BaseException:
            self._watch.leave(renewed)
            raise
        if delivery is None or delivery.kind == "events":
            return report
        # What items bring about begins at once: they leave all lists, then these and those whom new ones fit are made.
        for _ in range(3):
            if self._watch.left:
                after = self.process(None, received_at=received_at, epoch=epoch)
                report = replace(after, source=report.source, counts=report.counts, position=report.position)
        return report

    def _renewed_with(self, delivery: Delivery | None) -> int:
        """Most users whose lists are renewed; none while items are to leave all lists, which waits for nothing."""
        if delivery is not None:
            return RENEWED_BESIDE
        return 0 if self._watch.banned else RENEWED_ALONE

    def _attempt(
        self,
        loaded: Loaded,
        delivery: Delivery | None,
        renewed: tuple[str, ...],
        received_at: datetime,
        epoch: int,
        *,
        from_lake: bool,
    ) -> BatchReport:
        with scratch_folder(self._lake.staging_path) as folder:
            staged = self._stage(delivery, folder, received_at)
            self._on_stage("staged")
            touched = self._touched(staged, renewed, from_lake=from_lake)
            self._on_stage("loaded")
            days_end = (day + timedelta(days=1) for day in touched.events["event_day"])
            data_until = max([self._watch.data_until, *days_end])
            as_of = max(self._watch.as_of, data_until)
            # All lists are read for it, and the first events have waited for a load: the next batch does it then.
            banned = self._watch.banned if delivery is None or self._watch.has_committed else frozenset[str]()
            committed, struck = list[datetime](), list[str]()
            oldest = oldest_kept(received_at, self._freshness_kept)
            source = delivery.source if delivery else "renewal"
            with ThreadPoolExecutor(1, thread_name_prefix="lists") as pool:
                making = pool.submit(self._advance, loaded, touched, as_of, folder)

                @cache
                def made() -> NewLists:
                    making.result()
                    self._on_stage("advanced")
                    return self._lists(loaded, source, touched, as_of, data_until, folder)

                work = commit_batch(
                    None if staged is None else replace(staged, new_events=len(touched.events)),
                    self._coming(touched, made),
                    epoch=epoch,
                    received_at=received_at,
                    now=lambda: _kept(committed, self._now()),
                    oldest_freshness=oldest if oldest > self._oldest_freshness else None,
                    memory=self._watch.memory,
                )

                def guarded(connection: duckdb.DuckDBPyConnection) -> RowCounts:
                    self._watch.pass_over()
                    # First, so that the lists made here, which hold none of these items, are not looked at.
                    struck[:] = strike(connection, self._domain.surface, banned, beside=touched.user_ids)
                    return work(connection)

                written = self._lake.write(
                    guarded, message=f"nearline lists of {len(touched.user_ids)} users from {source}"
                )
            steps, lists = making.result(), made() if touched.user_ids else None
        self._oldest_freshness = oldest
        self._on_stage("committed")
        self._remember(touched, steps, written.snapshot, data_until)
        self._watch.struck(banned, struck)
        self._take_items(staged)
        self._on_stage("remembered")
        at = committed[-1] if committed else self._now()
        position = steps[0].step.position if steps else touched.position
        report = report_of(loaded, lists, source, written.value, written.snapshot, as_of, at, position)
        held = None if lists is None or struck else CommittedLists.of(lists.made, [done.step for done in steps])
        return replace(report, lists=held)

    def _stage(self, delivery: Delivery | None, folder: Path, received_at: datetime) -> StagedDelivery | None:
        if delivery is None:
            return None
        context = RuleContext(received_at, frozenset(self._domain.event_weights), self._domain.item_id_pattern)
        rows = stage_rows(delivery.kind, delivery.cells, context, first_row=1, key=self._key)
        file = None
        if delivery.file is not None:
            # Not in the folder of the lists, which is read as a whole.
            (folder / "rows").mkdir()
            accepted, refused = folder / "rows" / "accepted.parquet", folder / "rows" / "refused.parquet"
            pq.write_table(rows.accepted, accepted)
            pq.write_table(rows.quarantined, refused)
            file = StagedFile(delivery.file, accepted, refused, len(delivery.numbers))
        return StagedDelivery(delivery, rows, file, 0)

    def _touched(self, staged: StagedDelivery | None, renewed: tuple[str, ...], *, from_lake: bool) -> _Touched:
        events = events_of(staged)
        pairs = user_days(events)
        states, snapshot = self._watch.states, self._watch.pass_over()
        states.load(pairs, user_ids=renewed, snapshot=snapshot)
        known = states.event_ids(pairs)
        if from_lake and len(events):
            known |= known_ids(self._lake, events, snapshot)
        # Not `isin`, which takes a second for the hundred thousand events of a busy day.
        is_fresh = np.array([event not in known for event in events["event_id"].tolist()], dtype=bool)
        fresh = events if is_fresh.all() else events[is_fresh]
        position = staged.delivery.after if staged else {}
        return _Touched(fresh, user_days(fresh), tuple(sorted({*fresh["user_id"], *renewed})), position)

    def _advance(self, loaded: Loaded, touched: _Touched, as_of: datetime, folder: Path) -> list["_Done"]:
        """One step for each block of users; writes their lists."""
        done = []
        for number, users in enumerate(_blocks(touched.user_ids)):
            pairs, fresh = touched.pairs, touched.events
            if len(users) < len(touched.user_ids):
                pairs, fresh = (frame[frame["user_id"].isin(users)] for frame in (pairs, fresh))
            events = pd.concat([self._watch.states.events(pairs), fresh[list(EVENT_COLUMNS)]], ignore_index=True)
            rebuilt = self._watch.rules.interactions(events)
            step = advance(
                loaded.server.maker,
                self._watch.states.state(users),
                RebuiltDays(pairs, rebuilt, touched.position),
                users=users,
                history_length=HISTORY_LENGTH,
                as_of=seconds(as_of),
            )
            if len(step.histories):
                write_list_block(step.histories, step.lists, folder / f"{number:06d}.parquet")
            done.append(_Done(step, pairs, events))
        return done

    def _coming(self, touched: _Touched, made: Callable[[], NewLists]) -> ComingLists | None:
        if not touched.user_ids:
            return None
        return ComingLists(self._domain.surface, touched.user_ids, self._watch.snapshot, made)

    def _lists(
        self, loaded: Loaded, source: str, touched: _Touched, as_of: datetime, data_until: datetime, folder: Path
    ) -> NewLists:
        made = loaded.server.list_facts(input_snapshot=self._watch.input_snapshot, as_of=as_of, lane="nearline")
        # What is made again as time passes knows no more events, so it lives no longer.
        made = replace(made, expires_at=made.expires_at - (as_of - data_until))
        files = list_files(folder) if any(folder.glob("*.parquet")) else None
        freshness = by_user(touched.events).assign(surface=made.surface, source=source)
        return NewLists(made, files, touched.user_ids, freshness)

    def _remember(self, touched: _Touched, steps: list["_Done"], snapshot: int, data_until: datetime) -> None:
        for done in steps:
            self._watch.states.put(done.step, done.pairs, done.events)
        self._watch.states.shrink()
        self._watch.written(snapshot, data_until)

    def _take_items(self, staged: StagedDelivery | None) -> None:
        if staged is not None and staged.delivery.kind == "items":
            self._watch.take_items(sorted(set(staged.rows.accepted["item_id"].to_pylist())))


@dataclass(frozen=True)
class _Done:
    step: Step
    pairs: pd.DataFrame
    events: pd.DataFrame


def _blocks(user_ids: tuple[str, ...]) -> Iterator[list[str]]:
    for begin in range(0, len(user_ids), USERS_PER_BLOCK):
        yield list(user_ids[begin : begin + USERS_PER_BLOCK])


def _kept(moments: list[datetime], moment: datetime) -> datetime:
    moments.append(moment)
    return moment
