"""Writes materialisations into Dagster's storage: one JSON object a line on stdin, one answer a line on stdout.

`python -m orchestration.nearline_report_writer`, with `DAGSTER_HOME` set. It ends with its input, thus also when the
process that started it is killed; what had been sent until then is written.
"""

import json
import signal
import sys
from typing import Any

from dagster import AssetMaterialization, DagsterInstance
from sqlalchemy.exc import SQLAlchemyError


def main() -> None:
    """Answer each line with an empty string, or with what went wrong."""
    # What is typed into the terminal ends the worker, which sends its last reports after that.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with DagsterInstance.get() as instance:
        for line in sys.stdin:
            sys.stdout.write(json.dumps(_written(instance, json.loads(line))) + "\n")
            sys.stdout.flush()


def _written(instance: DagsterInstance, made: dict[str, Any]) -> str:
    try:
        instance.report_runless_asset_event(AssetMaterialization(**made))
    except SQLAlchemyError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
