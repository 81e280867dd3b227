"""LightGBM: the library, what all trees here have in common, and boosters as text."""

from pathlib import Path
from typing import Any

REPEATABLE = {
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Parameters with which the same data and seed give the same trees, without a word."""


def lightgbm() -> Any:
    """The library, imported here only: on macOS it must come before torch, so recommenders call this first."""
    import lightgbm as library

    return library


def write_booster(booster: Any, file: Path) -> None:
    """Write as LightGBM's text."""
    file.write_text(booster.model_to_string(), encoding="utf-8")


def read_booster(file: Path) -> Any:
    """Read what `write_booster` wrote."""
    return lightgbm().Booster(model_str=file.read_text(encoding="utf-8"))
