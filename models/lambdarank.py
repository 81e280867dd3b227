"""LambdaRank over candidates: gradient-boosted trees that move the pairs which change NDCG (Burges 2010; LightGBM).

A cascade: the weighted fusion looks at all candidates and keeps the best few, the trees rank those again. Terms are
SHAP values of the trees (Lundberg et al. 2020), which add up to the score.
"""

from pathlib import Path
from typing import Any, Self

import numpy as np

from models.boosted_trees import REPEATABLE, lightgbm, read_booster, write_booster
from models.contributions import BASE
from models.fusion import ScoredCandidates, target_places
from models.fusion_config import FusionConfig
from models.interactions import PADDING, BoolArray, FloatArray, IntArray
from models.rank_features import RankContext, feature_names, features
from models.rankers import LinearRanker, read_facts, write_facts
from models.splitting import Targets

TREES_FILE = "lambdarank.txt"


class LambdaRanker:
    """Trees over named features (see `models.rank_features`)."""

    name = "lambdarank"

    def __init__(self, wide: LinearRanker, narrow: int, booster: Any) -> None:
        self._wide = wide
        self._narrow = narrow
        self._booster = booster

    @classmethod
    def fit(
        cls,
        retrievers: tuple[str, ...],
        candidates: ScoredCandidates,
        targets: Targets,
        context: RankContext,
        config: FusionConfig,
        seed: int,
    ) -> Self:
        """Fit the wide stage, then trees on what it keeps of each user who has a target there.

        Args:
            retrievers: Names, in the order of the scores.
            candidates: Of the users to learn from.
            targets: Aligned with them.
            context: Their histories, and the facts of the items.
            config: Trees and cut-offs.
            seed: Of the wide stage and the trees.
        """
        library = lightgbm()
        wide = LinearRanker.fit(retrievers, candidates, targets, config, seed)
        kept = candidates.narrowed(candidates.fused(wide.weights), config.narrow)
        is_target = np.zeros(kept.items.shape, dtype=bool)
        places = target_places(kept.items, targets)
        is_target[targets.rows[places >= 0], places[places >= 0]] = True
        is_row = (kept.items != PADDING) & is_target.any(axis=1, keepdims=True)
        names = feature_names(retrievers)
        if not is_row.any():
            return cls(wide, config.narrow, None)
        sizes = is_row.sum(axis=1)
        data = library.Dataset(
            features(kept, context)[:, is_row].T,
            label=is_target[is_row].astype(np.int32),
            group=sizes[sizes > 0],
            feature_name=list(names),
        )
        parameters = {
            "objective": "lambdarank",
            "lambdarank_truncation_level": 2 * config.k,
            "num_leaves": config.leaves,
            "learning_rate": config.learning_rate,
            "min_data_in_leaf": config.min_leaf,
            "lambda_l2": 1.0,
            "seed": seed,
            **REPEATABLE,
        }
        return cls(wide, config.narrow, library.train(parameters, data, num_boost_round=config.trees))

    @property
    def terms(self) -> tuple[str, ...]:
        """The features, and the base."""
        return (*feature_names(self._wide.terms), BASE)

    def narrowed(self, candidates: ScoredCandidates, keep: BoolArray) -> ScoredCandidates:
        """The best by the weighted fusion, and those to be kept anyway."""
        return candidates.narrowed(candidates.fused(self._wide.weights), self._narrow, keep)

    def score(self, candidates: ScoredCandidates, context: RankContext) -> FloatArray:
        """The sum of the trees; the weighted fusion where there was nothing to learn from."""
        if self._booster is None:
            return self._wide.score(candidates, context)
        is_row = candidates.items != PADDING
        scores = np.zeros(is_row.shape, dtype=np.float32)
        if is_row.any():
            scores[is_row] = self._booster.predict(features(candidates, context)[:, is_row].T, num_threads=1)
        return candidates.rounded(scores)

    def contributions(self, candidates: ScoredCandidates, context: RankContext, places: IntArray) -> FloatArray:
        """SHAP values of each feature, and the base."""
        shape = (len(self.terms), *places.shape)
        values = np.zeros(shape, dtype=np.float32)
        if self._booster is None:
            values[: len(self._wide.terms)] = self._wide.contributions(candidates, context, places)
            return values
        is_row = places != PADDING
        if is_row.any():
            chosen = np.take_along_axis(features(candidates, context), np.maximum(places, 0)[None], axis=2)
            shap = self._booster.predict(chosen[:, is_row].T, pred_contrib=True, num_threads=1)
            values[:, is_row] = np.asarray(shap, dtype=np.float32).T
        return values

    def save(self, folder: Path) -> None:
        """Write settings and wide stage as JSON, the trees as LightGBM's text."""
        facts = {
            "name": self.name,
            "retrievers": self._wide.terms,
            "weights": self._wide.weights.tolist(),
            "narrow": self._narrow,
            "has_trees": self._booster is not None,
        }
        write_facts(folder, facts)
        if self._booster is not None:
            write_booster(self._booster, folder / TREES_FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        facts = read_facts(folder)
        wide = LinearRanker(tuple(facts["retrievers"]), np.array(facts["weights"], dtype=np.float32))
        booster = read_booster(folder / TREES_FILE) if facts["has_trees"] else None
        return cls(wide, facts["narrow"], booster)
