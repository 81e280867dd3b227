"""Lists on their way to the lake: one Parquet row for each user, with the entries nested as the table has them.

Nesting is done here, a block of users at a time, because an ordered aggregate over all users would hold a buffer for
each of them: 22,000 lists of 20 items took more than 2 GB that DuckDB cannot spill.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ENTRY = ("item_id", "score", "source", "reason", "contributions", "propensity")
"""Fields of an entry, in the order of the table's contract."""


def write_list_block(users: pd.DataFrame, lists: pd.DataFrame, file: Path) -> None:
    """Write the lists of a block of users.

    Args:
        users: Frame with `user_id, last_event_at`.
        lists: Frame with `user_id` and the fields of `ENTRY`, by user in the order of `users`, then rank; a user
            without rows, such as one who has seen the whole catalogue, gets a list without entries.
        file: Parquet file to write.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = lists.groupby("user_id", sort=False).size().reindex(users["user_id"], fill_value=0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    entry = _entry_type()
    flat = pa.Table.from_pandas(lists[list(ENTRY)], schema=pa.schema(list(entry)), preserve_index=False)
    fields = [column.combine_chunks() for column in flat.columns]
    items = pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(fields, fields=list(entry)))
    kinds = pa.schema([("user_id", pa.string()), ("last_event_at", pa.timestamp("us"))])
    owners = pa.Table.from_pandas(users[kinds.names], schema=kinds, preserve_index=False)
    pq.write_table(owners.append_column("items", items), file)


def _entry_type() -> Any:
    import pyarrow as pa

    term = pa.struct([("term", pa.string()), ("amount", pa.float64())])
    types = (pa.string(), pa.float64(), pa.string(), pa.string(), pa.list_(term), pa.float64())
    return pa.struct(list(zip(ENTRY, types, strict=True)))
