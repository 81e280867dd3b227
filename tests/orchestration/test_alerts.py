import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest

from assets.notifier import Notifier, read_alerts
from models.errors import ConfigurationError
from orchestration.alerts import alert_for_run, alert_on_failure, alert_on_warning


def definitions(*, error_passes: bool = True, warning_passes: bool = True, breaks: bool = False) -> dg.Definitions:
    """`upper` with a blocking check and a warning, and `lower` after it."""

    @dg.asset
    def upper() -> None:
        if breaks:
            raise ValueError("no space left on device")

    @dg.asset(deps=[upper])
    def lower() -> None: ...

    specs = [
        dg.AssetCheckSpec("ids_are_unique", asset="upper", blocking=True),
        dg.AssetCheckSpec("rate_is_low", asset="upper"),
    ]

    @dg.multi_asset_check(specs=specs)
    def checks() -> Iterator[dg.AssetCheckResult]:
        metadata = {
            "unexpected": 31,
            "sample": dg.MetadataValue.json(["event_id=e1", "event_id=e2"]),
            "what_must_hold": "Ids never repeat.",
        }
        yield dg.AssetCheckResult(
            passed=error_passes, asset_key="upper", check_name="ids_are_unique", metadata=metadata
        )
        yield dg.AssetCheckResult(
            passed=warning_passes, asset_key="upper", check_name="rate_is_low", severity=dg.AssetCheckSeverity.WARN
        )

    return dg.Definitions(assets=[upper, lower], asset_checks=[checks])


def run(instance: dg.DagsterInstance, made: dg.Definitions) -> dg.ExecuteInProcessResult:
    return made.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance, raise_on_error=False)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def notifier(tmp_path: Path) -> Notifier:
    return Notifier(tmp_path / "alerts.jsonl", ui_url="http://ui")


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real HTTP server on this machine, its address for Apprise, and what it received."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"json://127.0.0.1:{server.server_port}/alerts", received
        server.shutdown()
        thread.join()


def test_a_blocking_check_stops_what_comes_after_and_alerts_once(
    instance: dg.DagsterInstance, notifier: Notifier
) -> None:
    result = run(instance, definitions(error_passes=False))
    assert not result.success
    materialised = [
        event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key
    ]
    assert materialised == ["upper"]

    for _ in range(2):
        alert_for_run(instance, result.dagster_run, notifier)
    (entry,) = read_alerts(notifier.file)
    (alert,) = entry["alerts"]
    assert (alert["asset"], alert["rule"], alert["severity"]) == ("upper", "ids_are_unique", "error")
    assert alert["count"] == 31
    assert alert["samples"] == ["event_id=e1", "event_id=e2"]
    assert alert["next_step"] == "Ids never repeat."
    assert alert["link"] == "http://ui/assets/upper?view=checks&checkDetail=ids_are_unique"
    assert entry["link"] == f"http://ui/runs/{result.run_id}"
    assert entry["blocked"] == ["lower"]


def test_a_failed_run_with_several_failed_checks_is_one_alert(instance: dg.DagsterInstance, notifier: Notifier) -> None:
    result = run(instance, definitions(error_passes=False, warning_passes=False))
    alert = alert_for_run(instance, result.dagster_run, notifier)
    assert alert is not None
    assert alert.title == "Freshet: upper: 1 failed, 1 warned"
    assert len(read_alerts(notifier.file)) == 1


def test_a_warning_does_not_block_and_still_alerts(instance: dg.DagsterInstance, notifier: Notifier) -> None:
    result = run(instance, definitions(warning_passes=False))
    assert result.success
    alert = alert_for_run(instance, result.dagster_run, notifier)
    assert alert is not None
    assert (alert.severity, alert.alerts[0].rule, alert.blocked) == ("warning", "rate_is_low", ())


def test_a_run_in_which_all_is_well_is_silent(instance: dg.DagsterInstance, notifier: Notifier) -> None:
    assert alert_for_run(instance, run(instance, definitions()).dagster_run, notifier) is None
    assert read_alerts(notifier.file) == []


def test_a_broken_step_is_told_with_its_cause(instance: dg.DagsterInstance, notifier: Notifier) -> None:
    alert = alert_for_run(instance, run(instance, definitions(breaks=True)).dagster_run, notifier)
    assert alert is not None
    (broken,) = alert.alerts
    assert (broken.asset, broken.rule) == ("upper", "materialisation")
    assert "no space left on device" in broken.says
    assert alert.blocked == ("lower", "upper")


def test_since_is_the_first_failure_after_the_last_success(instance: dg.DagsterInstance, notifier: Notifier) -> None:
    made = [
        alert_for_run(instance, run(instance, definitions(error_passes=passes)).dagster_run, notifier)
        for passes in (False, True, False, False)
    ]
    since = [alert.alerts[0].since if alert else "" for alert in made]
    assert since[0] < since[2]
    assert since[2] == since[3]


def test_sensors_deliver_to_a_webhook_once(
    instance: dg.DagsterInstance, tmp_path: Path, webhook: tuple[str, list[dict[str, Any]]]
) -> None:
    url, received = webhook
    notifier = Notifier(tmp_path / "alerts.jsonl", (url,), "http://ui")
    failed, warned = run(instance, definitions(error_passes=False)), run(instance, definitions(warning_passes=False))
    with dg.build_run_status_sensor_context(
        "alert_on_failure",
        failed.get_run_failure_event(),
        instance,
        failed.dagster_run,
        resources={"notifier": notifier},
    ) as context:
        for _ in range(2):
            alert_on_failure(context.for_run_failure())
    with dg.build_run_status_sensor_context(
        "alert_on_warning",
        warned.get_run_success_event(),
        instance,
        warned.dagster_run,
        resources={"notifier": notifier},
    ) as context:
        alert_on_warning(context)
    assert [message["title"] for message in received] == ["Freshet: upper: 1 failed", "Freshet: upper: 1 warned"]
    assert "31 rows" in received[0]["message"]


def test_an_address_that_refuses_is_logged_without_its_secret_and_tried_again(
    instance: dg.DagsterInstance,
    tmp_path: Path,
    webhook: tuple[str, list[dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = run(instance, definitions(error_passes=False))
    file = tmp_path / "alerts.jsonl"
    unreachable = Notifier(file, ("json://user:secret@127.0.0.1:1/",))
    alert_for_run(instance, failed.dagster_run, unreachable)
    assert "1 of 1 alert addresses (json) did not take the alert" in caplog.text
    assert "secret" not in "".join(message for name, _, message in caplog.record_tuples if name == "freshet.alerts")
    with (
        dg.build_run_status_sensor_context(
            "alert_on_failure",
            failed.get_run_failure_event(),
            instance,
            failed.dagster_run,
            resources={"notifier": unreachable},
        ) as context,
        pytest.raises(ConfigurationError, match="did not take"),
    ):
        alert_on_failure(context.for_run_failure())
    alert_for_run(instance, failed.dagster_run, Notifier(file, (webhook[0],)))
    assert len(webhook[1]) == 1
    assert [entry["is_delivered"] for entry in read_alerts(file)] == [False, False, True]
