"""Rankers: ways to make one score of what all retrievers say, each a sum of named terms.

R(u, g) = sum over i of w_i * s_i(u) * p_i(g): each term is one entry of `terms`, so that a list can say why.
"""

from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import orjson

from models.bagging import robust_weights
from models.errors import ConfigurationError, NotFittedError
from models.fusion import ScoredCandidates, target_places
from models.fusion_config import FusionConfig
from models.interactions import PADDING, BoolArray, FloatArray, IntArray
from models.rank_features import RankContext
from models.splitting import Targets

RANKER_FILE = "ranker.json"


class Ranker(Protocol):
    """Ranks candidates. What it says of a user does not depend on the other users of the batch."""

    name: str

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the terms."""
        ...

    def narrowed(self, candidates: ScoredCandidates, keep: BoolArray) -> ScoredCandidates:
        """The candidates that are worth ranking: a cheap stage before a costly one; all where it is cheap."""
        ...

    def score(self, candidates: ScoredCandidates, context: RankContext) -> FloatArray:
        """Scores, shape (users, candidates); `-inf` on padding."""
        ...

    def contributions(self, candidates: ScoredCandidates, context: RankContext, places: IntArray) -> FloatArray:
        """Terms of the candidates at `places` (columns, shape (users, count)); shape (terms, users, count).

        They add up to the score within rounding; 0 where the place is padding.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


