"""Alerts: one message per run, to a local file always and to any address that Apprise speaks."""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

_LOG = logging.getLogger("freshet.alerts")

_LOOK_BACK_BYTES = 1_000_000
"""How much of the end of the alert file is searched for an earlier delivery."""


@dataclass(frozen=True)
class Alert:
    """One broken truth of one asset."""

    asset: str
    rule: str
    """Name of the check, or `materialisation` where the asset itself failed."""

    severity: Literal["error", "warning"]
    count: float
    """How many offending rows, or what was measured; see `unit`."""

    says: str
    """What was found."""

    samples: tuple[str, ...]
    """A few offending values, already safe to show."""

    since: str
    """When the check began to fail without passing in between, ISO 8601 UTC."""

    link: str
    """Page of the check in the UI."""

    next_step: str
    unit: str = "rows"
    """What `count` counts or measures."""


@dataclass(frozen=True)
class RunAlert:
    """All that went wrong in one run: what a person on call gets."""

    run_id: str
    job: str
    raised_at: str
    """When the run ended, ISO 8601 UTC."""

    link: str
    """Page of the run in the UI."""

    alerts: tuple[Alert, ...]
    blocked: tuple[str, ...] = ()
    """Assets that the run should have built and did not."""

    @property
    def severity(self) -> Literal["error", "warning"]:
        """That of the gravest alert."""
        return "error" if any(alert.severity == "error" for alert in self.alerts) else "warning"

    @property
    def key(self) -> list[str]:
        """What makes it the same alert: the run, and asset and rule of each part."""
        return [self.run_id, *sorted(f"{alert.asset}.{alert.rule}" for alert in self.alerts)]

    @property
    def title(self) -> str:
        """One line: how bad, where, how much."""
        assets = ", ".join(dict.fromkeys(alert.asset for alert in self.alerts))
        errors = sum(alert.severity == "error" for alert in self.alerts)
        parts = [f"{errors} failed"] if errors else []
        parts += [f"{len(self.alerts) - errors} warned"] if len(self.alerts) > errors else []
        return f"Freshet: {assets}: {', '.join(parts)}"

    @property
    def body(self) -> str:
        """The message in Markdown: worst first, each with its next step and link."""
        ordered = sorted(self.alerts, key=lambda alert: alert.severity != "error")
        blocks = [_block(alert) for alert in ordered]
        if self.blocked:
            blocks.append(f"Not built: {', '.join(self.blocked)}. Readers keep the last good version.")
        return "\n\n".join([*blocks, f"Run: {self.link}"])


@dataclass(frozen=True)
class Notifier:
    """Delivers alerts; the same alert of the same run is delivered once, however many sensors see it.

    It is bound as a plain resource (`ResourceParam[Notifier]`), since the UI shows the values of configurable ones
    and the addresses hold secrets.
    """

    file: Path
    """JSON-lines file that every alert is appended to."""

    urls: tuple[str, ...] = field(default=(), repr=False)
    """Apprise addresses, such as `slack://…`, `mailto://…` or `json://host/path`."""

    ui_url: str = "http://127.0.0.1:3000"
    """Address of the Dagster UI, for links."""

    def send(self, alert: RunAlert) -> Literal["delivered", "repeated", "refused"]:
        """Log, record and deliver an alert.

        Returns:
            `repeated`: this very alert was delivered before, so nothing was sent. `refused`: an address is not one or
            did not take it; that is logged, the alert is in the file as undelivered, and a later call tries again.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.file.with_suffix(".lock")):
            if _was_delivered(self.file, alert.key):
                return "repeated"
            level = logging.ERROR if alert.severity == "error" else logging.WARNING
            _LOG.log(level, "%s\n%s", alert.title, alert.body)
            failed = self._deliver(alert)
            _append(self.file, alert, is_delivered=not failed)
        if failed:
            told = "%d of %d alert addresses (%s) did not take the alert; it is in %s. Check FRESHET_ALERT_URLS"
            _LOG.error(told, len(failed), len(self.urls), ", ".join(failed), self.file)
        return "refused" if failed else "delivered"

    def _deliver(self, alert: RunAlert) -> list[str]:
        """Send to every address; returns the schemes of those that refused, never the addresses: they hold secrets."""
        if not self.urls:
            return []
        import apprise

        kind = apprise.NotifyType.FAILURE if alert.severity == "error" else apprise.NotifyType.WARNING
        failed = []
        for url in self.urls:
            target = apprise.Apprise()
            is_sent = target.add(url) and target.notify(
                title=alert.title, body=alert.body, notify_type=kind, body_format=apprise.NotifyFormat.MARKDOWN
            )
            if not is_sent:
                failed.append(url.split(":", 1)[0])
        return failed


def read_alerts(path: Path, *, last: int = 20) -> list[dict[str, Any]]:
    """The newest alerts of the local file, newest last; none where there is no file."""
    return [json.loads(line) for line in _tail(path)[-last:]]


def _block(alert: Alert) -> str:
    sign = "✗" if alert.severity == "error" else "!"
    lines = [f"{sign} **{alert.asset}**: {alert.rule} ({alert.severity}, {alert.count:,.6g} {alert.unit})", alert.says]
    lines += [f"e.g. {'; '.join(alert.samples)}"] if alert.samples else []
    # The sentence of a rule ends with what to do; once is enough.
    lines += [f"since {alert.since}", "" if alert.next_step in alert.says else f"next: {alert.next_step}", alert.link]
    return "\n".join(line for line in lines if line)


def _was_delivered(path: Path, key: Sequence[str]) -> bool:
    return any(entry["key"] == list(key) and entry["is_delivered"] for entry in map(json.loads, _tail(path)))


def _append(path: Path, alert: RunAlert, *, is_delivered: bool) -> None:
    entry = {
        **asdict(alert),
        "severity": alert.severity,
        "title": alert.title,
        "key": alert.key,
        "is_delivered": is_delivered,
    }
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _tail(path: Path) -> list[str]:
    """Complete lines at the end of the file."""
    if not path.exists():
        return []
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        start = max(size - _LOOK_BACK_BYTES, 0)
        stream.seek(start)
        lines = stream.read().decode("utf-8", errors="replace").splitlines()
    return lines[1:] if start else lines
