"""What fresh lists are worth: the next item of each user in the test window, predicted from lists that lag behind.

The model learns from train only. Each event of the window is predicted from the user's events that a lane with a given
delay would have taken in by then: all before it, those at least a minute old, and so on; `never` knows what came before
the window. What is not known is not left out of the list either, so a stale list wastes places on items just taken.

    python benchmarks/value_of_freshness.py --data DIR --source movielens --name ml-100k
"""

import argparse
import math
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from dataset_arguments import add_dataset_arguments, load_dataset
from landed_data import LandedData
from run_facts import write_results

from models.bootstrap import bootstrap_intervals, compare_paired
from models.holdout_ranking import SEEN_LENGTH
from models.interactions import IntArray, InteractionLog, LongArray, to_seconds
from models.metrics import metrics_per_user
from models.pipeline import rank_users
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig
from models.reranking import RerankRules
from models.splitting import Targets

RESULTS = Path(__file__).parent / "results" / "nearline"
DELAYS = {"0 s": 0.0, "1 min": 60.0, "30 min": 1_800.0, "5 h": 18_000.0, "24 h": 86_400.0, "never": math.inf}
"""Seconds after which an event is in the history that lists are made from."""
K = 10
METRICS = (f"ndcg@{K}", f"recall@{K}")
WITHOUT_TEXT = ("popularity", "co_occurrence", "als", "ease", "user_knn", "sequence_linear")
DAY = 86_400


@dataclass(frozen=True)
class Events:
    """Events to predict, as positions in a log; shape (events,) each."""

    positions: LongArray
    users: LongArray
    """User row of each."""
    first: LongArray
    """Position of the user's first event."""
    before_window: LongArray
    """Position after the user's last event before the window."""

    @property
    def count(self) -> int:
        """How many."""
        return len(self.positions)


