"""The evaluation of the challenger on the global temporal split, and the promotion that rests on it.

`evaluation_report` is one report (words, numbers, figures, decision) in the artifact store; `champion_recommender` is
the version that serves. Neither is partitioned.
"""

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from dagster import AssetKey, MaterializeResult, MetadataValue, asset

from assets.artifacts import ArtifactStore
from assets.builds import Recipe, built_version, data_as_of, last_build, recorded_build
from assets.champion import CHAMPION
from assets.domain import Domain
from assets.encoder_stages import stage_embeddings
from assets.lake import Lake
from assets.model_inputs import RERANK_KEYS, read_catalogue, rerank_rules
from assets.recommender import CHALLENGER, EVALUATED, KIND, MODEL_NAME, split_of
from assets.resources import ArtifactResource, DomainResource, EncoderResource, LakeResource, RegistryResource
from models.errors import DataError, RegistryError

if TYPE_CHECKING:
    from models.assessment import Assessment
    from models.registry import Registry
    from quality.gates import GateDecision

REPORT = "evaluation_report"
REPORT_KIND = "report"
DECISION_FILE = "decision.json"
EXPERIMENT = "freshet-evaluation"

RECIPES = {
    REPORT: Recipe(
        "1",
        builds=(CHALLENGER,),
        domain_keys=(
            *RERANK_KEYS,
            "evaluated_users",
            "seed",
        ),
    ),
    CHAMPION: Recipe("1", builds=(REPORT,)),
}


@asset(
    key=REPORT,
    deps=[AssetKey(CHALLENGER), AssetKey("item_embeddings"), AssetKey("training_interactions")],
    group_name="evaluation",
    kinds={"mlflow"},
    owners=["team:ml"],
    code_version="1",
)
def evaluation_report(
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
    encoder: EncoderResource,
) -> MaterializeResult[Any]:
    """One report: the challenger against its retrievers, the champion and the encoder's stages, and the decision."""
    with recorded_build(lake.lake, domain.domain, REPORT, RECIPES[REPORT]) as build:
        build.as_of = data_as_of(lake.lake)
        build.snapshot = lake.lake.current_snapshot()
        report = make_report(lake.lake, domain.domain, artifacts, encoder)
        build.version = report.version
        folder = artifacts.store.path(REPORT_KIND, report.version)
        log_report(registry.registry(), report, folder, {"snapshot": build.snapshot, "revision": encoder.revision})
    return MaterializeResult(metadata=report_metadata(report, folder))


@asset(
    key=CHAMPION,
    deps=[AssetKey(REPORT), AssetKey(CHALLENGER)],
    group_name="evaluation",
    kinds={"mlflow"},
    owners=["team:ml"],
    code_version="1",
)
def champion_recommender(
    lake: LakeResource, domain: DomainResource, artifacts: ArtifactResource, registry: RegistryResource
) -> MaterializeResult[Any]:
    """The recommender that serves: the challenger if the gate accepted it, else the champion as before."""
    with recorded_build(lake.lake, domain.domain, CHAMPION, RECIPES[CHAMPION]) as build:
        build.as_of = data_as_of(lake.lake)
        outcome = choose_champion(lake.lake, artifacts.store)
        if outcome.is_promoted:
            promote(registry.registry(), outcome.version)
        build.version = outcome.version
    return MaterializeResult(
        metadata={
            "version": outcome.version,
            "is_promoted": outcome.is_promoted,
            "reasons": MetadataValue.md("\n".join(f"- {reason}" for reason in outcome.reasons)),
        }
    )


@dataclass(frozen=True)
class Report:
    """A finished report in the artifact store."""

    version: str
    challenger: str
    """Version of the recommender that it is about."""
    assessment: "Assessment"
    decision: "GateDecision"
    markdown: str


@dataclass(frozen=True)
class Promotion:
    """Which recommender serves from now on, and why."""

    version: str
    is_promoted: bool
    reasons: list[str]


def make_report(lake: Lake, domain: Domain, artifacts: ArtifactResource, encoder: EncoderResource) -> Report:
    """Evaluate the challenger on the test window, decide, and store the report.

    Raises:
        DataError: the challenger was not built, or the split leaks.
    """
    from models.assessment import assess, report_markdown, write_report
    from models.recommender import Recommender
    from quality.gates import decide

    store, catalogue = artifacts.store, read_catalogue(lake)
    version = built_version(lake, CHALLENGER)
    challenger = Recommender.load(store.path(KIND, version) / EVALUATED)
    challenger.refresh(catalogue)
    champion = last_build(lake, CHAMPION)
    is_other = champion is not None and champion.version not in ("", version)
    assessment = assess(
        challenger,
        split_of(lake, catalogue, exclude_seen=domain.exclude_seen),
        rerank_rules(lake, domain),
        seed=domain.seed,
        champion=Recommender.load(store.path(KIND, champion.version) / EVALUATED) if champion and is_other else None,
        stages=stage_embeddings(lake, domain, store, encoder, catalogue),
        most_users=domain.evaluated_users,
    )
    decision = decide(assessment.challenger, assessment.popularity, assessment.champion, seed=domain.seed)
    markdown = report_markdown(assessment, decision.to_markdown(), seed=domain.seed)
    with store.scratch() as folder:
        write_report(folder, assessment, catalogue, markdown, seed=domain.seed)
        outcome = {"challenger": version, **asdict(decision)}
        (folder / DECISION_FILE).write_bytes(orjson.dumps(outcome, option=orjson.OPT_SORT_KEYS))
        stored = store.put(folder, REPORT_KIND)
    return Report(stored, version, assessment, decision, markdown)


def log_report(registry: "Registry", report: Report, folder: Path, facts: dict[str, object]) -> None:
    """Log metrics and files of a report as an MLflow run."""
    tags = {"challenger": report.challenger, "accepted": str(report.decision.accepted).lower()}
    with registry.run(EXPERIMENT, f"evaluation {report.challenger}", fingerprint=report.version, tags=tags) as run:
        run.log_parameters({"challenger": report.challenger, **facts})
        run.log_metrics({name.replace("@", "_at_"): value for name, value in report.assessment.flat_metrics().items()})
        run.log_artifact(folder)


def report_metadata(report: Report, folder: Path) -> dict[str, Any]:
    """The report as Dagster metadata: text, figures and the headline numbers."""
    challenger = report.assessment.challenger
    figures = {
        f"figure_{path.stem}": MetadataValue.md(f"![{path.stem}](data:image/png;base64,{_base64(path)})")
        for path in sorted((folder / "figures").glob("*.png"))
    }
    headline = {
        name.replace("@", "_at_"): value
        for name, value in report.assessment.flat_metrics().items()
        if name in ("ndcg@10", "recall@10", "coverage@10")
    }
    return {
        "report": MetadataValue.md(report.markdown),
        "accepted": report.decision.accepted,
        "users": challenger.users,
        "version": report.version,
        "folder": MetadataValue.path(str(folder)),
        **headline,
        **figures,
    }


def choose_champion(lake: Lake, store: ArtifactStore) -> Promotion:
    """Follow the decision of the last report.

    Raises:
        DataError: the challenger was refused and there is no champion that could go on serving.
    """
    decision = orjson.loads((store.path(REPORT_KIND, built_version(lake, REPORT)) / DECISION_FILE).read_bytes())
    if decision["accepted"]:
        return Promotion(str(decision["challenger"]), True, list(decision["reasons"]))
    champion = last_build(lake, CHAMPION)
    if champion is None or not champion.version:
        raise DataError(
            "the gate refused the first recommender, so nothing can serve: "
            f"{' '.join(decision['reasons'])} Land more data or change the domain's [recommender] table"
        )
    return Promotion(champion.version, False, list(decision["reasons"]))


def promote(registry: "Registry", version: str) -> None:
    """Point the alias `champion` to the registered version with this content.

    Raises:
        RegistryError: the registry does not know it.
    """
    known = next((found for found in registry.list_versions(MODEL_NAME) if found.content_version == version), None)
    if known is None:
        raise RegistryError(f"no registered version of {MODEL_NAME} has the content {version}; train it again")
    registry.promote(MODEL_NAME, known.version)


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
