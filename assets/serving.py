"""The served lists: one row per surface and user, replaced in one transaction.

`publish_lists` is the one way into `serving.top_k`: the batch lane calls it for all users, the nearline lane for the
users that new events touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
from dagster import AssetKey, Config, FreshnessPolicy, MaterializeResult, asset
from pydantic import Field

from assets.builds import Recipe, built_version, data_as_of, recorded_build
from assets.champion import CHAMPION, load_champion
from assets.domain import Domain
from assets.features import HISTORY_LENGTH
from assets.index import INDEX, load_index
from assets.lake import Lake
from assets.list_blocks import write_list_block
from assets.list_table import Lane, ListFacts, replace_lists, users_ahead
from assets.mirrors.publishing import mirror_lists
from assets.model_inputs import RERANK_KEYS, rerank_rules, seconds
from assets.resources import ArtifactResource, DomainResource, LakeResource, MirrorResource
from assets.scratch import scratch_folder
from models.nearline import BuiltState, ListMaker, RebuiltDays, advance

if TYPE_CHECKING:
    from models.pipeline import RerankRules
    from models.recommender import Recommender
    from models.vector_index import ItemIndex

TOP_K = "top_k"
USERS_PER_BLOCK = 2_000
"""Users whose lists are held in memory at once."""

RECIPES = {
    TOP_K: Recipe(
        "1",
        tables=("features.user_histories", "marts.items", "marts.users", "serving.item_rules"),
        builds=(CHAMPION, INDEX),
        domain_keys=(
            "top_k",
            "surface",
            "list_ttl_hours",
            *RERANK_KEYS,
            "explore_share",
        ),
    ),
}

# Users with attributes but without interactions get a list too: the one of their segment.
_USERS = """
SELECT
    u.user_id, coalesce(h.item_ids, []) AS item_ids, coalesce(h.weights, []) AS weights,
    coalesce(h.event_ats, []) AS event_ats, coalesce(h.hidden_item_ids, []) AS hidden_item_ids, h.last_event_at,
    u.segment
FROM marts.users AS u LEFT JOIN features.user_histories AS h USING (user_id)
"""

# Lists whose user has the same history now as in the snapshot that the list was made from.
_UNCHANGED = """
SELECT l.user_id
FROM serving.top_k AS l
LEFT JOIN features.user_histories AS now USING (user_id)
LEFT JOIN (
    (SELECT NULL::VARCHAR[] AS hidden_item_ids LIMIT 0)  -- earlier versions had none
    UNION ALL BY NAME FROM features.user_histories AT (VERSION => {snapshot})
) AS before USING (user_id)
WHERE
    l.surface = ? AND l.lane = 'batch' AND l.input_snapshot = ?
    AND now.item_ids IS NOT DISTINCT FROM before.item_ids AND now.weights IS NOT DISTINCT FROM before.weights
    AND now.hidden_item_ids IS NOT DISTINCT FROM before.hidden_item_ids
