"""The slim code location of the nearline lane: one job, one sensor, nothing heavy to import."""

from dagster import Definitions, in_process_executor

from orchestration.environment import prepare_environment
from orchestration.nearline_job import nearline_job
from orchestration.nearline_sensor import nearline_sensor
from orchestration.settings import Settings


def build_nearline_definitions(settings: Settings) -> Definitions:
    """Definitions of the sensor path of a deployment."""
    prepare_environment(settings)
    job = nearline_job(settings)
    return Definitions(jobs=[job], sensors=[nearline_sensor(settings, job)], executor=in_process_executor)
