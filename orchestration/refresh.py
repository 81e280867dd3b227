"""`refresh`: ingest what landed, then build what is stale, group by group, as Dagster runs in this process.

One refresh at a time. Each group is one run, recorded in the instance, so that the UI shows it; a failed blocking
check ends the refresh and leaves everything downstream as it was. A refresh that was killed leaves nothing half done:
the next one cleans up after it and goes on where it stopped.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from dagster import AssetKey, Definitions
from filelock import FileLock, Timeout

from assets.builds import data_as_of, is_stale
from assets.domain import Domain, load_domain
from assets.graph import GROUPS, INGESTION, RECIPES, WAREHOUSE
from assets.ingest import unread_files
from assets.ingestion import is_domain_published
from assets.lake import Lake
from assets.pending_days import pending_days
from assets.warehouse import DIMENSIONS, FACTS, days_with_events
from models.errors import ConfigurationError, DataError, LakeLockedError
from orchestration.home import open_instance, open_lake, prepare_home
from orchestration.recovery import clean_up
from orchestration.runs import GroupRun, run_group
from orchestration.settings import Settings

Status = Literal["built", "skipped", "failed"]


@dataclass(frozen=True)
class StepReport:
    """What became of one asset, or of a group that was skipped as a whole."""

    asset: str
    group: str
    status: Status
    seconds: float
    reason: str
    """Why it was skipped or what failed; empty for one that was built."""


@dataclass(frozen=True)
class RefreshReport:
    """What a refresh did."""

    steps: tuple[StepReport, ...]
    is_ok: bool
    as_of: datetime | None
    """Time that the lists are for; None while there are no interactions."""

    run_ids: tuple[str, ...]
    """Dagster runs, one for each group that had something to build."""


def refresh(
    settings: Settings,
    *,
    groups: Collection[str] = (),
    days: tuple[date, date] | None = None,
    force: bool = False,
    on_step: Callable[[StepReport], None] | None = None,
) -> RefreshReport:
    """Bring everything, or some groups, up to date.

    Args:
        settings: Where everything is.
        groups: Only these groups; all when empty.
        days: Days of the warehouse to build whether or not they are pending: the first, and the day after the last.
        force: Build every asset of the chosen groups, stale or not.
        on_step: Told of each asset as it is built or skipped.

    Raises:
        ConfigurationError: a group does not exist.
        LakeLockedError: another refresh of this home folder is at work.
    """
    unknown = sorted(set(groups) - set(GROUPS))
    if unknown:
        raise ConfigurationError(f"no group {unknown[0]!r}; the groups are {', '.join(GROUPS)}")
    with _only_one(settings):
        prepare_home(settings)
        clean_up(settings)
        work = _Refresh(settings, days, force, on_step or (lambda step: None))
        for group in GROUPS:
            if (not groups or group in groups) and not work.has_failed:
                work.refresh_group(group)
        return work.report()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    lock = settings.root / "refresh.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as error:
        raise LakeLockedError(f"another refresh of {settings.root} is at work (it holds {lock}); let it end") from error


class _Refresh:
    """One refresh under way."""

    def __init__(
        self,
        settings: Settings,
        days: tuple[date, date] | None,
        force: bool,
        on_step: Callable[[StepReport], None],
    ) -> None:
        from orchestration.code_location import build_definitions

        self._settings = settings
        self._days = days
        self._force = force
        self._on_step = on_step
        self._lake: Lake = open_lake(settings)
        self._domain: Domain = load_domain(settings.domain)
        self._definitions: Definitions = build_definitions(settings)
        self._instance = open_instance(settings)
        self._steps: list[StepReport] = []
        self._run_ids: list[str] = []
        self.has_failed = False

    def refresh_group(self, group: str) -> None:
        """Build what is stale in one group."""
        if group == INGESTION:
            self._refresh_ingestion()
        elif group == WAREHOUSE:
            self._refresh_warehouse()
        else:
            self._refresh_recipes(group)

    def report(self) -> RefreshReport:
        """What was done so far."""
        return RefreshReport(tuple(self._steps), not self.has_failed, self._as_of(), tuple(self._run_ids))

    def _refresh_ingestion(self) -> None:
        is_current = is_domain_published(self._lake, self._domain)
        if self._force or not is_current or unread_files(self._lake, self._settings.landing_path):
            self._run(INGESTION, self._assets_of(INGESTION), None)
        else:
            self._skip(INGESTION, "the lake has all files of the landing zone")

    def _refresh_warehouse(self) -> None:
        self._require_rows()
        window = self._window()
        if window is not None:
            self._run(WAREHOUSE, self._assets_of(WAREHOUSE), window)
        elif self._is_stale(WAREHOUSE, DIMENSIONS):
            self._run(WAREHOUSE, self._assets_of(WAREHOUSE, is_partitioned=False), None)
        else:
            self._skip(WAREHOUSE, "all days are built and nothing changed in items or users")

    def _refresh_recipes(self, group: str) -> None:
        if self._as_of() is None:
            raise DataError(
                "there are no interactions, so there is nothing to recommend; `freshet status` shows what landed and "
                "`freshet quarantine list` what was refused"
            )
        stale: list[str] = []
        for asset in RECIPES[group]:
            needs = {upstream.to_user_string() for upstream in self._upstream(asset)}
            if self._force or needs & set(stale) or self._is_stale(group, asset):
                stale.append(asset)
        if not stale:
            self._skip(group, "inputs, settings and code are those of the last build")
            return
        for asset in RECIPES[group]:
            if asset not in stale:
                self._tell(StepReport(asset, group, "skipped", 0.0, "nothing changed"))
        self._run(group, [AssetKey(asset) for asset in stale], None)

    def _require_rows(self) -> None:
        """End the refresh where there is nothing to build a warehouse from."""
        landing = self._settings.landing_path
        for kind in ("events", "items"):
            if self._lake.frame(f"SELECT 1 FROM raw.{kind} LIMIT 1").empty:
                raise DataError(
                    f"the lake has no {kind}: put files (CSV, JSON lines or Parquet) into {landing / kind} and run "
                    "again; `freshet load` brings a public dataset, `freshet demo` makes one, and `freshet quarantine "
                    "list` shows rows that were refused"
                )

    def _window(self) -> tuple[date, date] | None:
        """Days to build: those asked for, all after a change of rules, else from the first pending to the last."""
        every = days_with_events(self._lake)
        if self._days is not None or every is None:
            return self._days
        if self._force or self._is_stale(WAREHOUSE, FACTS):
            return every
        pending = list(pending_days(self._lake))
        return (pending[0], pending[-1] + timedelta(days=1)) if pending else None

    def _run(self, group: str, assets: Sequence[AssetKey], window: tuple[date, date] | None) -> None:
        started = time.monotonic()
        outcome: GroupRun = run_group(
            self._definitions, self._instance, self._settings, group=group, assets=assets, window=window
        )
        self._run_ids.append(outcome.run_id)
        self.has_failed = not outcome.is_ok
        for asset, seconds in outcome.seconds.items():
            self._tell(StepReport(asset, group, "built", seconds, ""))
        for asset, reason in outcome.failures.items():
            self._tell(StepReport(asset, group, "failed", time.monotonic() - started, reason))

    def _skip(self, group: str, reason: str) -> None:
        self._tell(StepReport(group, group, "skipped", 0.0, reason))

    def _tell(self, step: StepReport) -> None:
        self._steps.append(step)
        self._on_step(step)

    def _is_stale(self, group: str, asset: str) -> bool:
        as_of = self._as_of()
        if as_of is None:
            return True
        return is_stale(
            self._lake,
            self._domain,
            asset,
            RECIPES[group][asset],
            as_of=as_of,
            settings=self._settings.encoder if group == "language_model" else "",
        )

    def _as_of(self) -> datetime | None:
        if self._lake.fingerprint("marts.interactions", where="false") == "absent":
            return None
        if self._lake.frame("FROM marts.interactions LIMIT 1").empty:
            return None
        return data_as_of(self._lake)

    def _assets_of(self, group: str, *, is_partitioned: bool | None = None) -> list[AssetKey]:
        graph = self._definitions.resolve_asset_graph()
        return [
            key
            for key in graph.get_all_asset_keys()
            if graph.get(key).group_name == group
            and graph.get(key).is_executable
            and (is_partitioned is None or graph.get(key).is_partitioned is is_partitioned)
        ]

    def _upstream(self, asset: str) -> Collection[AssetKey]:
        return self._definitions.resolve_asset_graph().get(AssetKey(asset)).parent_keys
