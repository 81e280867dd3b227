"""The recommender: fitted on the past, weighed on the validation window, and fitted again on everything.

The evaluated model knows all days before the test window and none of it; the production model, which serves, has the
same settings and weights and knows all days. Both are in one artifact and one registered version.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import AssetExecutionContext, AssetKey, MaterializeResult, asset

from assets.builds import Recipe, data_as_of, recorded_build
from assets.domain import Domain
from assets.lake import Lake
from assets.model_inputs import read_catalogue, read_log
from assets.resources import ArtifactResource, DomainResource, EncoderResource, LakeResource, RegistryResource

if TYPE_CHECKING:
    from models.catalogue import Catalogue
    from models.interactions import InteractionLog
    from models.recommender import OnStage, Recommender
    from models.registry import Registry
    from models.splitting import Split

CHALLENGER = "challenger_recommender"
KIND = "recommender"
MODEL_NAME = "freshet-recommender"
EXPERIMENT = "freshet-recommender"
WEIGHED, EVALUATED, PRODUCTION = "weighed", "evaluated", "production"

RECIPES = {
    CHALLENGER: Recipe(
        "2",
        tables=("features.training_interactions", "features.item_embeddings"),
        builds=("finetuned_encoder",),
        domain_keys=("recommender", "exclude_seen", "seed", "validation_share", "test_share"),
        is_trained=True,
    ),
}


def split_of(lake: Lake, catalogue: "Catalogue", *, exclude_seen: bool) -> "Split":
    """The stored split by time over a catalogue."""
    from models.splitting import boundaries_of, split_by_time

    validation_from, test_from = boundaries_of(lake.frame("SELECT event_at, split FROM features.training_interactions"))
    log = read_log(lake, catalogue)
    return split_by_time(log, validation_from=validation_from, test_from=test_from, exclude_seen=exclude_seen)


@asset(
    deps=[AssetKey("training_interactions"), AssetKey("item_embeddings")],
    group_name="recommender",
    kinds={"pytorch", "mlflow"},
    owners=["team:ml"],
    code_version=RECIPES[CHALLENGER].code_version,
)
def challenger_recommender(
    context: AssetExecutionContext,
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
    encoder: EncoderResource,
) -> MaterializeResult[Any]:
    """One bundle: retrievers and fusion weights, fitted before the test window to be judged, on everything to serve."""
    chosen = domain.domain
    with recorded_build(lake.lake, chosen, CHALLENGER, RECIPES[CHALLENGER]) as build:
        build.as_of = data_as_of(lake.lake)
        build.snapshot = lake.lake.current_snapshot()
        fitted = fit_challenger(lake.lake, chosen, artifacts.work_folder(CHALLENGER), on_stage=_log_stage(context))
        build.version = store_recommender(fitted, artifacts)
        tags = {
            "snapshot": str(build.snapshot),
            "as_of": build.as_of.isoformat(),
            "git_revision": encoder.revision,
            "code_version": RECIPES[CHALLENGER].code_version,
        }
        # Before the build counts as done, so that a process killed here registers it in its next life.
        version = register(registry.registry(), fitted, artifacts.store.path(KIND, build.version), build.version, tags)
    artifacts.clear_work(CHALLENGER)
    return MaterializeResult(
        metadata={
            "version": build.version,
            "registered_version": version,
            "as_of": build.as_of.isoformat(),
            "snapshot": build.snapshot,
            "weights": fitted.weighed.weights,
            "seconds": fitted.weighed.seconds,
            "skipped": fitted.weighed.skipped,
            "validation_ndcg": fitted.weighed.validation_ndcg or 0.0,
        }
    )


@dataclass(frozen=True)
class FittedRecommender:
    """One recommender at three moments: each is fitted on all that was known then."""

    weighed: "Recommender"
    """Before the validation window, on which its weights were chosen."""
    evaluated: "Recommender"
    """Before the test window: as fresh for the evaluation as the one in production is for its readers."""
    production: "Recommender"
    """At the end of the data."""


def fit_challenger(lake: Lake, domain: Domain, work: Path, *, on_stage: "OnStage | None" = None) -> FittedRecommender:
    """Fit on the training split and weigh on validation; fit again before the test window, and on everything.

    Args:
        lake: With the features of the last build.
        domain: Whose hyper-parameters and seed count.
        work: Folder for training checkpoints; a killed training goes on from there.
        on_stage: Called with each finished stage and its seconds.
    """
    from models.recommender import Recommender
    from models.recommender_config import RecommenderConfig

    config = RecommenderConfig.from_dict({"exclude_seen": domain.exclude_seen, **domain.recommender})
    catalogue = read_catalogue(lake)
    split = split_of(lake, catalogue, exclude_seen=domain.exclude_seen)
    weighed = Recommender.fit(
        split.train,
        split.validation,
        catalogue,
        config,
        seed=domain.seed,
        on_stage=on_stage,
        checkpoint_folder=work / WEIGHED,
    )

    def refitted(log: "InteractionLog", name: str) -> "Recommender":
        return weighed.refit(log, catalogue, seed=domain.seed, on_stage=on_stage, checkpoint_folder=work / name)

    return FittedRecommender(weighed, refitted(split.refit, EVALUATED), refitted(read_log(lake, catalogue), PRODUCTION))


def store_recommender(fitted: FittedRecommender, artifacts: ArtifactResource) -> str:
    """Put what is evaluated and what serves into the artifact store as one artifact and return its version."""
    with artifacts.store.scratch() as folder:
        fitted.evaluated.save(folder / EVALUATED)
        fitted.production.save(folder / PRODUCTION)
        return artifacts.store.put(folder, KIND)


def register(registry: "Registry", fitted: FittedRecommender, folder: Path, version: str, tags: dict[str, str]) -> int:
    """Log the training as a run and register its artifact as `challenger`; returns the registered version."""
    import orjson
    import pandas as pd

    from models.recommender_pyfunc import RecommenderModel

    example = pd.DataFrame({"history": [orjson.dumps(fitted.production.catalogue.item_ids[:2].tolist()).decode()]})
    weighed = fitted.weighed
    with registry.run(EXPERIMENT, f"recommender {version}", fingerprint=version, tags=tags) as run:
        run.log_parameters(_flat(asdict(weighed.config)))
        run.log_metrics({f"weight_{name}": weight for name, weight in weighed.weights.items()})
        run.log_metrics({f"seconds_{name}": seconds for name, seconds in weighed.seconds.items()})
        if weighed.validation_ndcg is not None:
            run.log_metrics({"validation_ndcg": weighed.validation_ndcg})
        run.log_curve(sequence_curve(weighed))
        registered = registry.register(
            MODEL_NAME,
            folder,
            run=run,
            content_version=version,
            loader_module="models.recommender_pyfunc",
            input_example=example,
            output_example=RecommenderModel(fitted.production).predict(example),
            tags=tags,
        )
    return registered.version


def sequence_curve(recommender: "Recommender") -> list[tuple[int, Mapping[str, float]]]:
    """Loss and, where measured, validation NDCG of the sequence model by epoch; empty without that model."""
    from models.sequence_retriever import SequenceRetriever

    sequence = recommender.retrievers.get("sequence")
    if not isinstance(sequence, SequenceRetriever):
        return []
    curve: list[tuple[int, Mapping[str, float]]] = []
    for report in sequence.reports:
        measured = {} if report.ndcg is None else {"sequence_validation_ndcg": report.ndcg}
        curve.append((report.epoch, {"sequence_loss": report.loss, **measured}))
    return curve


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested settings with dotted names."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _log_stage(context: AssetExecutionContext) -> "OnStage":
    return lambda name, seconds: context.log.info(f"{name}: {seconds:.1f} s")
