"""The latest-event guard: an item that may not be shown any more leaves every list that holds it, at once.

Striking it out is one statement over the lists; the nearline lane then makes the lists that were cut anew. So an item
that is in many lists is gone from all of them in one transaction, and the work after it comes in bounded blocks.
"""

from collections.abc import Collection

import duckdb

from assets.serving import Server
from models.catalogue import Catalogue
from models.reranking import RerankRules, resolve_rules

# A list keeps its model and its moment: it is the old list without what must not be seen.
_STRUCK = """
CREATE OR REPLACE TEMP TABLE struck AS
SELECT * REPLACE (
    list_filter(items, lambda entry: NOT list_contains($items::VARCHAR[], entry.item_id)) AS items,
    'nearline' AS lane
)
FROM serving.top_k
WHERE
    surface = $surface AND list_has_any(list_transform(items, lambda entry: entry.item_id), $items::VARCHAR[])
    AND NOT list_contains($beside::VARCHAR[], user_id)
"""


def strike(
    connection: duckdb.DuckDBPyConnection, surface: str, items: Collection[str], *, beside: Collection[str] = ()
) -> tuple[str, ...]:
    """Take items out of all lists of a surface that hold one of them.

    Args:
        connection: Inside a transaction.
        surface: Whose lists.
        items: Items that may not be shown.
        beside: Users whose lists the same transaction replaces anyway.

    Returns:
        Users whose lists are shorter now and are to be made anew.
    """
    if not items:
        return ()
    values = {"surface": surface, "items": sorted(items), "beside": sorted(beside)}
    # All lists are read, which all cores are worth.
    (threads,) = connection.execute("SELECT current_setting('threads')").fetchall()[0]
    connection.execute("RESET threads")
    connection.execute(_STRUCK, values)
    connection.execute(f"SET threads = {threads}")
    users = tuple(user for (user,) in connection.execute("SELECT user_id FROM struck ORDER BY user_id").fetchall())
    if users:
        connection.execute(
            "DELETE FROM serving.top_k WHERE surface = ? AND user_id IN (SELECT user_id FROM struck)", [surface]
        )
        connection.execute("INSERT INTO serving.top_k BY NAME FROM struck")
    connection.execute("DROP TABLE struck")
    return users


def banned_items(server: Server, as_of: int) -> set[str]:
    """Items of a server's catalogue that may not be shown at a moment, seconds since 1970 UTC."""
    catalogue = server.recommender.catalogue
    return set(catalogue.item_ids[~resolve_rules(server.rules, catalogue, as_of=as_of).allowed].tolist())


def items_that_came(server: Server, since: int, until: int) -> list[str]:
    """Items of a server's catalogue that may be shown at one moment and might not at an earlier one.

    Args:
        server: With catalogue and rules as they are now.
        since: The earlier moment, seconds since 1970 UTC.
        until: The later one.
    """
    return sorted(banned_items(server, since) - banned_items(server, until))


class ShownItems:
    """Which items may be shown, and which of them ceased to be."""

    def __init__(self) -> None:
        self._allowed: set[str] | None = None
        self._of: tuple[Catalogue, RerankRules, int] | None = None
        self.banned: set[str] = set()
        """Items that may not be shown and may be in lists still."""

    def update(self, server: Server, as_of: int) -> None:
        """Compare with what may be shown now; at once where nothing that decides it has changed.

        Args:
            server: With catalogue and rules as they are now.
            as_of: Moment that lists are for, seconds since 1970 UTC.
        """
        catalogue, rules = server.recommender.catalogue, server.rules
        if self._of is not None and self._of[0] is catalogue and self._of[1] is rules and self._of[2] == as_of:
            return
        allowed = set(catalogue.item_ids[resolve_rules(rules, catalogue, as_of=as_of).allowed].tolist())
        before = set(catalogue.item_ids.tolist()) if self._allowed is None else self._allowed
        self.banned = (self.banned | before) - allowed
        self._allowed, self._of = allowed, (catalogue, rules, as_of)

    def reset(self) -> None:
        """Lists were published by others: any item that may not be shown may be in them."""
        self._allowed = self._of = None