"""


class TopKConfig(Config):
    """Run configuration of `top_k`."""

    scope: str = Field(
        default="all", pattern="^(all|touched)$", description="all users, or those whose history has changed"
    )


@dataclass(frozen=True)
class Server:
    """What lists are made with: champion, index and rules, loaded once and used for any number of users."""

    recommender: "Recommender"
    index: "ItemIndex"
    rules: "RerankRules"
    model_version: str
    index_version: str
    domain: Domain

    @classmethod
    def load(cls, lake: Lake, domain: Domain, artifacts: ArtifactResource) -> "Server":
        """Load what the last builds made.

        Raises:
            DataError: champion or index were never built.
        """
        # Looked up once: what is promoted meanwhile is not mixed in.
        model, index = built_version(lake, CHAMPION), built_version(lake, INDEX)
        return cls(
            recommender=load_champion(lake, artifacts.store, version=model),
            index=load_index(artifacts, index),
            rules=rerank_rules(lake, domain),
            model_version=model,
            index_version=index,
            domain=domain,
        )

    def list_facts(self, *, input_snapshot: int, as_of: datetime, lane: Lane) -> ListFacts:
        """What lists that this server makes have in common."""
        return ListFacts(
            surface=self.domain.surface,
            model_version=self.model_version,
            index_version=self.index_version,
            input_snapshot=input_snapshot,
            generated_at=as_of,
            expires_at=as_of + timedelta(hours=self.domain.list_ttl_hours),
            lane=lane,
        )

    def lists(self, histories: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
        """Lists of users: the step of all lanes, with histories that hold all events already.

        Args:
            histories: Rows of `features.user_histories`.
            as_of: Moment that the lists are for.

        Returns:
            Frame `user_id, rank, item_id, score, source, reason, contributions, propensity`.
        """
        step = advance(
            self.maker,
            BuiltState(histories),
            RebuiltDays.none(),
            users=histories["user_id"].tolist(),
            history_length=HISTORY_LENGTH,
            as_of=seconds(as_of),
        )
        return step.lists

    @property
    def maker(self) -> ListMaker:
        """What makes the lists, without names and versions."""
        return ListMaker(self.recommender, self.index, self.rules, self.domain.top_k)


@asset(
    key=TOP_K,
    deps=[AssetKey(CHAMPION), AssetKey(INDEX), AssetKey("user_histories"), AssetKey("users"), AssetKey("items")],
    group_name="serving",
    kinds={"ducklake"},
    owners=["team:ml"],
    code_version="1",
    freshness_policy=FreshnessPolicy.time_window(fail_window=timedelta(hours=48), warn_window=timedelta(hours=26)),
)
def top_k(
    config: TopKConfig,
    lake: LakeResource,
    domain: DomainResource,
    artifacts: ArtifactResource,
    mirror: MirrorResource,
) -> MaterializeResult[Any]:
    """One row per surface and user: the list, its provenance and when it expires."""
    chosen = domain.domain
    with recorded_build(lake.lake, chosen, TOP_K, RECIPES[TOP_K]) as build:
        build.as_of = data_as_of(lake.lake)
        server = Server.load(lake.lake, chosen, artifacts)
        touched = touched_users(lake.lake, server) if config.scope == "touched" else None
        build.snapshot = publish_lists(lake.lake, server, as_of=build.as_of, lane="batch", user_ids=touched)
    mirrored = mirror_lists(lake.lake, mirror, now=datetime.now(UTC).replace(tzinfo=None))
    rows = lake.lake.frame(
        "SELECT rank, count(*) AS lists, any_value(item_id) AS example_item, any_value(reason) AS example_reason "
        "FROM serving.top_k_items WHERE surface = ? AND rank <= 5 GROUP BY rank ORDER BY rank",
        [chosen.surface],
    )
    users = lake.lake.frame("SELECT count(*) AS n FROM serving.top_k WHERE surface = ?", [chosen.surface])
    return MaterializeResult(
        metadata={
            "rows": int(users["n"].iloc[0]),
            "lists_renewed": int(users["n"].iloc[0]) if touched is None else len(touched),
            "as_of": build.as_of.isoformat(),
            "model_version": server.model_version,
            "index_version": server.index_version,
            "snapshot": build.snapshot,
            **mirrored,
            "preview": rows.to_markdown(index=False),
        }
    )


def touched_users(lake: Lake, server: Server) -> list[str] | None:
    """Users whose history differs from the one that their list was made from, or who have no list.

    Lists of the nearline lane count as such: they were made from events, and their snapshots are forgotten soon.

    Returns:
        Their ids, or None for all users: when a list was made by another champion.
    """
    surface = server.domain.surface
    sql = "SELECT DISTINCT input_snapshot, model_version, lane FROM serving.top_k WHERE surface = ?"
    lists = lake.frame(sql, [surface])
    if set(lists["model_version"]) != {server.model_version}:
        return None
    fresh: list[str] = []
    for snapshot in lists.loc[lists["lane"] == "batch", "input_snapshot"].unique():
        fresh += lake.frame(_UNCHANGED.format(snapshot=int(snapshot)), [surface, int(snapshot)])["user_id"].tolist()
    return sorted(set(lake.frame("SELECT user_id FROM marts.users")["user_id"]) - set(fresh))


def publish_lists(
    lake: Lake, server: Server, *, as_of: datetime, lane: Lane, user_ids: Sequence[str] | None = None
) -> int:
    """Make and publish lists, of all users or of some, in one transaction.

    Readers see all old or all new lists. With all users, lists of users who are gone are removed. A list of the
    nearline lane that knows of events which no build of the warehouse has seen yet is left as it is: it is ahead, and
    the nearline lane makes it again with the new model.

    Args:
        lake: Where histories are read and lists written.
        server: What the lists are made with.
        as_of: Moment that the lists are for.
        lane: Who asks.
        user_ids: Only these users; those without a row in `marts.users` are left out.

    Returns:
        The snapshot written.
    """
    input_snapshot = lake.current_snapshot()
    users = read_users(lake, user_ids, snapshot=input_snapshot)
    with scratch_folder(lake.staging_path) as folder:
        for begin in range(0, len(users), USERS_PER_BLOCK):
            block = users.iloc[begin : begin + USERS_PER_BLOCK]
            write_list_block(block, server.lists(block, as_of=as_of), folder / f"{begin:09d}.parquet")
        files = str(folder / "*.parquet")
        made = server.list_facts(input_snapshot=input_snapshot, as_of=as_of, lane=lane)

        def publish(connection: duckdb.DuckDBPyConnection) -> None:
            ahead = users_ahead(connection, made.surface)
            chosen = None if user_ids is None else sorted(set(user_ids) - set(ahead))
            replace_lists(connection, made, files if len(users) else None, user_ids=chosen, kept=ahead)

        return lake.write(publish, message=f"{lane} lists of {len(users)} users").snapshot


def read_users(lake: Lake, user_ids: Sequence[str] | None = None, *, snapshot: int) -> pd.DataFrame:
    """Users of the marts with their histories in a snapshot, as rows of `features.user_histories`, by user id."""
    where, parameters = ("", []) if user_ids is None else ("WHERE u.user_id IN (SELECT unnest(?))", [list(user_ids)])
    return lake.frame(f"{_USERS} {where} ORDER BY u.user_id", parameters, snapshot=snapshot)
