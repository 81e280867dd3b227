"""Dagster's SQLite event log, with many events in one transaction.

The stock storage opens two databases and commits twice for each event: a first load that spans 4,000 days of seven
tables would spend a quarter of an hour on its bookkeeping. Dagster hands over the events of a partition range in
batches where `DAGSTER_EVENT_BATCH_SIZE` is set; this class writes such a batch in two transactions.

It builds on names private to Dagster, whose version is pinned; a test compares it with the stock storage.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dagster._core.events import ASSET_EVENTS  # noqa: PLC2701
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable  # noqa: PLC2701
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage  # noqa: PLC2701
from dagster._serdes import ConfigurableClassData

EVENT_BATCH_SIZE = 1000
"""Value for `DAGSTER_EVENT_BATCH_SIZE`."""


def event_log_config(base_dir: str) -> dict[str, Any]:
    """Entry `event_log_storage` of `dagster.yaml` for an event log under a folder."""
    return {"module": __name__, "class": BatchedEventLogStorage.__name__, "config": {"base_dir": base_dir}}


class BatchedEventLogStorage(SqliteEventLogStorage):
    """The stock storage, except that a batch of asset events is written at once."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "BatchedEventLogStorage":
        """Make the storage that `dagster.yaml` names."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Write events of one run: to the log of the run, and to the index over all runs."""
        if not all(_is_asset_event(event) for event in events) or len({event.run_id for event in events}) != 1:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        with self.run_connection(events[0].run_id) as connection:
            connection.execute(SqlEventLogStorageTable.insert(), rows)
        insert = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
        with self.index_transaction() as connection:
            event_ids = [row.id for row in connection.execute(insert, rows)]
            self._store_asset_event_tags(connection, list(events), event_ids)
            # The row of an asset holds its latest event only.
            latest = {event.get_dagster_event().asset_key: at for at, event in enumerate(events)}
            for at in latest.values():
                self._store_asset_event(connection, events[at], event_ids[at])


def _is_asset_event(event: EventLogEntry) -> bool:
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS
