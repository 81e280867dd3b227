"""What happens once lists are published: the mirror takes them over, and a mirror in trouble stops nothing."""

import logging
from datetime import datetime

import duckdb

from assets.lake import Lake
from assets.mirrors.filling import FillReport, catch_up
from assets.resources import MirrorResource
from models.errors import FreshetError

NOT_MIRRORED = (FreshetError, duckdb.Error, OSError)
"""What may stand in the way: a store that is full or gone, a locked catalogue, a folder that cannot be written."""

_LOG = logging.getLogger(__name__)


def mirror_lists(lake: Lake, resource: MirrorResource, *, now: datetime) -> dict[str, str | int]:
    """Bring the mirror up to the lake, by what has changed since it was filled last.

    The lists are committed by now, so nothing that stands in the mirror's way is an error of their publication: readers
    see by its state that it lacks lists and turn to the lake, and whoever publishes next repairs it.

    Args:
        lake: With the lists just committed.
        resource: Which mirror.
        now: The present moment, UTC without a zone.

    Returns:
        Metadata for the Dagster UI.
    """
    try:
        report = _filled(lake, resource, now)
    except NOT_MIRRORED as error:
        _LOG.warning(
            "the mirror lacks the lists just published: %s; they are read from the lake until the next publication, or "
            "a `freshet nearline`, repairs it",
            error,
        )
        return {"mirror": f"behind: {error}"}
    if report is None:
        return {"mirror": "off"}
    return {"mirror": "whole" if report.is_whole else "changes", "mirror_lists_written": report.written}


def _filled(lake: Lake, resource: MirrorResource, now: datetime) -> FillReport | None:
    mirror = resource.open(lake)
    if mirror is None:
        return None
    try:
        return catch_up(lake, mirror, now=now)
    finally:
        mirror.close()
