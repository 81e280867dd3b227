"""The pages of the nearline worker, asked over HTTP as Prometheus and Docker do."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import LakeError
from orchestration.nearline_metrics import HealthServer, NearlineMetrics

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


class Pages:
    """The pages of a worker whose health is set by the test."""

    def __init__(self) -> None:
        self.metrics = NearlineMetrics()
        self.health: dict[str, Any] = {"is_well": True, "leads": False, "last_error": ""}
        self.server = HealthServer("127.0.0.1", 0, self.metrics, lambda: self.health)

    def get(self, path: str) -> tuple[int, str, str]:
        """Status, content type and text."""
        try:
            answer = urllib.request.urlopen(f"http://127.0.0.1:{self.server.port}{path}", timeout=10)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            return answer.status, answer.headers.get_content_type(), answer.read().decode()


@pytest.fixture
def pages() -> Iterator[Pages]:
    made = Pages()
    with made.server:
        yield made


def test_one_that_is_well_answers_200_whether_it_leads_or_not(pages: Pages) -> None:
    for leads in (False, True):
        pages.health["leads"] = leads
        status, kind, text = pages.get("/health")
        assert (status, kind, json.loads(text)) == (200, "application/json", pages.health)


def test_one_that_is_unwell_answers_503_with_the_reason(pages: Pages) -> None:
    pages.health |= {"is_well": False, "last_error": "the catalogue is locked"}
    status, kind, text = pages.get("/health")
    assert (status, kind) == (503, "application/json")
    assert json.loads(text)["last_error"] == "the catalogue is locked"


def test_metrics_are_for_prometheus_also_while_unwell(pages: Pages) -> None:
    pages.health["is_well"] = False
    pages.metrics.leads.set(1)
    pages.metrics.backlog("redis:events", 7)
    pages.metrics.error(LakeError("locked"))
    status, kind, text = pages.get("/metrics")
    assert (status, kind) == (200, "text/plain")
    assert {
        "freshet_nearline_leads 1.0",
        'freshet_nearline_backlog{source="redis:events"} 7.0',
        'freshet_nearline_errors_total{kind="LakeError"} 1.0',
    } <= set(text.splitlines())


def test_the_health_check_of_compose_tells_well_from_unwell(pages: Pages) -> None:
    check = yaml.safe_load(COMPOSE.read_text())["services"]["nearline"]["healthcheck"]
    kind, program, *words = (word.replace("9464", str(pages.server.port)) for word in check["test"])
    assert (kind, program) == ("CMD", "python")

    def passes() -> bool:
        return subprocess.run([sys.executable, *words], capture_output=True, check=False).returncode == 0

    assert passes()
    pages.health["is_well"] = False
    assert not passes()
