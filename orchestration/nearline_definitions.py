"""What Dagster loads for the sensor path of the nearline lane, of the deployment that the environment describes."""

from orchestration.nearline_location import build_nearline_definitions
from orchestration.settings import load_settings

defs = build_nearline_definitions(load_settings())
