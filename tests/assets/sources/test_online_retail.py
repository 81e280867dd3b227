"""Invoice lines with all their dirt, made up and real."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from assets.domain import load_domain
from assets.ingest import IngestReport, ingest_landing
from assets.lake import Lake
from assets.landing_zone import LandingZone
from assets.sources.online_retail import load

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LINES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,France
1,85123A,LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,France
1,85123A,LANTERN ,7,2010-12-01 08:26:00,2.65,17850.0,France
C2,85123A,LANTERN,-2,2010-12-02 08:26:00,2.55,17850.0,Spain
3,85123A,damaged,-9,2010-12-03 08:26:00,0.0,,Spain
4,POST,POSTAGE,1,2010-12-03 08:26:00,18.0,17850.0,Spain
5,85123A,LANTERN,-1,2010-12-03 08:26:00,2.55,17850.0,Spain
"""


def ingest(lake: Lake, zone: LandingZone) -> IngestReport:
    return ingest_landing(lake, zone.folder, load_domain("online-retail"), "k", received_at=NOW, settle_seconds=60)


def test_each_kind_of_dirt_is_told_apart(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "lines.csv").write_text(LINES)
    zone = LandingZone(tmp_path / "landing")

    assert load(tmp_path / "lines.csv", zone).rows == {"events": 7, "items": 2, "users": 1}
    events, items, _ = ingest(lake, zone).files

    assert (events.rows_in, events.rows_accepted, events.rows_duplicate) == (7, 3, 1)
    assert events.quarantined_by_rule == {"item_id_mismatch": 1, "missing_user_id": 1, "quantity_not_positive": 1}
    assert items.quarantined_by_rule == {"item_id_mismatch": 1}
    kept = lake.frame("SELECT event_type, value, session_id FROM raw.events ORDER BY source_order")
    assert kept.to_numpy().tolist() == [["purchase", 6, "1"], ["purchase", 7, "1"], ["cancel", 2, "C2"]]
    assert lake.frame("SELECT title, price FROM raw.items").to_numpy().tolist() == [["LANTERN", 2.55]]
    assert lake.frame("SELECT region FROM raw.users")["region"].tolist() == ["Spain"]


@pytest.mark.slow
def test_all_real_lines_are_accounted_for(lake: Lake, shared_data: Path, tmp_path: Path) -> None:
    zone = LandingZone(tmp_path / "landing")

    landed = load(shared_data / "online-retail-uci", zone).rows["events"]
    events = ingest(lake, zone).files[0]

    assert landed == events.rows_in == 541_909
    assert events.quarantined_by_rule == {"missing_user_id": 135_080, "item_id_mismatch": 1_920}
    assert (events.rows_accepted, events.rows_duplicate) == (399_689, 5_220)


def test_a_sample_of_the_real_lines(lake: Lake, shared_data: Path, tmp_path: Path) -> None:
    whole = pq.ParquetFile(shared_data / "online-retail-uci" / "interactions.parquet")
    sample = next(whole.iter_batches(5_000))
    with pq.ParquetWriter(tmp_path / "lines.parquet", sample.schema) as writer:
        writer.write_batch(sample)
    zone = LandingZone(tmp_path / "landing")
    load(tmp_path / "lines.parquet", zone)

    events = ingest(lake, zone).files[0]

    rows = sample.to_pandas()
    assert events.rows_in == 5_000
    assert events.quarantined_by_rule["missing_user_id"] == rows["CustomerID"].isna().sum()
    cancelled = rows["InvoiceNo"].str.startswith("C") & rows["CustomerID"].notna() & ~rows["StockCode"].isin(["D", "M"])
    assert lake.frame("SELECT count(*) AS n FROM raw.events WHERE event_type = 'cancel'")["n"][0] == len(
        rows[cancelled].drop_duplicates()
    )
