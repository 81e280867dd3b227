"""Lists for the users of a holdout: by a whole recommender, as it serves, or by one retriever alone."""

import numpy as np

from models.catalogue import Catalogue
from models.interactions import PADDING, IntArray
from models.pipeline import rank_users
from models.ranking_sample import moment_of
from models.recommender import Recommender
from models.reranking import RerankRules
from models.retriever import Retriever
from models.splitting import Holdout
from models.top_rows import top_rows
from models.user_batches import batch_size

SEEN_LENGTH = 1_000
"""Latest interactions of a user that count as seen."""


def rank_holdout(recommender: Recommender, holdout: Holdout, rules: RerankRules, *, top_k: int) -> IntArray:
    """The lists that the recommender would serve at the boundary of the holdout.

    Args:
        recommender: Fitted without the targets, bound to the catalogue of the holdout.
        holdout: Whose users are ranked for.
        rules: What the lists obey.
        top_k: Length of the lists.

    Returns:
        Item rows, best first, shape (evaluated users, at most top_k), -1 behind the end.
    """
    if not holdout.count:
        return np.full((0, top_k), PADDING, dtype=np.int32)
    histories = holdout.histories(length=SEEN_LENGTH)
    return rank_users(recommender, None, histories, rules, top_k=top_k, as_of=moment_of(holdout)).items


def rank_alone(
    retriever: Retriever, holdout: Holdout, catalogue: Catalogue, *, top_k: int, exclude_seen: bool = True
) -> IntArray:
    """The best items by the scores of one retriever alone, over the whole catalogue.

    Args:
        retriever: Fitted without the targets.
        holdout: Whose users are ranked for.
        catalogue: Says which items are available at the boundary of the holdout.
        top_k: Length of the lists.
        exclude_seen: Leave out the items of the user's history.

    Returns:
        Item rows, best first, shape (evaluated users, at most top_k), -1 behind the end.
    """
    available = catalogue.available_at(moment_of(holdout))
    parts = [np.full((0, min(top_k, catalogue.count)), PADDING, dtype=np.int32)]
    size = batch_size(catalogue.count)
    for begin in range(0, holdout.count, size):
        histories = holdout.history.histories(holdout.user_rows[begin : begin + size], length=SEEN_LENGTH)
        excluded = np.broadcast_to(~available, (histories.count, catalogue.count))
        if exclude_seen:
            excluded = excluded | histories.seen(catalogue.count)
        scores = np.where(excluded, np.float32(-np.inf), retriever.score(histories))
        parts.append(top_rows(scores, top_k))
    return np.concatenate(parts)
