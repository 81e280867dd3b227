"""The fusion that has learned nothing: every retriever has the same say."""

from copy import copy

from models.recommender import Recommender


def evenly_fused(recommender: Recommender) -> Recommender:
    """The same fitted retrievers, all weighed alike."""
    even = copy(recommender)
    even.use_weights(dict.fromkeys(recommender.retrievers, 1 / len(recommender.retrievers)))
    return even
