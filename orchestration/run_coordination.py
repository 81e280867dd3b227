"""Which runs wait: those of the batch lane in Dagster's queue, those of the nearline lane not at all.

The queue is looked at every five seconds, and with a SQLite catalogue it lets one run through at a time; behind a
refresh of minutes, an event would wait for it. The lake's own lock orders their writes.
"""

from dagster import DagsterInstance, DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator  # noqa: PLC2701

LANE = "freshet/lane"
"""Tag of runs with the lane that they belong to."""
BATCH, NEARLINE = "batch", "nearline"
LEFT = "freshet/left"
"""Tag of a nearline run that did nothing, since another process led; that one may die before it has done it."""


class LaneRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """Dagster's queue, which runs of the nearline lane pass by."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Start a nearline run, or put any other in the queue, marked as one of the batch lane."""
        run = context.dagster_run
        if run.tags.get(LANE) == NEARLINE:
            self._instance.launch_run(run.run_id, context.workspace)
        else:
            self._instance.add_run_tags(run.run_id, {LANE: BATCH})
            return super().submit_run(context)
        started = self._instance.get_run_by_id(run.run_id)
        return run if started is None else started
