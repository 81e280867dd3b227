"""The code location: assets, checks, jobs, schedules and sensors over the resources of this deployment."""

from dagster import Definitions, in_process_executor, load_assets_from_modules

from assets import evaluation, features, index, ingestion, item_statistics, language_model, recommender, serving
from assets.checks import build_checks
from assets.dbt_models import build_dbt_assets
from assets.dbt_project import require_manifest
from assets.lane_checks import both_lanes_agree, lists_equal_those_made_in_full
from assets.list_freshness import lists_follow_events_in_time
from assets.partitions import daily_partitions
from orchestration.alerts import ALERT_SENSORS
from orchestration.environment import prepare_environment
from orchestration.home import warehouse_project
from orchestration.jobs import build_jobs, build_search_job
from orchestration.resources import build_resources
from orchestration.schedules import daily_schedule, hourly_schedule, nearline_checks_schedule, weekly_schedule
from orchestration.sensors import landing_sensor, touched_users_sensor
from orchestration.settings import Settings

NEARLINE_CHECKS = (lists_follow_events_in_time, lists_equal_those_made_in_full, both_lanes_agree)
_MODULES = [ingestion, features, item_statistics, language_model, recommender, evaluation, index, serving]


def build_definitions(settings: Settings) -> Definitions:
    """Definitions of a deployment.

    Raises:
        ConfigurationError: the dbt project was not parsed yet.
    """
    prepare_environment(settings)
    jobs = build_jobs()
    manifest = require_manifest(warehouse_project(settings))
    partitions = daily_partitions(settings.first_day, settings.last_day)
    return Definitions(
        assets=[*load_assets_from_modules(_MODULES), *build_dbt_assets(manifest, partitions)],
        asset_checks=[*build_checks(), *NEARLINE_CHECKS],
        jobs=[*jobs.values(), build_search_job()],
        schedules=[
            nearline_checks_schedule(jobs["nearline_checks"]),
            daily_schedule(jobs["daily_refresh"]),
            weekly_schedule(jobs["retraining"]),
            hourly_schedule(jobs["top_k_refresh"]),
        ],
        sensors=[
            landing_sensor(jobs["landing_ingestion"]),
            touched_users_sensor(jobs["touched_refresh"]),
            *ALERT_SENSORS,
        ],
        resources=build_resources(settings),
        executor=in_process_executor,
    )
