"""The search for hyper-parameters as one Dagster run in this process."""

from pathlib import Path
from typing import Any

from dagster import RunConfig

from assets.hyperparameter_search import SEARCH, SearchConfig, search_hyperparameters
from orchestration.home import open_instance, prepare_home
from orchestration.settings import Settings


def run_search(settings: Settings, *, trials: int, seconds: float, target: str) -> dict[str, Any]:
    """Run the job `hyperparameter_search` to its end.

    Args:
        settings: Where everything is.
        trials: Finished trials of the study at the end.
        seconds: No trial begins later than this; 0 for no limit.
        target: `fusion` or one retriever.

    Returns:
        The metadata of the run, the TOML under `fragment` and the run's id.

    Raises:
        FreshetError: what ended the search.
    """
    from orchestration.code_location import build_definitions

    prepare_home(settings)
    job = build_definitions(settings).resolve_job_def(SEARCH)
    step = search_hyperparameters.name
    config = RunConfig(ops={step: SearchConfig(trials=trials, seconds=seconds, target=target)})
    result = job.execute_in_process(run_config=config, instance=open_instance(settings))
    output = next(event for event in result.all_events if event.event_type_value == "STEP_OUTPUT")
    metadata = {name: entry.value for name, entry in output.step_output_data.metadata.items()}
    return {**metadata, "run_id": result.run_id, "fragment": Path(str(metadata["file"])).read_text(encoding="utf-8")}
