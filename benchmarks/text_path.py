"""The text path alone: lists by the content retriever on the item vectors of one encoder."""

from landed_data import LandedData

from models.content import ContentRetriever
from models.holdout_ranking import rank_alone
from models.interactions import FloatArray, IntArray, InteractionLog
from models.recommender_config import RecommenderConfig
from models.splitting import Holdout


def rank_by_text(
    data: LandedData, train: InteractionLog, holdout: Holdout, vectors: FloatArray, *, top_k: int
) -> IntArray:
    """The first items of each user with the domain's settings, shape (users, top_k)."""
    domain, catalogue = data.domain, data.catalogue.with_embeddings(vectors)
    config = RecommenderConfig.from_dict({"exclude_seen": domain.exclude_seen, **domain.recommender})
    content = ContentRetriever(config.content)
    content.fit(train, catalogue, seed=domain.seed)
    return rank_alone(content, holdout, catalogue, top_k=top_k, exclude_seen=domain.exclude_seen)
