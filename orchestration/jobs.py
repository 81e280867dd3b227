"""Jobs: parts of the asset graph that are run together, under names that say what comes out.

Runs of a schedule or sensor go through the queue, one at a time where the catalogue is SQLite.
"""

from typing import Any

from dagster import (
    AssetCheckKey,
    AssetKey,
    AssetSelection,
    Backoff,
    JobDefinition,
    RetryPolicy,
    RunConfig,
    define_asset_job,
    job,
)
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets import delta_check, list_freshness, skew_check
from assets.champion import CHAMPION
from assets.evaluation import REPORT
from assets.graph import FEATURES, INGESTION, SERVING, WAREHOUSE
from assets.hyperparameter_search import SEARCH, search_hyperparameters
from assets.index import INDEX
from assets.language_model import EMBEDDINGS, FINETUNED, PRETRAINED
from assets.recommender import CHALLENGER
from assets.serving import TOP_K, TopKConfig

RETRY_LOCKED = RetryPolicy(max_retries=3, delay=5, backoff=Backoff.EXPONENTIAL)
"""For steps that another writer can hold up. `retraining` is not retried: it would only fail again, hours later, and a
run that is started anew goes on from the last checkpoint."""

TOUCHED = RunConfig(ops={TOP_K: TopKConfig(scope="touched")})
"""Renews the lists of touched users only. A run that a sensor asks for takes nothing of its job: give it this."""

_NEARLINE_CHECKS = (list_freshness.CHECK, delta_check.CHECK, skew_check.CHECK)
_TRAINED = AssetSelection.assets(PRETRAINED, FINETUNED, CHALLENGER, REPORT, CHAMPION)
_AFTER_TRAINING = AssetSelection.assets(EMBEDDINGS, INDEX, TOP_K)
_FRESH = AssetSelection.groups(FEATURES, SERVING) | AssetSelection.assets(EMBEDDINGS, INDEX)


def build_jobs() -> dict[str, UnresolvedAssetJobDefinition]:
    """All jobs by name."""
    jobs = (
        _job(
            "daily_refresh",
            "Everything but training: what landed is ingested, a day is built, all lists are renewed.",
            AssetSelection.groups(INGESTION, WAREHOUSE) | _FRESH,
        ),
        _job(
            "retraining",
            "Encoder and recommender are trained anew, evaluated, promoted if the gate accepts, and serve.",
            _TRAINED | _AFTER_TRAINING,
            retry=None,
        ),
        _job("top_k_refresh", "All lists are renewed from the marts as they are.", _FRESH),
        _job(
            "nearline_checks",
            "The checks of the nearline lane: freshness of its lists, delta equals full, both lanes agree.",
            AssetSelection.checks(*(AssetCheckKey(AssetKey(TOP_K), check) for check in _NEARLINE_CHECKS)),
        ),
        _job("landing_ingestion", "What landed is ingested.", AssetSelection.groups(INGESTION)),
        _job(
            "touched_refresh",
            "Days with new events are built, and the lists of the users they touch are renewed.",
            AssetSelection.groups(WAREHOUSE) | _FRESH,
            config=TOUCHED,
        ),
    )
    return {job.name: job for job in jobs}


def build_search_job() -> JobDefinition:
    """The search for hyper-parameters; no schedule starts it, and no asset follows from it."""

    @job(
        name=SEARCH,
        description="Hyper-parameters are searched on validation, each trial a run in MLflow; goes on where it ended.",
        tags={"freshet/job": SEARCH},
    )
    def hyperparameter_search() -> None:
        search_hyperparameters()

    return hyperparameter_search


def _job(
    name: str,
    description: str,
    selection: AssetSelection,
    retry: RetryPolicy | None = RETRY_LOCKED,
    **options: Any,
) -> UnresolvedAssetJobDefinition:
    tags = {"freshet/job": name}
    return define_asset_job(name, selection, description=description, tags=tags, op_retry_policy=retry, **options)
