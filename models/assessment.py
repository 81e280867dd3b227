"""The whole evaluation of a challenger: against each retriever alone, against the champion, and by encoder stage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from models.cascade import StageLoss, cascade_table, measure_cascade
from models.catalogue import Catalogue
from models.content import ContentConfig, ContentRetriever
from models.errors import DataError
from models.evaluation import EvaluationResult, evaluate
from models.holdout_ranking import rank_alone, rank_holdout
from models.interactions import FloatArray, IntArray
from models.leakage import check_no_leakage
from models.plots import embedding_map, metric_bars, save_figure, slice_bars, training_curves
from models.recommender import Recommender
from models.report import ablation, comparison_table, comparisons, effects_table, metrics_table, slices_table
from models.reranking import RerankRules
from models.splitting import Holdout, Split

CHALLENGER, CHAMPION, POPULARITY, FUSION = "challenger", "champion", "popularity", "fusion"
KS = (5, 10, 20)
REPORT_FILE, FIGURES_FILE, FACTS_FILE = "report.md", "figures", "evaluation.json"


@dataclass(frozen=True)
class Assessment:
    """Evaluations on one temporal split, by model."""

    results: dict[str, EvaluationResult]
    """`challenger` as it serves, `fusion` (the same before the rules of the lists, where there are any), each of its
    retrievers by name, and `champion` where there is one; users with a history."""
    new_users: EvaluationResult
    """The challenger on users without a history, who get popularity."""
    stages: dict[str, EvaluationResult] = field(default_factory=dict)
    """The content retriever with the embeddings of each encoder stage, in order of the stages."""
    cascade: list[StageLoss] = field(default_factory=list)
    """What each stage of the challenger's ranking loses."""

    @property
    def challenger(self) -> EvaluationResult:
        """Evaluation of the challenger."""
        return self.results[CHALLENGER]

    @property
    def popularity(self) -> EvaluationResult:
        """Evaluation of popularity alone."""
        return self.results[POPULARITY]

    @property
    def champion(self) -> EvaluationResult | None:
        """Evaluation of the champion, None when there is none."""
        return self.results.get(CHAMPION)

    def flat_metrics(self) -> dict[str, float]:
        """The challenger's defined metrics and effects, for plots over time."""
        values = {name: interval.value for name, interval in self.challenger.metrics.items()} | self.challenger.effects
        return {name: value for name, value in values.items() if not math.isnan(value)}


def assess(
    challenger: Recommender,
    split: Split,
    rules: RerankRules,
    *,
    seed: int,
    champion: Recommender | None = None,
    stages: Mapping[str, FloatArray] | None = None,
    ks: Sequence[int] = KS,
    bootstrap: int = 1000,
    most_users: int | None = None,
) -> Assessment:
    """Evaluate a challenger and whatever it is compared with on the test window.

    Both recommenders first recount what is recounted daily in service (popularity, co-occurrence) on all that was
    known before the window, so that an older champion is not judged by stale counts.

    Args:
        challenger: Fitted on nothing later than the history of the test window.
        split: A split by time, numbered by the challenger's catalogue.
        rules: What the served lists obey.
        seed: Seed of the bootstrap.
        champion: The serving recommender, in the state in which it was evaluated.
        stages: Item embeddings by encoder stage, in order.
        ks: Cut-offs.
        bootstrap: Number of resamples.
        most_users: A random sample of so many users is judged where there are more, new users likewise; None: all.

    Raises:
        DataError: the split leaks, or the challenger has seen the test window.
    """
    catalogue, test, new_users = challenger.catalogue, split.test, split.new_users
    check_no_leakage(split.refit, test, catalogue=catalogue, exclude_seen=rules.exclude_seen)
    if most_users is not None:
        test, new_users = (holdout.sample(most_users, seed=seed) for holdout in (test, new_users))
    for recommender in [challenger, *([champion] if champion is not None else [])]:
        check_unseen(recommender, test)
        recommender.refresh(catalogue, test.history)

    def judged(ranked: IntArray, holdout: Holdout) -> EvaluationResult:
        return evaluate(ranked, holdout, test.history, catalogue, ks=ks, seed=seed, bootstrap=bootstrap)

    def alone(content: ContentRetriever, own: Catalogue) -> EvaluationResult:
        return judged(rank_alone(content, test, own, top_k=max(ks), exclude_seen=rules.exclude_seen), test)

    results = {CHALLENGER: judged(rank_holdout(challenger, test, rules, top_k=max(ks)), test)}
    plain = RerankRules(exclude_seen=rules.exclude_seen)
    if rules != plain:
        results[FUSION] = judged(rank_holdout(challenger, test, plain, top_k=max(ks)), test)
    for name, retriever in challenger.retrievers.items():
        ranked = rank_alone(retriever, test, catalogue, top_k=max(ks), exclude_seen=rules.exclude_seen)
        results[name] = judged(ranked, test)
    if champion is not None:
        results[CHAMPION] = judged(rank_holdout(champion, test, rules, top_k=max(ks)), test)
    by_stage = {}
    for stage, embeddings in (stages or {}).items():
        own = catalogue.with_embeddings(embeddings)
        by_stage[stage] = alone(fitted_content(own, split, challenger.config.content, seed=seed), own)
    newcomers = judged(rank_holdout(challenger, new_users, rules, top_k=max(ks)), new_users)
    cascade = measure_cascade(challenger, test, rules, top_k=max(ks), k=10, seed=seed)
    return Assessment(results, newcomers, by_stage, cascade)