def main() -> None:
    """Fit once, predict with each delay, print the table, write it."""
    arguments = parse()
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = load_dataset(arguments, Path(folder))
        name = arguments.name or data.domain.name
        facts = {"dataset": name, **replay(data, tuple(arguments.retrievers), arguments.per_user)}
    path = RESULTS / f"value_of_freshness.{name}.json"
    write_results(path, facts, begun=begun)
    print(f"wrote {path.name}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset_arguments(parser, protocol=None)
    parser.add_argument("--retrievers", nargs="*", default=WITHOUT_TEXT)
    parser.add_argument("--per-user", type=int, default=30, help="most events of a user, spread over the window")
    return parser.parse_args()


def replay(data: LandedData, retrievers: tuple[str, ...], per_user: int) -> dict[str, Any]:
    """Accuracy of the next item by delay, over all users of the window and over parts of them."""
    split = data.split("temporal")
    config = RecommenderConfig.from_dict({"exclude_seen": data.domain.exclude_seen, **data.domain.recommender})
    config = replace(config, retrievers=retrievers)
    made = Recommender.fit(split.train, split.validation, data.catalogue, config, seed=data.domain.seed)
    test_from = int(to_seconds(pd.Series([data.times.test_from]))[0])
    events = events_of_window(data.log, test_from, per_user)
    print(f"{events.count:,} events of {len(np.unique(events.users)):,} users", flush=True)
    rules = RerankRules(exclude_seen=data.domain.exclude_seen)
    known = {name: known_until(data.log, events, delay) for name, delay in DELAYS.items()}
    values = {name: predicted(made, data.log, events, ends, rules) for name, ends in known.items()}
    is_new = events.before_window == events.first
    parts = {"all": np.ones(events.count, dtype=bool), "known before": ~is_new, "new in the window": is_new}
    rows = [
        row_of(part, name, values, events, known, chosen)
        for part, chosen in parts.items()
        if chosen.any()
        for name in DELAYS
    ]
    for row in rows:
        print(
            " ".join(f"{value:.4f}" if isinstance(value, float) else str(value) for value in row.values()), flush=True
        )
    return {
        "staleness": rows,
        "events": events.count,
        "events_per_user": per_user,
        "test_from": data.times.test_from.isoformat(),
        "config": asdict(config),
        "weights": made.weights,
    }


def events_of_window(log: InteractionLog, begin: int, per_user: int) -> Events:
    """At most `per_user` events of each user from `begin` on, spread evenly over those of the user."""
    users = log.user_rows.astype(np.int64)
    window = np.flatnonzero(log.event_ats >= begin)
    rank = np.arange(len(window)) - np.searchsorted(users[window], users[window])
    count = np.bincount(users[window], minlength=log.user_count)[users[window]]
    places = np.floor(rank * per_user / count)
    is_first = np.floor((rank - 1) * per_user / count) != places
    positions = window[(count <= per_user) | is_first | (rank == 0)].astype(np.int64)
    chosen = users[positions]
    before = np.bincount(users[log.event_ats < begin], minlength=log.user_count)
    first = log.start[chosen]
    return Events(positions, chosen, first, first + before[chosen])


def known_until(log: InteractionLog, events: Events, delay: float) -> LongArray:
    """Position after the last event of the user that is known when each event happens, shape (events,).

    Without delay that is the event itself: all before it, also those of the same second, are known.
    """
    if not delay:
        return events.positions
    if math.isinf(delay):
        return events.before_window
    moments = log.event_ats[events.positions] - int(delay)
    pairs = zip(events.first.tolist(), events.positions.tolist(), moments.tolist(), strict=True)
    ends = [first + int(np.searchsorted(log.event_ats[first:end], moment, "right")) for first, end, moment in pairs]
    # What came before the window was in the last full refresh.
    return np.maximum(np.array(ends, dtype=np.int64), events.before_window)


def predicted(
    made: Recommender, log: InteractionLog, events: Events, ends: LongArray, rules: RerankRules
) -> dict[str, npt.NDArray[np.float64]]:
    """Metrics of each event, shape (events,); lists are for the end of the event's day, as the nearline lane's are."""
    days = log.event_ats[events.positions] // DAY
    found = {name: np.full(events.count, np.nan) for name in METRICS}
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        ranked = lists_from(made, log, events.first[rows], ends[rows], rules, as_of=int(day + 1) * DAY)
        targets = Targets(np.arange(len(rows) + 1), log.item_rows[events.positions[rows]])
        for name, values in metrics_per_user(ranked, targets, (K,)).items():
            if name in found:
                found[name][rows] = values
    return found


def lists_from(
    made: Recommender, log: InteractionLog, first: LongArray, ends: LongArray, rules: RerankRules, *, as_of: int
) -> IntArray:
    """Lists from the events `first[i]:ends[i]` of a log; equal stretches are ranked once."""
    stretches, places = np.unique(np.stack([first, ends]), axis=1, return_inverse=True)
    begins, lengths = stretches[0], stretches[1] - stretches[0]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    taken = np.arange(int(start[-1])) - np.repeat(start[:-1], lengths) + np.repeat(begins, lengths)
    owners = np.searchsorted(log.start, begins, "right") - 1
    known = replace(
        log,
        user_ids=log.user_ids[owners],
        segments=log.segments[owners],
        start=start,
        item_rows=log.item_rows[taken],
        event_ats=log.event_ats[taken],
        weights=log.weights[taken],
    )
    histories = known.histories(np.arange(len(begins)), length=SEEN_LENGTH)
    return rank_users(made, None, histories, rules, top_k=K, as_of=as_of).items[places.reshape(-1)]


def row_of(
    part: str,
    name: str,
    values: dict[str, dict[str, npt.NDArray[np.float64]]],
    events: Events,
    known: dict[str, LongArray],
    chosen: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    """Means over users of their means over events, with 95 % intervals over users, and the loss against no delay."""
    users, of_event = np.unique(events.users[chosen], return_inverse=True)
    counts = np.bincount(of_event)
    row: dict[str, Any] = {"part": part, "delay": name, "delay_s": DELAYS[name] if name != "never" else None}
    row |= {"users": len(users), "events": int(chosen.sum())}
    row["mean_events_missing"] = float((events.positions - known[name])[chosen].mean())
    for metric in METRICS:
        own, fresh = (np.bincount(of_event, values[which][metric][chosen]) / counts for which in (name, "0 s"))
        interval = bootstrap_intervals(own[:, None], seed=0)[0]
        change = compare_paired(metric, own, fresh, seed=0)
        row |= {metric: interval.value, f"{metric}_low": interval.low, f"{metric}_high": interval.high}
        row |= {f"{metric}_change": change.difference, f"{metric}_change_low": change.low}
        row |= {f"{metric}_change_high": change.high}
    return row


if __name__ == "__main__":
    main()
