"""What a search for hyper-parameters measures: NDCG@10 of a configuration on validation. It never sees the test."""

import numpy as np

from models.catalogue import Catalogue
from models.errors import ConfigurationError
from models.holdout_ranking import rank_alone, rank_holdout
from models.interactions import InteractionLog
from models.metrics import judge, mean, ndcg
from models.recommender import Recommender
from models.recommender_config import RecommenderConfig, new_retriever
from models.reranking import RerankRules
from models.search_space import FUSION
from models.splitting import Holdout

K = 10


def validation_ndcg(
    train: InteractionLog,
    validation: Holdout,
    catalogue: Catalogue,
    config: RecommenderConfig,
    *,
    target: str,
    seed: int,
) -> float:
    """Fit on `train` and measure the lists for the users of `validation`; 0 for a holdout without users.

    Args:
        train: Interactions before the validation window.
        validation: Histories and targets.
        catalogue: All items, with embeddings where a configured retriever reads text.
        config: What is measured.
        target: `fusion` for the fused lists of all retrievers, or the name of the one that is fitted alone.
        seed: Of every random choice.

    Raises:
        ConfigurationError: the one retriever cannot be fitted on this data.
        DataError: the training came to nothing.
    """
    if target == FUSION:
        fitted = Recommender.fit(train, validation, catalogue, config, seed=seed)
        ranked = rank_holdout(fitted, validation, RerankRules(exclude_seen=config.exclude_seen), top_k=K)
    else:
        if (reason := config.reason_to_skip(target, catalogue, train)) is not None:
            raise ConfigurationError(f"{target} cannot be searched here: {reason}")
        retriever = new_retriever(target, config, None)
        retriever.fit(train, catalogue, seed=seed)
        ranked = rank_alone(retriever, validation, catalogue, top_k=K, exclude_seen=config.exclude_seen)
    value = mean(ndcg(judge(ranked, validation.targets), K))
    return 0.0 if np.isnan(value) else value


def sampled(holdout: Holdout, users: int, *, seed: int) -> Holdout:
    """At most so many users of a holdout, drawn at random, in their order."""
    if holdout.count <= users:
        return holdout
    return holdout.select(np.sort(np.random.default_rng(seed).choice(holdout.count, users, replace=False)))