def fitted_content(catalogue: Catalogue, split: Split, config: ContentConfig, *, seed: int) -> ContentRetriever:
    """A content retriever on the catalogue's embeddings."""
    content = ContentRetriever(config)
    content.fit(split.refit, catalogue, seed=seed)
    return content


def check_unseen(recommender: Recommender, holdout: Holdout) -> None:
    """Refuse a recommender that was fitted on more interactions than the history of the holdout holds.

    Raises:
        DataError: it has counted more interactions than were known, so it has seen targets.
    """
    fitted, known = int(recommender.item_counts.sum()), len(holdout.history.item_rows)
    if fitted > known:
        raise DataError(
            f"leakage: the recommender was fitted on {fitted:,} interactions, but only {known:,} were known before "
            "the test window; evaluate the model fitted before that window, not the one refitted for production"
        )


def report_markdown(assessment: Assessment, decision: str, *, seed: int, bootstrap: int = 1000) -> str:
    """The report as Markdown.

    Args:
        assessment: What was evaluated.
        decision: The gate's decision in Markdown.
        seed: Seed of the paired comparisons.
        bootstrap: Number of resamples.
    """
    results = assessment.results
    parts = [
        "# Evaluation on the global temporal split",
        f"{assessment.challenger.users:,} users with a history and {assessment.new_users.users:,} without; full "
        "ranking of the catalogue; means over users with 95 % bootstrap intervals.",
        "## Decision",
        decision,
        "## Accuracy",
        metrics_table(results),
        comparison_table(CHALLENGER, comparisons(CHALLENGER, results, seed=seed, bootstrap=bootstrap)),
        _against_best(results),
        "## Cascade",
        cascade_table(assessment.cascade, k=10) if assessment.cascade else "No user could be evaluated.",
        "## Effect on the catalogue",
        effects_table(results),
        "## Slices of the challenger",
        slices_table(assessment.challenger),
        "## New users",
        metrics_table({CHALLENGER: assessment.new_users}) if assessment.new_users.users else "There are none.",
    ]
    if assessment.stages:
        parts += ["## Encoder stages", ablation(assessment.stages, seed=seed, bootstrap=bootstrap)]
    return "\n\n".join(parts) + "\n"


def _against_best(results: Mapping[str, EvaluationResult]) -> str:
    """Whether the fusion is worth its cost, and what the rules of the lists cost, in two sentences."""
    values = {name: result.metrics["ndcg@10"].value for name, result in results.items() if name != CHAMPION}
    served = values.pop(CHALLENGER)
    fused = values.pop(FUSION, served)
    if not values or math.isnan(served):
        return "No user could be evaluated."
    best = max(values, key=lambda name: values[name])
    words = "is above" if fused > values[best] else "does NOT beat"
    return (
        f"The fusion {words} its best single retriever: {fused:.4f} against {best}'s {values[best]:.4f}. "
        f"The rules of the lists (caps, reserved places, business rules) cost {fused - served:.4f} of NDCG@10."
    )


def write_report(
    folder: Path,
    assessment: Assessment,
    catalogue: Catalogue,
    markdown: str,
    *,
    seed: int,
    curves: Mapping[str, Sequence[tuple[float, float]]] | None = None,
) -> list[Path]:
    """Write report, numbers and figures; equal evaluations give equal files.

    Returns:
        The figures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / REPORT_FILE).write_text(markdown, encoding="utf-8")
    facts = {
        "results": {name: result.to_dict() for name, result in assessment.results.items()},
        "new_users": assessment.new_users.to_dict(),
        "cascade": [asdict(stage) for stage in assessment.cascade],
        "stages": {name: result.to_dict() for name, result in assessment.stages.items()},
    }
    (folder / FACTS_FILE).write_bytes(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2))
    figures = {
        "models": metric_bars(assessment.results, ours=CHALLENGER),
        "slices": slice_bars(assessment.challenger),
    }
    if assessment.stages:
        figures["encoder_stages"] = metric_bars(assessment.stages, ours=list(assessment.stages)[-1])
    if catalogue.embeddings is not None:
        figures["item_embeddings"] = embedding_map(catalogue.embeddings, catalogue.categories, seed=seed)
    if curves:
        figures["training"] = training_curves(curves)
    return [save_figure(figure, folder / FIGURES_FILE / f"{name}.png") for name, figure in figures.items()]
