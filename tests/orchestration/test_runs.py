from datetime import date

from assets.warehouse import BUILD_FROM_TAG
from orchestration.runs import LONGEST_RANGE, RANGE_END, RANGE_START, range_tags


def test_a_range_names_its_first_and_last_day() -> None:
    tags = range_tags(date(2026, 1, 1), date(2026, 1, 4))
    assert tags == {RANGE_START: "2026-01-01", RANGE_END: "2026-01-03"}


def test_a_long_history_records_its_latest_days_and_builds_all() -> None:
    tags = range_tags(date(2002, 6, 12), date(2014, 7, 24))
    recorded = (date.fromisoformat(tags[RANGE_END]) - date.fromisoformat(tags[RANGE_START])).days + 1
    assert recorded == LONGEST_RANGE
    assert tags[BUILD_FROM_TAG] == "2002-06-12"
