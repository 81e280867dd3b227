"""Whether a challenger may replace the champion, and why."""

import math
from dataclasses import dataclass, field

from models.evaluation import EvaluationResult, compare


@dataclass(frozen=True)
class GateRule:
    """What a challenger must show."""

    metric: str = "ndcg@10"
    """Compared by user on the temporal split."""

    coverage: str = "coverage@10"
    """Effect that must not collapse."""

    least_coverage: float = 0.5
    """Least share of the champion's coverage that the challenger must keep."""

    bootstrap: int = 1000
    """Resamples of the paired interval."""


@dataclass(frozen=True)
class GateDecision:
    """The outcome; `reasons` has one sentence for each condition that was looked at, met or not."""

    accepted: bool
    reasons: list[str] = field(default_factory=list)

    def to_markdown(self) -> str:
        """Decision and reasons as a list."""
        head = "**accepted**" if self.accepted else "**refused**"
        return "\n".join([f"Challenger {head}.", "", *(f"- {reason}" for reason in self.reasons)])


@dataclass(frozen=True)
class _Condition:
    is_met: bool
    reason: str


def decide(
    challenger: EvaluationResult,
    popularity: EvaluationResult,
    champion: EvaluationResult | None,
    *,
    seed: int,
    rule: GateRule | None = None,
) -> GateDecision:
    """Apply the promotion rule to evaluations on one and the same split.

    The challenger must beat popularity, must not be clearly worse than the champion (the paired 95 % interval lies
    below 0), and must keep a share of its coverage. The first model has no champion to face, and nothing else could
    serve in its place: it is refused only if it is clearly worse than popularity.

    Args:
        challenger: Evaluation of the new model.
        popularity: Evaluation of the popularity retriever.
        champion: Evaluation of the serving model on the same users, None when there is none.
        seed: Seed of the bootstrap.
        rule: Thresholds.

    Raises:
        DataError: the evaluations are on different users, or lack the metric.
    """
    chosen = rule or GateRule()
    if not challenger.users:
        return _without_users(champion)
    conditions = [_beats_popularity(challenger, popularity, champion is None, seed, chosen)]
    if champion is None:
        conditions.append(_Condition(True, "There is no champion yet."))
    else:
        conditions.append(_holds_against_champion(challenger, champion, seed, chosen))
        conditions.append(_keeps_coverage(challenger, champion, chosen))
    return GateDecision(all(c.is_met for c in conditions), [c.reason for c in conditions])


def _without_users(champion: EvaluationResult | None) -> GateDecision:
    if champion is None:
        reason = "No user has a target in the test window, so nothing was measured; accepted as the first model."
        return GateDecision(True, [reason])
    return GateDecision(False, ["No user has a target in the test window, so nothing was measured; champion stays."])


def _beats_popularity(
    challenger: EvaluationResult, popularity: EvaluationResult, is_first: bool, seed: int, rule: GateRule
) -> _Condition:
    gap = compare(challenger, popularity, metric=rule.metric, seed=seed, bootstrap=rule.bootstrap)
    is_met = gap.difference > 0 or (is_first and not gap.is_worse)
    relation = "above" if gap.difference > 0 else "not clearly below" if is_met else "BELOW"
    return _Condition(
        is_met,
        f"{rule.metric} is {relation} popularity: {challenger.metrics[rule.metric].value:.4f} against "
        f"{popularity.metrics[rule.metric].value:.4f} ({gap.difference:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]).",
    )


def _holds_against_champion(
    challenger: EvaluationResult, champion: EvaluationResult, seed: int, rule: GateRule
) -> _Condition:
    gap = compare(challenger, champion, metric=rule.metric, seed=seed, bootstrap=rule.bootstrap)
    words = "CLEARLY WORSE than" if gap.is_worse else "clearly better than" if gap.is_better else "not worse than"
    return _Condition(
        not gap.is_worse,
        f"{rule.metric} is {words} the champion's: {gap.difference:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] over "
        f"{gap.users:,} users (effect size {gap.effect_size:+.3f}).",
    )


def _keeps_coverage(challenger: EvaluationResult, champion: EvaluationResult, rule: GateRule) -> _Condition:
    ours, theirs = challenger.effects[rule.coverage], champion.effects[rule.coverage]
    share = ours / theirs if theirs > 0 else math.inf
    is_met = share >= rule.least_coverage
    return _Condition(
        is_met,
        f"{rule.coverage} {'holds' if is_met else 'COLLAPSES'}: {ours:.3f} against the champion's {theirs:.3f} "
        f"(at least {rule.least_coverage:.0%} of it is asked for).",
    )
