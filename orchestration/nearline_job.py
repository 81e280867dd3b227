"""The run of the sensor path: the worker's own code, until everything is taken in and nothing more has come."""

import threading

from dagster import JobDefinition, OpExecutionContext, job, op

from orchestration.home import open_lake
from orchestration.nearline_lane import utc_now
from orchestration.nearline_metrics import NearlineMetrics
from orchestration.nearline_report import materialisations
from orchestration.run_coordination import LANE, LEFT, NEARLINE
from orchestration.settings import Settings

NAME = "nearline_lists"


def nearline_job(settings: Settings) -> JobDefinition:
    """The job of a home folder; it runs beside those of the batch lane, never waiting in their queue."""

    @op(name="take_in_events")
    def take_in_events(context: OpExecutionContext) -> None:
        """Lead, take in what waits, renew lists; ends at once where a worker leads."""
        # Imported in the process of the run, not in that of the sensor.
        from assets.batch_report import BatchReport
        from assets.mirrors.publishing import mirror_lists
        from orchestration.mirroring import mirror_resource
        from orchestration.nearline_assembly import build_worker

        lake, mirror = open_lake(settings), mirror_resource(settings)

        def report(batch: BatchReport) -> None:
            mirrored = mirror_lists(lake, mirror, now=utc_now())
            for made in materialisations(batch, mirrored):
                context.log_event(made)

        # Most runs bring no text, and the encoder takes longer than all the rest.
        worker = build_worker(settings, NearlineMetrics(), report=report, is_ready_for_texts=False)
        stop = threading.Event()
        if not worker.run(stop, until_idle=True, linger_s=settings.nearline_linger_s):
            context.log.info("a nearline worker leads; nothing was done")
            context.instance.add_run_tags(context.run_id, {LEFT: "to the leader"})

    @job(
        name=NAME,
        description="What has arrived is taken in, and the lists of the users it touches are renewed.",
        tags={LANE: NEARLINE},
    )
    def nearline_lists() -> None:
        take_in_events()

    return nearline_lists
