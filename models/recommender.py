"""The recommender: a bundle of fitted retrievers, the weights that fuse them, and the catalogue they are bound to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.candidates import CandidateGenerator
from models.catalogue import Catalogue
from models.content import CONTENT
from models.errors import DataError
from models.exact_products import ExactItems
from models.fusion_config import FusionConfig
from models.fusion_fitting import fit_fusion, import_for, rescaled
from models.interactions import BoolArray, FloatArray, Histories, InteractionLog, LongArray
from models.lending import Lending
from models.newcomer_fitting import NOT_FITTED, fit_for
from models.newcomers import Newcomers
from models.rank_features import ItemFacts
from models.rankers import LinearRanker, Ranker
from models.ranking_sample import RankingSample, draw_sample
from models.recommender_config import TEXT_AWARE, RecommenderConfig, new_retriever
from models.recommender_files import read_recommender, write_recommender
from models.recounts import RECOUNTED, Recounts
from models.retriever import Retriever, VectorRetriever
from models.splitting import Holdout
from models.stage_timer import OnStage as OnStage
from models.stage_timer import StageTimer
from models.vector_index import ItemIndex

SEQUENCE = "sequence"


class Recommender:
    """Fitted retrievers by name, in the order of the configuration, and their weights."""

    def __init__(self, config: RecommenderConfig, catalogue: Catalogue) -> None:
        self.config = config
        self.catalogue = catalogue
        self.retrievers: dict[str, Retriever] = {}
        self.weights: dict[str, float] = {}
        """Share of each retriever in the fused score; they add up to 1."""
        self.seconds: dict[str, float] = {}
        """Seconds that fitting each retriever and the weights took."""
        self.skipped: dict[str, str] = {}
        """Configured retrievers that were left out, and why."""
        self._exact_items: dict[str, ExactItems] = {}
        self.own_ranker: Ranker | None = None
        """What was chosen instead of the weighted sum; None where it was not."""
        self.validation_ndcg: float | None = None
        """NDCG of the fused ranking on the users that it was fitted on."""
        self.methods_compared: dict[str, float] = {}
        """NDCG of each fusion method on validation users that it was not fitted on, where one was chosen by it."""
        self.item_counts: LongArray = np.zeros(catalogue.count, dtype=np.int64)
        """Interactions of each item in the log that was seen last."""
        self.newcomers: Newcomers | None = None
        """Chances of items without interactions, where they were fitted."""
        self._lending: Lending | None = None

    @classmethod
    def fit(
        cls,
        train_log: InteractionLog,
        validation: Holdout,
        catalogue: Catalogue,
        config: RecommenderConfig,
        *,
        seed: int,
        on_stage: OnStage | None = None,
        checkpoint_folder: Path | None = None,
    ) -> Self:
        """Fit each retriever on `train_log` and the weights on `validation`.

        Args:
            train_log: Interactions before the validation window; item rows are those of `catalogue`.
            validation: What the weights are fitted on.
            catalogue: All items, with embeddings where a text-aware retriever is configured.
            config: Which retrievers, and their settings.
            seed: Of every random choice.
            on_stage: Called with the name of each finished stage and its seconds.
            checkpoint_folder: Where long trainings keep what they need to resume.

        Raises:
            DataError: there is nothing to learn from.
        """
        import_for(config.fusion.method, has_chances=config.newcomers.is_on)
        recommender = cls(config, catalogue)
        recommender._fit_retrievers(
            train_log,
            seed,
            on_stage,
            checkpoint_folder,
            {name: {"validation": validation} for name in (SEQUENCE, CONTENT)},
        )
        with StageTimer(recommender.seconds, "fusion", on_stage):
            recommender._fit_fusion(validation, seed)
        if config.newcomers.is_on:
            with StageTimer(recommender.seconds, "newcomers", on_stage):
                recommender.newcomers = fit_for(recommender, validation, seed=seed)
            if recommender.newcomers is None:
                recommender.skipped["newcomers"] = NOT_FITTED
        return recommender

    def refit(
        self,
        full_log: InteractionLog,
        catalogue: Catalogue,
        *,
        seed: int,
        on_stage: OnStage | None = None,
        checkpoint_folder: Path | None = None,
    ) -> "Recommender":
        """A recommender for production: retrievers fitted on everything, weights kept."""
        production = Recommender(self.config, catalogue)
        best_epoch = getattr(self.retrievers.get(SEQUENCE), "best_epoch", 0)
        schedule: dict[str, dict[str, Any]] = {SEQUENCE: {"epochs": best_epoch} if best_epoch else {}}
        if CONTENT in self.retrievers:
            schedule[CONTENT] = {"short_share": getattr(self.retrievers[CONTENT], "short_share", None)}
        production._fit_retrievers(full_log, seed, on_stage, checkpoint_folder, schedule)
        production.weights = rescaled({name: self.weights.get(name, 0.0) for name in production.retrievers})
        production.validation_ndcg, production.methods_compared = self.validation_ndcg, self.methods_compared
        if list(production.retrievers) == list(self.retrievers):
            production.own_ranker, production.newcomers = self.own_ranker, self.newcomers
        elif self.own_ranker is not None:
            production.skipped["fusion"] = f"{self.own_ranker.name} was fitted on other retrievers; weighted instead"
        return production

    def with_retrievers(
        self,
        retrievers: Mapping[str, Retriever],
        validation: Holdout,
        *,
        seed: int,
        fusion: FusionConfig | None = None,
    ) -> "Recommender":
        """The same catalogue with these fitted retrievers, and a fusion fitted for them: for ablations.

        Args:
            retrievers: By name, bound to the catalogue.
            validation: What the fusion is fitted on.
            seed: Of the fusion.
            fusion: Its settings; None: as they are.
        """
        other = Recommender(replace(self.config, fusion=fusion or self.config.fusion), self.catalogue)
        other.retrievers, other.item_counts = dict(retrievers), self.item_counts
        other._fit_fusion(validation, seed)
        return other

    def use_weights(self, weights: Mapping[str, float]) -> None:
        """Fuse by these weights of the retrievers instead of what was fitted."""
        self.weights, self.own_ranker = dict(weights), None

    @property
    def ranker(self) -> Ranker:
        """What makes one score of the retrievers' scores."""
        return self.own_ranker or LinearRanker(tuple(self.retrievers), self.weight_array())

    def item_facts(self) -> ItemFacts:
        """What a ranker may know of the items apart from scores."""
        content = self.retrievers.get(CONTENT)
        vectors = content.item_vectors() if isinstance(content, VectorRetriever) else None
        return ItemFacts.of(self.catalogue, self.item_counts, vectors)

    def ranking_sample(self, holdout: Holdout, *, seed: int) -> RankingSample:
        """Up to `fusion.max_users` users of a holdout with their candidates: what a fusion is fitted on."""
        return draw_sample(
            self._generator(None, frozenset()),
            tuple(self.retrievers),
            holdout,
            self.catalogue,
            self.item_facts(),
            count=self.config.fusion.max_users,
            per_retriever=self.config.candidates_per_retriever,
            exclude_seen=self.config.exclude_seen,
            seed=seed,
        )

    @property
    def is_cold(self) -> BoolArray:
        """Items without interactions, shape (items,)."""
        return np.asarray(self.item_counts == 0, dtype=bool)

    @property
    def text_aware(self) -> tuple[str, ...]:
        """Fitted retrievers that can propose a cold item."""
        return tuple(name for name in self.retrievers if name in TEXT_AWARE)

    def weight_array(self) -> FloatArray:
        """Weights in the order of `retrievers`."""
        return np.array([self.weights[name] for name in self.retrievers], dtype=np.float32)

    @property
    def silent(self) -> frozenset[str]:
        """Retrievers that lists are made without (`RecommenderConfig.silent_at_zero`)."""
        if not self.config.silent_at_zero or self.own_ranker is not None or self.newcomers is not None:
            return frozenset()
        return frozenset(name for name, weight in self.weights.items() if not weight) - {"popularity"}

    def candidate_generator(self, index: ItemIndex | None) -> CandidateGenerator:
        """Proposals for lists, through `index` where it covers a retriever and exactly elsewhere."""
        return self._generator(index, self.silent)

    def _generator(self, index: ItemIndex | None, silent: frozenset[str]) -> CandidateGenerator:
        generator = CandidateGenerator(self.retrievers, self.text_aware, index, self._exact_items, self.lending, silent)
        generator.bind(self.catalogue.item_ids)
        return generator

    @property
    def lending(self) -> Lending | None:
        """Scores for items without interactions, where their chances are known."""
        content = self.retrievers.get(CONTENT)
        if self.newcomers is None or not isinstance(content, VectorRetriever):
            return None
        if self._lending is None:
            new = np.flatnonzero(self.is_cold)
            self._lending = Lending(content.item_vectors(), ~self.is_cold, new, self.config.newcomers)
        return self._lending

    def item_vectors(self) -> dict[str, FloatArray]:
        """Item vectors by vector retriever: what an index is built from."""
        vectors = {}
        for name, retriever in self.retrievers.items():
            if isinstance(retriever, VectorRetriever):
                vectors[name] = retriever.item_vectors()
        return vectors

    def build_index(
        self, *, seed: int, histories: Histories | None = None, model_version: str = "", snapshot: int | None = None
    ) -> ItemIndex:
        """An index over all items; its recall is measured on the users of `histories` where given."""
        queries = {}
        for name, retriever in self.retrievers.items():
            if histories is not None and isinstance(retriever, VectorRetriever):
                queries[name] = retriever.user_vectors(histories)
        return ItemIndex.build(
            self.item_vectors(),
            self.catalogue.item_ids,
            config=self.config.index,
            seed=seed,
            queries=queries,
            model_version=model_version,
            snapshot=snapshot,
        )

    @property
    def recounts(self) -> Recounts:
        """What `refresh` has counted over the current log."""
        own = {name: retriever for name, retriever in self.retrievers.items() if name in RECOUNTED}
        return Recounts(own, self.item_counts)

    def refresh(self, catalogue: Catalogue, counted: InteractionLog | Recounts | None = None) -> None:
        """Bind to a changed catalogue.

        Args:
            catalogue: The items as they are now.
            counted: The current log, over which popularity and co-occurrence are counted anew, or what was counted
                over it and this catalogue before; None leaves the counts as they are.
        """
        if isinstance(counted, Recounts):
            self.retrievers.update(counted.retrievers)
        for name, retriever in self.retrievers.items():
            if isinstance(counted, InteractionLog) and name in RECOUNTED:
                retriever.fit(counted, catalogue, seed=0)
            else:
                retriever.refresh(catalogue)
        if counted is not None:
            self.item_counts = counted.item_counts
        else:
            counts = dict(zip(self.catalogue.item_ids, self.item_counts, strict=True))
            self.item_counts = np.array([counts.get(item, 0) for item in catalogue.item_ids], dtype=np.int64)
        self.catalogue, self._lending = catalogue, None

    def save(self, folder: Path) -> None:
        """Write everything needed to recommend (see `models.recommender_files`)."""
        write_recommender(self, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; seconds are not kept, so that equal models have equal files.

        Raises:
            NotFittedError: the folder holds no recommender, or one of another format.
        """
        return read_recommender(cls, folder)

    def _fit_retrievers(
        self,
        log: InteractionLog,
        seed: int,
        on_stage: OnStage | None,
        checkpoint_folder: Path | None,
        schedule: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """Fit all; `schedule` gives some of them what else they learn from, or what an earlier fit has chosen."""
        if not len(log.item_rows):
            raise DataError("there are no interactions to learn from; land an events file or run `freshet load`")
        self.item_counts = log.item_counts
        for name in self.config.retrievers:
            reason = self.config.reason_to_skip(name, self.catalogue, log)
            if reason is not None:
                self.skipped[name] = reason
                continue
            with StageTimer(self.seconds, name, on_stage):
                retriever = new_retriever(name, self.config, checkpoint_folder)
                retriever.fit(log, self.catalogue, seed=seed, **schedule.get(name, {}))
                self.retrievers[name] = retriever
        self.weights = {name: 1 / len(self.retrievers) for name in self.retrievers}

    def _fit_fusion(self, validation: Holdout, seed: int) -> None:
        fitted = fit_fusion(self.ranking_sample(validation, seed=seed), self.config.fusion, seed=seed)
        weights = fitted.wide.weights.astype(float).round(6).tolist()
        self.weights = dict(zip(self.retrievers, weights, strict=True))
        self.own_ranker = None if fitted.ranker is fitted.wide else fitted.ranker
        self.validation_ndcg, self.methods_compared = fitted.ndcg, fitted.compared
