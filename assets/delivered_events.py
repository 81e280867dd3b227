"""The events of a delivery as the nearline step takes them."""

import pandas as pd

from assets.lake import Lake
from assets.nearline_commit import StagedDelivery
from assets.warehouse_sql import EVENT_COLUMNS


def events_of(staged: StagedDelivery | None) -> pd.DataFrame:
    """The sound rows of a delivery as `EVENT_COLUMNS` and `arrived_at`, the first of each event."""
    if staged is None or staged.delivery.kind != "events":
        empty = {name: pd.Series([], dtype=object) for name in (*EVENT_COLUMNS, "arrived_at")}
        return pd.DataFrame(empty).astype({name: "datetime64[us]" for name in ("event_at", "event_day", "arrived_at")})
    names = [name for name in EVENT_COLUMNS if name != "event_day"]
    frame = staged.rows.accepted.select([*names, "source_row"]).to_pandas()
    arrived = pd.Series(staged.delivery.arrived_at, dtype="datetime64[us]")
    frame["event_day"] = frame["event_at"].dt.floor("D")
    frame["arrived_at"] = arrived.iloc[frame["source_row"].to_numpy() - 1].to_numpy()
    frame["source_order"] = frame["source_order"].astype("Int64")
    distinct: pd.DataFrame = frame.drop(columns="source_row").drop_duplicates("event_id", ignore_index=True)
    return distinct


def user_days(events: pd.DataFrame) -> pd.DataFrame:
    """Each day of a user with events, once: `user_id, event_day`."""
    return events[["user_id", "event_day"]].drop_duplicates(ignore_index=True)


def known_ids(lake: Lake, events: pd.DataFrame, snapshot: int) -> set[str]:
    """Ids of those events that raw has at a snapshot."""
    sql = "SELECT event_id FROM raw.events WHERE event_id IN (SELECT unnest(?::VARCHAR[]))"
    return set(lake.frame(sql, [events["event_id"].tolist()], snapshot=snapshot)["event_id"])
