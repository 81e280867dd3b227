import pandas as pd

from assets.lake import Lake
from assets.lake_snapshots import snapshots_from, table_id
from models.schema import ITEM_TEXTS, TOP_K

TEXTS = pd.DataFrame({"item_id": ["a"], "text": ["tea"], "text_hash": ["1"]})


def test_snapshots_say_when_they_were_made_what_they_changed_and_why(lake: Lake) -> None:
    first = lake.current_snapshot()
    lake.replace_table(ITEM_TEXTS, TEXTS, message="the first text")
    lake.write(lambda connection: connection.execute("DELETE FROM features.item_texts"), message="no text")
    with lake.connect() as connection:
        found = snapshots_from(connection, first)
        texts, lists = (table_id(connection, table.name) for table in (ITEM_TEXTS, TOP_K))
        told = connection.execute("SELECT snapshot_id, epoch_us(snapshot_time) FROM ducklake_snapshots('lake')")
        assert [(one.id, one.committed_at) for one in found] == [row for row in told.fetchall() if row[0] >= first]
        assert snapshots_from(connection, None) == found[-1:]
        assert snapshots_from(connection, first + 99) == []
    assert [one.message for one in found[1:]] == ["the first text", "no text"]
    assert [one.changes_rows_of(texts) for one in found[1:]] == [True, True]
    assert not any(one.changes_rows_of(lists) or one.changes_rows_of(None) for one in found[1:])


def test_a_table_that_is_not_there_has_no_id(lake: Lake) -> None:
    with lake.connect() as connection:
        assert table_id(connection, "no_such_table") is None
