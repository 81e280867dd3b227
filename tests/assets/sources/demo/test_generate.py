"""Same configuration, same bytes; days are independent of how many follow; dirt is counted exactly."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from assets.sources.demo.config import DemoConfig, DirtRates
from assets.sources.demo.generate import generate
from models.errors import ConfigurationError

SMALL = DemoConfig(users=150, items=120, days=7)
VERY_DIRTY = DirtRates(0.05, 0.1, 0.02, 0.02, 0.02, 0.02, 0.1, 0.02)
BROKEN_EVENTS = ("unparsable_time", "missing_user_id", "unknown_event_type", "value_not_finite")


def _bytes(landing: Path) -> dict[str, bytes]:
    return {str(path.relative_to(landing)): path.read_bytes() for path in landing.rglob("*") if path.is_file()}


@pytest.mark.parametrize("domain", ["shop", "feed", "courses"])
def test_same_configuration_gives_same_bytes(tmp_path, domain):
    config = replace(SMALL, domain=domain)
    assert generate(tmp_path / "a", config) == generate(tmp_path / "b", config)
    assert _bytes(tmp_path / "a") == _bytes(tmp_path / "b")


def test_another_seed_gives_another_market(tmp_path):
    generate(tmp_path / "a", SMALL)
    generate(tmp_path / "b", replace(SMALL, seed=8))
    a, b = _bytes(tmp_path / "a"), _bytes(tmp_path / "b")
    assert all(a[name] != b[name] for name in a.keys() & b.keys())


@pytest.mark.parametrize("domain", ["shop", "feed", "courses"])
@pytest.mark.parametrize("days_from", [1, 5])
def test_last_days_alone_equal_those_of_the_whole_run(tmp_path, domain, days_from):
    config = replace(SMALL, domain=domain, dirt=VERY_DIRTY)
    generate(tmp_path / "whole", config)
    generate(tmp_path / "rest", replace(config, days_from=days_from))
    first = str(config.day(days_from))
    assert _bytes(tmp_path / "rest") == {n: b for n, b in _bytes(tmp_path / "whole").items() if Path(n).name >= first}


@pytest.mark.parametrize("domain", ["shop", "feed", "courses"])
def test_longer_market_begins_with_the_shorter_one(tmp_path, domain):
    config = replace(SMALL, domain=domain)
    generate(tmp_path / "short", replace(config, days=4))
    generate(tmp_path / "long", config)
    longer = _bytes(tmp_path / "long")
    assert {name: longer[name] for name in _bytes(tmp_path / "short")} == _bytes(tmp_path / "short")


@pytest.mark.parametrize("domain", ["shop", "feed", "courses"])
def test_report_counts_dirt_exactly(tmp_path, read_landing, domain):
    report = generate(tmp_path, replace(SMALL, domain=domain, dirt=VERY_DIRTY))
    events, items, users = (read_landing(tmp_path / kind) for kind in ("events", "items", "users"))
    assert report.rows == {"events": len(events), "items": len(items), "users": len(users)}
    assert report.duplicates == events.duplicated().sum() > 0
    types = {"shop": ["view", "click", "cart", "purchase"], "feed": ["view", "like", "share"]}
    known = types.get(domain, ["view", "enroll", "complete"])
    is_broken = {
        "unparsable_time": pd.to_datetime(events.event_at, errors="coerce", format="ISO8601").isna(),
        "missing_user_id": events.user_id == "",
        "unknown_event_type": ~events.event_type.isin(known),
        "value_not_finite": events.value == "NaN",
    }
    assert {rule: report.broken[rule] for rule in BROKEN_EVENTS} == {r: m.sum() for r, m in is_broken.items()}
    assert sum(mask.astype(int) for mask in is_broken.values()).max() == 1
    prices = pd.to_numeric(items.get("price", pd.Series(dtype=str)))
    assert report.broken["price_negative"] == (prices < 0).sum()
    good = events[~pd.concat(is_broken, axis=1).any(axis=1)].drop_duplicates()
    assert report.good_events == len(good) == good.event_id.nunique()
    assert report.late == (good.event_at.str[:10] < good.file).sum() > 0


def test_late_events_come_within_three_days_and_the_rest_is_held_back(tmp_path, read_landing):
    config = replace(SMALL, dirt=replace(VERY_DIRTY, late=0.3))
    report = generate(tmp_path / "short", config)
    generate(tmp_path / "rest", replace(config, days=10, days_from=7))
    frame = read_landing(tmp_path / "rest" / "events").drop_duplicates("event_id")
    good = frame[frame.event_id.str.startswith("e")]
    delay = (pd.to_datetime(good.file) - pd.to_datetime(good.event_at.str[:10])).dt.days
    assert set(delay) == {0, 1, 2, 3}
    assert report.held_back == (good.event_at.str[:10] < str(config.day(7))).sum()


def test_bots_have_hundreds_of_events_a_day_and_people_do_not(tmp_path, read_landing):
    report = generate(tmp_path, replace(SMALL, days=12))
    events = read_landing(tmp_path / "events").drop_duplicates("event_id")
    good = events[events.event_id.str.startswith("e")]
    per_day = good.groupby(["user_id", good.event_at.str[:10]]).size()
    bots = per_day[per_day > 300]
    assert (len(bots), bots.sum()) == (report.bot_days, report.bot_rows)
    assert bots.index.get_level_values(0).nunique() <= report.bots == 1
    assert per_day[per_day <= 300].max() < 100


def test_a_file_is_never_seen_half_written(tmp_path, monkeypatch):
    renamed: list[tuple[str, int]] = []
    replace_file = Path.replace

    def watch(self: Path, target: Path) -> Path:
        assert self.name.startswith(".")
        assert self.suffix == ".tmp"
        assert self.parent == target.parent
        renamed.append((target.name, self.stat().st_size))
        return replace_file(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    report = generate(tmp_path, replace(SMALL, days=2))
    assert len(renamed) == len(report.files)
    assert {name: (tmp_path / name).stat().st_size for name in report.files} == dict(
        zip(report.files, (size for _, size in renamed), strict=True)
    )
    assert not list(tmp_path.rglob("*.tmp"))


def test_formats_are_mixed(tmp_path):
    names = generate(tmp_path, SMALL).files
    assert "items/2026-01-01.jsonl" in names
    assert "users/2026-01-01.csv" in names
    assert "events/2026-01-03.csv.gz" in names
    assert "events/2026-01-04.jsonl" in names


def test_progress_is_told_after_each_day(tmp_path):
    told: list[tuple[int, int]] = []
    generate(tmp_path, replace(SMALL, days=2), on_day=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"domain": "bank"}, "bank"),
        ({"users": 3}, "10 users"),
        ({"items": 0}, "50 items"),
        ({"days": 0}, "days is 0"),
        ({"days_from": 7}, "days_from 7"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_configuration_is_refused(change, message):
    with pytest.raises(ConfigurationError, match=message):
        replace(SMALL, **change)


def test_wrong_rate_is_refused():
    with pytest.raises(ConfigurationError, match=r"'late' is 0\.9"):
        DirtRates(late=0.9)
