"""What a fusion is fitted and judged on: users of a holdout, their candidates, and what they took next."""

from dataclasses import dataclass, replace

import numpy as np

from models.candidates import CandidateGenerator, CandidateRequest
from models.catalogue import Catalogue
from models.fusion import ScoredCandidates
from models.interactions import PADDING, LongArray
from models.rank_features import ItemFacts, RankContext
from models.splitting import Holdout, Targets
from models.user_batches import batch_size

SEEN_LENGTH = 1_000
"""Latest interactions of a user that count as seen."""


@dataclass(frozen=True)
class RankingSample:
    """Users, what all retrievers say to them, and what they took next."""

    retrievers: tuple[str, ...]
    candidates: ScoredCandidates
    targets: Targets
    context: RankContext

    @property
    def count(self) -> int:
        """Number of users."""
        return self.targets.count

    def of_users(self, users: LongArray) -> "RankingSample":
        """The same for some of the users."""
        return RankingSample(
            self.retrievers,
            self.candidates.of_users(users),
            _select(self.targets, users),
            replace(self.context, histories=self.context.histories.of_users(users)),
        )


def draw_sample(
    generator: CandidateGenerator,
    retrievers: tuple[str, ...],
    holdout: Holdout,
    catalogue: Catalogue,
    facts: ItemFacts,
    *,
    count: int,
    per_retriever: int,
    exclude_seen: bool,
    seed: int,
) -> RankingSample:
    """Up to `count` users of a holdout, drawn with `seed`, with their candidates.

    Args:
        generator: Asks the retrievers for proposals, `per_retriever` of each.
        retrievers: Their names.
        holdout: Whose users and targets.
        catalogue: Says which items were available at the boundary; all where there is none.
        facts: What a ranker may know of the items.
        count: Most users.
        per_retriever: Proposals of each retriever for each user.
        exclude_seen: Whether items of the history are left out.
        seed: Of the draw.
    """
    rng = np.random.default_rng(seed)
    count = min(count, holdout.count)
    chosen = np.sort(rng.choice(holdout.count, count, replace=False)) if count else np.zeros(0, dtype=np.int64)
    available, none = holdout.available(catalogue), np.zeros(0, dtype=np.int32)
    request = CandidateRequest(per_retriever, available, exclude_seen, extra_rows=none, cold_rows=none)
    histories, size = (
        holdout.history.histories(holdout.user_rows[chosen], length=SEEN_LENGTH),
        batch_size(catalogue.count),
    )
    parts = [
        generator.score(histories.of_users(slice(begin, begin + size)), request) for begin in range(0, count, size)
    ]
    return RankingSample(
        retrievers,
        _joined(parts, len(retrievers)),
        _select(holdout.targets, chosen),
        RankContext(histories, facts, moment_of(holdout)),
    )


def moment_of(holdout: Holdout) -> int:
    """When the lists are made: the boundary, or one second after the last known event where there is none."""
    if holdout.boundary is not None:
        return holdout.boundary
    return int(holdout.history.event_ats.max(initial=0)) + 1


def _select(targets: Targets, users: LongArray) -> Targets:
    """Targets of some of the users, in the given order."""
    lengths = targets.lengths[users]
    parts = [targets.item_rows[targets.start[user] : targets.start[user + 1]] for user in users]
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    return Targets(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), rows)


def _joined(parts: list[ScoredCandidates], retriever_count: int) -> ScoredCandidates:
    """Batches of different widths as one."""
    users, width = sum(len(part.items) for part in parts), max((part.items.shape[1] for part in parts), default=1)
    items = np.full((users, width), PADDING, dtype=np.int32)
    scores = np.zeros((retriever_count, users, width), dtype=np.float32)
    begin = 0
    for part in parts:
        end = begin + len(part.items)
        items[begin:end, : part.items.shape[1]] = part.items
        scores[:, begin:end, : part.items.shape[1]] = part.scores
        begin = end
    return ScoredCandidates(items, scores)
