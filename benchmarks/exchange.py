"""A split as Parquet files, in which a peer with another Python environment reads it, and the lists that come back.

`train.parquet` holds `user, item, place`; for each part, validation and test, `PART.history.parquet` the same of what
may be known, and `PART.targets.parquet` `user, item`. Numbers are rows of the log and of the catalogue, `place` counts
within a user by time. `items.parquet` has the ids by row.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from models.errors import DataError
from models.interactions import PADDING, IntArray, InteractionLog, ObjectArray
from models.splitting import Holdout, Split


def write_split(split: Split, item_ids: ObjectArray, folder: Path) -> None:
    """Write all files of a split."""
    folder.mkdir(parents=True, exist_ok=True)
    _steps(split.train).to_parquet(folder / "train.parquet", index=False)
    for part, holdout in (("validation", split.validation), ("test", split.test)):
        _steps(holdout.history).to_parquet(folder / f"{part}.history.parquet", index=False)
        users = holdout.user_rows[holdout.targets.rows]
        targets = pd.DataFrame({"user": users, "item": holdout.targets.item_rows})
        targets.to_parquet(folder / f"{part}.targets.parquet", index=False)
    items = pd.DataFrame({"item": np.arange(len(item_ids)), "item_id": item_ids})
    items.to_parquet(folder / "items.parquet", index=False)


def read_lists(file: Path, holdout: Holdout, *, top_k: int) -> IntArray:
    """Lists of a peer for the users of a holdout, in its order.

    Args:
        file: Array (users, top_k) of item rows, best first, -1 behind the end of a short list.
        holdout: Whose users were asked for.
        top_k: Length of the lists.

    Raises:
        DataError: the shape is another, an item does not exist, or a list holds an item of the user's history.
    """
    lists: IntArray = np.load(file, allow_pickle=False).astype(np.int32)
    if lists.shape != (holdout.count, top_k):
        raise DataError(f"{file.name} holds lists of shape {lists.shape}, wanted {(holdout.count, top_k)}")
    log = holdout.history
    if lists.min() < PADDING or lists.max() >= log.item_count:
        raise DataError(f"{file.name} holds item row {lists.max()}; the catalogue has {log.item_count} items")
    seen = set(zip(log.user_rows.tolist(), log.item_rows.tolist(), strict=True))
    users = np.repeat(holdout.user_rows, top_k).tolist()
    for user, item in zip(users, lists.ravel().tolist(), strict=True):
        if (user, item) in seen:
            raise DataError(f"{file.name}: the list of user row {user} holds item row {item} of the user's own history")
    return lists


def _steps(log: InteractionLog) -> pd.DataFrame:
    places = np.arange(len(log.item_rows)) - np.repeat(log.start[:-1], np.diff(log.start))
    return pd.DataFrame({"user": log.user_rows, "item": log.item_rows, "place": places.astype(np.int32)})
