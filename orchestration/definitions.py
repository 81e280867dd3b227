"""What Dagster loads: the code location of the deployment that the environment describes."""

from orchestration.code_location import build_definitions
from orchestration.settings import load_settings

defs = build_definitions(load_settings())
