"""Which demo market lives in a home folder, and which of its days have landed."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from models.errors import ConfigurationError

if TYPE_CHECKING:
    from assets.sources.demo.config import DemoConfig, DemoReport

STATE_FILE = "demo.json"


@dataclass(frozen=True)
class DemoMarket:
    """A market, and how many of its days are in the landing zone."""

    domain: str
    users: int
    items: int
    seed: int
    first_day: date
    days: int
    """Days that have landed; a generation that was killed leaves it as it was, and the next one repeats those days."""

    @property
    def last_day(self) -> date:
        """Last day that has landed."""
        return self.first_day + timedelta(days=self.days - 1)


def plan(home: Path, landing: Path, asked: dict[str, Any], *, advance: int) -> tuple[DemoMarket, int]:
    """Decide which market this home folder is to hold.

    Args:
        home: The home folder.
        landing: Its landing zone.
        asked: Options of the command line; None for those that were not given.
        advance: Days to add to what has landed.

    Returns:
        The market as it shall be, and how many of its days are there already.

    Raises:
        ConfigurationError: the folder holds another market, more days than asked for, or data that is no demo.
    """
    known = _read(home)
    given = {name: value for name, value in asked.items() if value is not None}
    if known is None:
        _refuse_other_data(landing)
        wanted = replace(_default_market(), **given)
        return replace(wanted, days=wanted.days + advance), 0
    for name, value in given.items():
        if name != "days" and value != getattr(known, name):
            raise ConfigurationError(
                f"{home} holds a demo with {name} {getattr(known, name)!r}, not {value!r}; leave the option out, or "
                "give another folder with --home"
            )
    days = max(known.days, given.get("days", 0)) + advance
    if given.get("days", days) < known.days:
        raise ConfigurationError(
            f"{home} holds {known.days} days already; give --days {known.days} or more, or another folder with --home"
        )
    return replace(known, days=days), known.days


def generate_market(
    home: Path, landing: Path, market: DemoMarket, landed: int, on_day: Callable[[int, int], None]
) -> "DemoReport":
    """Write the landing files of the days that are missing, and remember the market."""
    from assets.sources.demo.generate import generate

    # Before the first file, so that a killed first generation is taken up and not mistaken for foreign data.
    _write(home, replace(market, days=landed))
    report = generate(landing, _config(market, landed), on_day=on_day)
    _write(home, market)
    return report


def _config(market: DemoMarket, landed: int) -> "DemoConfig":
    from assets.sources.demo.config import DemoConfig

    return DemoConfig(
        domain=market.domain,  # type: ignore[arg-type]  # checked by DemoConfig itself
        users=market.users,
        items=market.items,
        days=market.days,
        first_day=market.first_day,
        seed=market.seed,
        days_from=landed,
    )


def _default_market() -> DemoMarket:
    from assets.sources.demo.config import DemoConfig

    default = DemoConfig()
    return DemoMarket(default.domain, default.users, default.items, default.seed, default.first_day, default.days)


def _read(home: Path) -> DemoMarket | None:
    file = home / STATE_FILE
    if not file.exists():
        return None
    values = orjson.loads(file.read_bytes())
    return DemoMarket(**{**values, "first_day": date.fromisoformat(values["first_day"])})


def _write(home: Path, market: DemoMarket) -> None:
    home.mkdir(parents=True, exist_ok=True)
    staging = home / f"{STATE_FILE}.tmp"
    staging.write_bytes(orjson.dumps(asdict(market), option=orjson.OPT_INDENT_2))
    staging.replace(home / STATE_FILE)


def _refuse_other_data(landing: Path) -> None:
    from assets.landing_zone import LandingZone
    from quality.landing_columns import KINDS

    zone = LandingZone(landing)
    found = [path for kind in KINDS for path in zone.candidates(kind)]
    if found:
        raise ConfigurationError(
            f"{landing} holds {len(found)} files that are no demo, such as {found[0].name}; keep both apart with "
            "`freshet demo --home ANOTHER_FOLDER`"
        )
