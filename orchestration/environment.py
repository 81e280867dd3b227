"""What must hold in the environment of every process of Freshet: telemetry off, quiet libraries, Dagster's home."""

import os

from orchestration.settings import Settings

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
}
"""Switches of the libraries' telemetry; Dagster's own is in `dagster.yaml` as well."""

_QUIET = {
    "TOKENIZERS_PARALLELISM": "false",
    "MPLBACKEND": "Agg",
    "GIT_PYTHON_REFRESH": "quiet",
    # A range of days is one event for each day and table; Dagster writes them in batches of this size.
    "DAGSTER_EVENT_BATCH_SIZE": "1000",
    # Threads of OpenBLAS beside those of implicit slow both down.
    "OPENBLAS_NUM_THREADS": "1",
}


def prepare_environment(settings: Settings) -> None:
    """Set the variables that libraries read at import; call before importing them."""
    for name, value in {**TELEMETRY_OFF, **_QUIET}.items():
        os.environ.setdefault(name, value)
    os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
    os.environ["FRESHET_HOME"] = str(settings.root)
    os.environ["FRESHET_LAKE_CATALOGUE"] = settings.lake_catalogue
    os.environ["FRESHET_PSEUDONYM_KEY"] = settings.pseudonym_key.get_secret_value()
    os.environ["FRESHET_MLFLOW_TRACKING_URI"] = settings.tracking_uri
    os.environ["FRESHET_MIRROR"] = settings.mirror.get_secret_value()
    os.environ["FRESHET_LAKE_DATA_PATH"] = str(settings.lake_data_path)
