"""The alert of a lag: raised once, again after a recovery, at most once an hour by workers that come and go."""

from datetime import datetime
from pathlib import Path
from typing import Any

from assets.notifier import Notifier, read_alerts
from orchestration.nearline_lag import RULE, LagAlarm

NOON = datetime(2026, 1, 8, 12)


def _alarm(folder: Path, moment: datetime = NOON) -> LagAlarm:
    return LagAlarm(Notifier(folder / "alerts.jsonl", ui_url="http://ui/"), threshold_s=30, now=lambda: moment)


def _alerts(folder: Path, alarm: LagAlarm) -> list[dict[str, Any]]:
    alarm.close()
    return read_alerts(folder / "alerts.jsonl")


def test_a_lag_is_told_once_and_not_with_each_batch(tmp_path: Path) -> None:
    alarm = _alarm(tmp_path)
    raised = [alarm.observe("redis:events", lag, 7_000) for lag in (1.0, 31.0, 45.0, 29.0, 40.0)]
    assert raised == [False, True, False, False, False]
    (entry,) = _alerts(tmp_path, alarm)
    (alert,) = entry["alerts"]
    assert (alert["asset"], alert["rule"], alert["count"], alert["unit"]) == ("top_k", RULE, 31.0, "seconds")
    assert alert["samples"] == ["7,000 rows or files wait at redis:events"]
    assert entry["link"] == "http://ui/assets/top_k"


def test_after_a_recovery_it_may_be_told_again(tmp_path: Path) -> None:
    alarm = _alarm(tmp_path)
    assert [alarm.observe("landing", lag, 1) for lag in (31.0, 14.0, 31.0)] == [True, False, True]


def test_each_source_has_its_own(tmp_path: Path) -> None:
    alarm = _alarm(tmp_path)
    assert [alarm.observe(source, 31.0, 1) for source in ("landing", "redis:events")] == [True, True]
    assert len(_alerts(tmp_path, alarm)) == 2


def test_workers_that_are_started_again_tell_once_an_hour(tmp_path: Path) -> None:
    for moment in (NOON, NOON.replace(minute=59), NOON.replace(hour=13)):
        alarm = _alarm(tmp_path, moment)
        alarm.observe("landing", 31.0, 1)
        alarm.close()
    assert len(_alerts(tmp_path, alarm)) == 2