class LinearRanker:
    """A weighted sum of the normalised scores of the retrievers; each retriever is one term."""

    name = "weighted"

    def __init__(self, retrievers: tuple[str, ...], weights: FloatArray) -> None:
        self._retrievers = retrievers
        self.weights = np.asarray(weights, dtype=np.float32)

    @classmethod
    def fit(
        cls,
        retrievers: tuple[str, ...],
        candidates: ScoredCandidates,
        targets: Targets,
        config: FusionConfig,
        seed: int,
    ) -> Self:
        """Weights that rank the targets best (see `robust_weights`)."""
        return cls(retrievers, robust_weights(candidates, targets, config, seed=seed))

    @property
    def terms(self) -> tuple[str, ...]:
        """The retrievers."""
        return self._retrievers

    def narrowed(self, candidates: ScoredCandidates, keep: BoolArray) -> ScoredCandidates:
        """All of them: a sum is cheap."""
        return candidates

    def score(self, candidates: ScoredCandidates, context: RankContext) -> FloatArray:
        """The weighted sum."""
        return candidates.fused(self.weights)

    def contributions(self, candidates: ScoredCandidates, context: RankContext, places: IntArray) -> FloatArray:
        """Weight times normalised score of each retriever."""
        return self.weights[:, None, None] * at_places(candidates.scores, places)

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        write_facts(folder, {"name": self.name, "retrievers": self._retrievers, "weights": self.weights.tolist()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        facts = read_facts(folder)
        return cls(tuple(facts["retrievers"]), np.array(facts["weights"], dtype=np.float32))


class StackedRanker(LinearRanker):
    """A conditional logit: weights that make each target likely among its user's candidates, with L2.

    Maximises the mean over users of log softmax(w . z) at their targets (McFadden 1974). It moves with every candidate
    and not only with the first ten, so fewer users suffice; a weight may be negative. Weights are scaled to sum 1 in
    size, so that a boost means as much as with any weighted sum.
    """

    name = "stacked"

    @classmethod
    def fit(
        cls,
        retrievers: tuple[str, ...],
        candidates: ScoredCandidates,
        targets: Targets,
        config: FusionConfig,
        seed: int,
    ) -> Self:
        """Fit; convex and exact, so `seed` plays no part. All alike where no target is a candidate."""
        # Half a second to import, which whoever only serves need not wait for.
        from scipy.optimize import minimize

        places = target_places(candidates.items, targets)
        found = places >= 0
        users, columns = targets.rows[found], places[found]
        start = np.full(len(retrievers), 1 / len(retrievers))
        if not len(users):
            return cls(retrievers, start.astype(np.float32))
        is_padding = candidates.items == PADDING
        # Each user counts once: its targets share the weight of one.
        counts = np.bincount(users, minlength=len(is_padding))
        shares = (counts > 0) / (counts > 0).sum()
        at_target = candidates.scores[:, users, columns].astype(np.float64) @ (shares / np.maximum(counts, 1))[users]

        def loss(weights: Any) -> tuple[float, Any]:
            logits = np.tensordot(weights.astype(np.float32), candidates.scores, axes=1)
            logits[is_padding] = -np.inf
            top = logits.max(axis=1, keepdims=True, initial=-1e9)
            shifted = np.exp(logits - top)
            total = shifted.sum(axis=1, keepdims=True)
            chances = shifted / np.maximum(total, 1e-30) * shares[:, None]
            log_total = np.log(np.maximum(total[:, 0], 1e-30)) + top[:, 0]
            value = float(shares @ log_total - weights @ at_target + config.regularization * weights @ weights)
            slope = np.einsum("ruc,uc->r", candidates.scores, chances.astype(np.float32)).astype(np.float64)
            return value, slope - at_target + 2 * config.regularization * weights

        weights = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
        size = np.abs(weights).sum()
        return cls(retrievers, (weights / size if size > 0 else start).astype(np.float32).round(6))


class ReciprocalRankRanker:
    """Reciprocal rank fusion: the sum over retrievers of 1 / (c + rank) (Cormack, Clarke and Buettcher, SIGIR 2009).

    Nothing is fitted and no score is compared with another's. Scaled by c + 1 over the number of retrievers, so that
    a candidate which all put first scores 1.
    """

    name = "rrf"

    def __init__(self, retrievers: tuple[str, ...], constant: float) -> None:
        self._retrievers = retrievers
        self._constant = constant

    @property
    def terms(self) -> tuple[str, ...]:
        """The retrievers."""
        return self._retrievers

    def narrowed(self, candidates: ScoredCandidates, keep: BoolArray) -> ScoredCandidates:
        """All of them."""
        return candidates

    def score(self, candidates: ScoredCandidates, context: RankContext) -> FloatArray:
        """The sum of reciprocal ranks."""
        return candidates.rounded(self._reciprocal(candidates).sum(axis=0))

    def contributions(self, candidates: ScoredCandidates, context: RankContext, places: IntArray) -> FloatArray:
        """The reciprocal rank by each retriever."""
        return at_places(self._reciprocal(candidates), places)

    def save(self, folder: Path) -> None:
        """Write to `folder`."""
        write_facts(folder, {"name": self.name, "retrievers": self._retrievers, "constant": self._constant})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        facts = read_facts(folder)
        return cls(tuple(facts["retrievers"]), facts["constant"])

    def _reciprocal(self, candidates: ScoredCandidates) -> FloatArray:
        ranks = candidates.ranks()
        scale = (self._constant + 1) / len(self._retrievers)
        return np.where(ranks > 0, scale / (self._constant + ranks), 0).astype(np.float32)


def at_places(values: FloatArray, places: IntArray) -> FloatArray:
    """Values of shape (terms, users, candidates) at columns of shape (users, count); 0 where those are padding."""
    taken = np.take_along_axis(values, np.maximum(places, 0)[None], axis=2)
    return np.where(places == PADDING, 0, taken).astype(np.float32)


def load_ranker(folder: Path) -> Ranker:
    """Read a saved ranker of any kind.

    Raises:
        NotFittedError: the folder holds none.
        ConfigurationError: it is of an unknown kind.
    """
    name = read_facts(folder)["name"]
    if name == "lambdarank":
        from models.lambdarank import LambdaRanker

        return LambdaRanker.load(folder)
    kinds: dict[str, type[LinearRanker] | type[ReciprocalRankRanker]] = {
        "weighted": LinearRanker,
        "stacked": StackedRanker,
        "rrf": ReciprocalRankRanker,
    }
    if name not in kinds:
        raise ConfigurationError(f"{folder} holds a ranker {name!r}, this version knows {', '.join(kinds)}, lambdarank")
    return kinds[name].load(folder)


def read_facts(folder: Path) -> dict[str, Any]:
    """The JSON part of a saved ranker.

    Raises:
        NotFittedError: there is none.
    """
    if not (folder / RANKER_FILE).is_file():
        raise NotFittedError(f"{folder} holds no ranker ({RANKER_FILE} is missing); train again")
    facts: dict[str, Any] = orjson.loads((folder / RANKER_FILE).read_bytes())
    return facts


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Write the JSON part of a ranker."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RANKER_FILE).write_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS))
