"""Which dataset a benchmark runs on: the options that they share, and the dataset that these name."""

import argparse
from pathlib import Path

from landed_data import LOADERS, LandedData, build_home, open_home

PROTOCOLS = ("leave-one-out", "temporal", "temporal-last")


def add_dataset_arguments(
    parser: argparse.ArgumentParser, *, protocol: str | None = "leave-one-out", tie_order: str = "position"
) -> None:
    """Add `--data`, `--source`, `--tie-order`, `--missing-times` and `--name`, and `--protocol` unless it is None."""
    parser.add_argument("--data", type=Path, required=True, help="a Freshet home, or with --source a raw folder")
    parser.add_argument("--source", choices=sorted(LOADERS), help="load DATA as this source into a temporary home")
    if protocol is not None:
        parser.add_argument("--protocol", choices=PROTOCOLS, default=protocol)
    parser.add_argument("--tie-order", choices=("position", "p5_position"), default=tie_order)
    parser.add_argument(
        "--missing-times",
        choices=("refuse", "quarantine", "interpolate"),
        default="refuse",
        help="movielens: rows without a time; interpolate keeps their known order",
    )
    parser.add_argument("--name", help="name of the dataset in the result's file; default: the domain's")


def load_dataset(arguments: argparse.Namespace, scratch: Path) -> LandedData:
    """The dataset, from a home whose domain FRESHET_DOMAIN names, or from its raw files by way of a home in scratch."""
    if arguments.source is None:
        return open_home(arguments.data)
    return build_home(
        arguments.source,
        arguments.data,
        scratch / "home",
        arguments.tie_order,
        missing_times=arguments.missing_times,
    )


def dataset_file(arguments: argparse.Namespace, data: LandedData, suffix: str = ".json") -> str:
    """Name of a results file: dataset, protocol, and the order of ties where the source has several."""
    parts = [arguments.name or data.domain.name, arguments.protocol]
    parts += [arguments.tie_order] if data.domain.name == "amazon-reviews" else []
    return ".".join(parts) + suffix
