"""What an asset does once lists are published: the mirror takes them over, and a mirror in trouble stops nothing."""

from datetime import datetime

from assets.lake import Lake
from assets.mirrors.filling import catch_up
from assets.resources import MirrorResource
from models.errors import MirrorError


def mirror_lists(lake: Lake, resource: MirrorResource, *, now: datetime) -> dict[str, str | int]:
    """Bring the mirror up to the lake.

    A mirror that cannot be written does not undo a publication: readers see by its state that it lacks lists and turn
    to the lake, and whoever publishes next repairs it.

    Args:
        lake: With the lists just committed.
        resource: Which mirror.
        now: The present moment, UTC without a zone.

    Returns:
        Metadata for the Dagster UI.
    """
    try:
        mirror = resource.open(lake)
        if mirror is None:
            return {"mirror": "off"}
        try:
            report = catch_up(lake, mirror, now=now)
        finally:
            mirror.close()
    except MirrorError as error:
        return {"mirror": f"behind: {error}"}
    return {"mirror": "whole" if report.is_whole else "changes", "mirror_lists_written": report.written}
