"""Lists that this process has committed and still holds, so that a mirror need not read them back from the lake.

What is held is a shortcut only: `assets.mirrors.filling` takes it where it accounts for every change of the lists since
the mirror's state, and reads the lake otherwise.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np
import orjson
import pandas as pd

from assets.list_table import ListFacts
from assets.mirrors.contract import Entry, microseconds
from models.nearline import Step

MOST_HELD = 10_000
"""Lists beyond which those held for longest are given up."""
_USER_COLUMNS = ["user_id", "last_event_at"]
_COLUMNS = ["item_id", "score", "source", "reason", "propensity"]


@dataclass(frozen=True)
class CommittedLists:
    """What one commit did to the lists."""

    made: ListFacts | None
    """What the new lists have in common; None where there are none."""
    users: pd.DataFrame
    """`user_id, last_event_at` of those who have a new list."""
    lists: pd.DataFrame
    """`user_id, item_id, score, source, reason, propensity` of these, by user in their order, then rank."""
    gone: tuple[str, ...]
    """Users who have none any more."""

    @classmethod
    def of(cls, made: ListFacts, steps: Sequence[Step]) -> Self:
        """What steps of the nearline lane have made."""
        return cls(
            made,
            pd.concat([step.histories[_USER_COLUMNS] for step in steps], ignore_index=True),
            pd.concat([step.lists[["user_id", *_COLUMNS]] for step in steps], ignore_index=True),
            tuple(user for step in steps for user in step.gone),
        )

    @classmethod
    def none(cls) -> Self:
        """Rows were written anew and no list differs, as upkeep does."""
        return cls(None, pd.DataFrame(columns=_USER_COLUMNS), pd.DataFrame(columns=["user_id", *_COLUMNS]), ())

    def entries(self) -> Iterator[Entry]:
        """The new lists as `assets.mirrors.contract.PAYLOAD` has them."""
        if self.made is None:
            return
        facts = {
            "model_version": self.made.model_version,
            "index_version": self.made.index_version,
            "input_snapshot": self.made.input_snapshot,
            "lane": self.made.lane,
            "generated_at": microseconds(self.made.generated_at),
        }
        users = self.users["user_id"].tolist()
        counts = self.lists.groupby("user_id", sort=False).size().reindex(users, fill_value=0).to_numpy()
        columns = {name: self.lists[name].tolist() for name in _COLUMNS}
        columns["propensity"] = [None if np.isnan(value) else value for value in columns["propensity"]]
        moments = self.users["last_event_at"]
        last = [None if pd.isna(moment) else microseconds(moment.to_pydatetime()) for moment in moments]
        expires = microseconds(self.made.expires_at)
        for place, (begin, end) in enumerate(pairwise(np.concatenate([[0], np.cumsum(counts)]).tolist())):
            payload = {
                "item_ids": columns["item_id"][begin:end],
                "scores": columns["score"][begin:end],
                "sources": columns["source"][begin:end],
                "reasons": columns["reason"][begin:end],
                "propensities": columns["propensity"][begin:end],
                **facts,
                "last_event_at": last[place],
            }
            yield Entry(self.made.surface, users[place], expires, orjson.dumps(payload))


class HeldLists:
    """Lists by the snapshot that they were committed in; the thread that commits adds, another one takes."""

    def __init__(self, *, most: int = MOST_HELD) -> None:
        """Begin with nothing.

        Args:
            most: Lists that are held at once.
        """
        self._most = most
        self._lock = threading.Lock()
        self._by_snapshot: dict[int, CommittedLists] = {}

    def add(self, snapshot: int, lists: CommittedLists) -> None:
        """Hold all that a commit did to the lists."""
        with self._lock:
            self._by_snapshot[snapshot] = lists
            while len(self._by_snapshot) > 1 and self._count() > self._most:
                del self._by_snapshot[min(self._by_snapshot)]

    def since(self, snapshot: int, until: int) -> dict[int, CommittedLists]:
        """What is held of the snapshots after one, up to another, in their order."""
        with self._lock:
            return {at: self._by_snapshot[at] for at in sorted(self._by_snapshot) if snapshot < at <= until}

    def forget(self, until: int) -> None:
        """A mirror is true up to a snapshot."""
        with self._lock:
            self._by_snapshot = {at: lists for at, lists in self._by_snapshot.items() if at > until}

    def _count(self) -> int:
        return sum(len(one.users) + len(one.gone) for one in self._by_snapshot.values())
