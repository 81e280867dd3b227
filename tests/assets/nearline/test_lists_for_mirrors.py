"""What a batch holds of its lists is what a mirror would read from the lake."""

from datetime import datetime
from typing import Any

from assets.mirrors.contract import PAYLOAD, served_list
from orchestration.nearline_lane import open_lane, open_watch

NOW = datetime(2026, 1, 8, 12)
ROWS = [
    "u07,i00,purchase,2026-01-04T09:00:00Z,2",
    "u08,i05,purchase,2026-01-04T10:00:00Z,1",
    "new,i04,view,2026-01-04T10:00:00Z,",
    "passer-by,i04,purchase,2026-01-04T10:00:00Z,1",
    "passer-by,i04,cancel,2026-01-04T10:01:00Z,1",  # leaves nothing, so this user gets no list
]


def test_a_batch_tells_the_lists_that_it_has_committed(market: Any) -> None:
    lane = open_lane(market.settings, open_watch(market.settings), now=lambda: NOW)
    report = lane.process(market.delivery("a.csv", ROWS), received_at=NOW, epoch=1)
    assert report.lists is not None
    held = [served_list(one.surface, one.user_id, one.expires_at, one.payload) for one in report.lists.entries()]
    rows = market.lake.frame(
        f"SELECT surface, user_id, epoch_us(expires_at) AS expires, {PAYLOAD} AS payload FROM serving.top_k "
        "WHERE lane = 'nearline' ORDER BY user_id"
    )
    assert held == [served_list(*row) for row in rows.itertuples(index=False)]
    assert (len(held), len(report.lists.gone)) == (3, 1)
