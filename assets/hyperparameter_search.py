"""The search for hyper-parameters as one Dagster step: trials in MLflow, a study that survives a kill, a TOML fragment.

It stands beside the lineage: it reads the features of the last build, changes no table and no model, and what it finds
takes effect when a person commits the fragment into the domain's file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dagster import Config, MetadataValue, OpExecutionContext, op

from assets.domain import Domain
from assets.lake import Lake
from assets.model_inputs import read_catalogue
from assets.recommender import split_of
from assets.resources import ArtifactResource, DomainResource, LakeResource, RegistryResource
from assets.scratch import scratch_folder

if TYPE_CHECKING:
    from models.hyperparameter_search import SearchResult
    from models.registry import Registry, RegistryRun

SEARCH = "hyperparameter_search"
EXPERIMENT = "freshet-hyperparameters"
CODE_VERSION = "1"
VALIDATION_USERS = 5_000
"""Users of the validation that a trial is measured on, at most."""


class SearchConfig(Config):
    """What one search does."""

    trials: int = 20
    """Finished trials of the study at the end, those of earlier calls included."""
    seconds: float = 0.0
    """No trial begins later than this; 0 for no limit."""
    target: str = "fusion"
    """`fusion` for all configured retrievers at once, or the one retriever that is searched alone."""


@dataclass(frozen=True)
class SearchReport:
    """A search that has come to its end or to its budget."""

    result: "SearchResult"
    fragment: str
    """TOML for the domain's file."""
    file: Path
    """Where the fragment is."""


@op(description="Trials on validation until the budget is spent; the best settings as TOML for the domain's file.")
def search_hyperparameters(
    context: OpExecutionContext,
    config: SearchConfig,
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    registry: RegistryResource,
) -> None:
    """Search the configured domain's hyper-parameters on the lineage's own split by time."""
    folder = artifacts.work_folder(SEARCH)
    report = search_domain(lake.lake, domain.domain, registry.registry(), config, folder, say=context.log.info)
    context.add_output_metadata(search_metadata(report))


def search_metadata(report: SearchReport) -> dict[str, Any]:
    """What the Dagster UI shows of a search."""
    best, start = report.result.best, report.result.start
    return {
        "trials": len(report.result.trials),
        "best_trial": best.number,
        "validation_ndcg": best.value,
        "validation_ndcg_in_force": start.value,
        "settings": MetadataValue.md(f"```toml\n{report.fragment}```"),
        "file": MetadataValue.path(str(report.file)),
    }


def search_domain(
    lake: Lake,
    domain: Domain,
    registry: "Registry",
    config: SearchConfig,
    folder: Path,
    *,
    say: Callable[[str], object] = lambda text: None,
) -> SearchReport:
    """Search on train and validation of the stored split; the test window is not read.

    Args:
        lake: With the features of the last build.
        domain: Whose configuration is the start.
        registry: Gets one run for the search and below it one for each trial.
        config: Target and budget.
        folder: Of the studies; the same data, configuration and target go on with the same study.
        say: Told of each finished trial.

    Raises:
        DataError: there is nothing to learn from, or the seconds did not suffice for one trial.
        ConfigurationError: the target cannot be searched.
        LakeLockedError: another search is at work on this study.
    """
    from models.hyperparameter_search import SearchBudget, search
    from models.recommender_config import RecommenderConfig
    from models.search_objective import sampled, validation_ndcg
    from models.search_space import space_of, toml_fragment, values_of, with_values

    base = RecommenderConfig.from_dict({"exclude_seen": domain.exclude_seen, **domain.recommender})
    space = space_of(base, config.target)
    catalogue = read_catalogue(lake)
    split = split_of(lake, catalogue, exclude_seen=domain.exclude_seen)
    train, validation = split.train, sampled(split.validation, VALIDATION_USERS, seed=domain.seed)
    key = study_key(lake, domain, {name: asdict(one) for name, one in space.items()})
    name = f"{domain.name}.{config.target}.{key}"
    snapshot = str(lake.current_snapshot())
    with registry.run(EXPERIMENT, f"search {config.target}", fingerprint=key, tags={"snapshot": snapshot}) as parent:

        def objective(number: int, values: Mapping[str, Any]) -> float:
            with registry.run(EXPERIMENT, f"trial {number}", fingerprint=key, parent=parent) as run:
                run.log_parameters(values)
                chosen = with_values(base, values)
                value = validation_ndcg(
                    train, validation, catalogue, chosen, target=config.target, seed=domain.seed
                )  # fmt: skip
                run.log_metrics({"validation_ndcg": value})
            say(f"trial {number}: NDCG@10 {value:.4f} with {json.dumps(dict(values))}")
            return value

        budget = SearchBudget(config.trials, config.seconds)
        start = values_of(base, space)
        result = search(objective, space, start, budget, storage=folder / f"{name}.journal", seed=domain.seed)
        fragment = heading(result, domain, config.target, snapshot) + toml_fragment(result.best.settings)
        _log_outcome(parent, result, fragment)
    file = folder / f"{domain.name}.{config.target}.toml"
    with scratch_folder(folder) as scratch:
        (scratch / file.name).write_text(fragment, encoding="utf-8")
        (scratch / file.name).replace(file)
    return SearchReport(result, fragment, file)


def study_key(lake: Lake, domain: Domain, space: Mapping[str, Any]) -> str:
    """Hash over all that makes values of two trials comparable: data, configuration in force, space, code."""
    tables = ("features.training_interactions", "features.item_embeddings")
    parts = [CODE_VERSION, domain.fingerprint("recommender", "exclude_seen", "seed"), json.dumps(space, sort_keys=True)]
    parts += [lake.fingerprint(table) for table in tables]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def heading(result: "SearchResult", domain: Domain, target: str, snapshot: str) -> str:
    """Comment lines above the fragment: what was measured, and what to do with it."""
    best, start = result.best, result.start
    verdict = (
        "No trial was better than the configuration in force, which is:"
        if best.number == start.number
        else f"Put these values into the tables of {domain.name}.toml, then `freshet run`."
    )
    return (
        f"# {target} of the domain {domain.name}: NDCG@10 on validation {best.value:.4f} (trial {best.number} of "
        f"{len(result.trials)}), {start.value:.4f} as configured.\n# Lake snapshot {snapshot}. {verdict}\n"
    )


def _log_outcome(run: "RegistryRun", result: "SearchResult", fragment: str) -> None:
    run.log_curve([(trial.number, {"validation_ndcg": trial.value}) for trial in result.trials])
    run.log_metrics({"best_validation_ndcg": result.best.value, "trials": len(result.trials)})
    run.log_text(fragment, "settings.toml")
