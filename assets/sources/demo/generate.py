"""Generates the landing files of a demo market, day by day.

A day draws from streams of its own and from what happened before, never from how many days follow. So a longer run,
or one that writes the last days only, gives the same bytes for the same days. Memory holds the latent state of
users and items and one day of events.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from assets.sources.demo.behaviour import Market
from assets.sources.demo.catalogue import Catalogue, build_catalogue
from assets.sources.demo.config import LONGEST_DELAY, DemoConfig, DemoReport
from assets.sources.demo.dirt import LateMail, soil_events, soil_items
from assets.sources.demo.draws import stream
from assets.sources.demo.event_rows import event_frame
from assets.sources.demo.item_rows import ItemRows
from assets.sources.demo.landing_files import as_csv, as_gzip, as_json_lines, write_whole
from assets.sources.demo.population import Population
from assets.sources.demo.vocabulary import load_vocabulary

_SUNDAY = 6
_EVENT_DIRT, _ITEM_DIRT, _EVENT_WORDS, _LATE = range(4)


def generate(landing: Path, config: DemoConfig, *, on_day: Callable[[int, int], None] | None = None) -> DemoReport:
    """Write the landing files of the days `config.days_from` to `config.days` - 1.

    Items and users come as `items/<day>.jsonl` and `users/<day>.csv` on days that bring any, events as
    `events/<day>.csv.gz`, on Sundays as `events/<day>.jsonl`. Each file appears whole, by a rename.

    Args:
        landing: folder of the landing zone; made when absent.
        config: the market.
        on_day: called after each day with the days done and the days in all.

    Returns:
        Exact counts of what the written files hold.
    """
    writer = _Writer(landing, config)
    for day in range(config.days):
        writer.play(day)
        if on_day is not None:
            on_day(day + 1, config.days)
    return writer.finish()


class _Writer:
    """One run: plays every day, writes those that were asked for."""

    def __init__(self, landing: Path, config: DemoConfig) -> None:
        self._landing = landing
        self._config = config
        self._catalogue: Catalogue = build_catalogue(config, load_vocabulary(config.domain))
        self._people = Population(config, self._catalogue.vocabulary)
        self._items = ItemRows(config, self._catalogue)
        self._market = Market(config.seed, self._catalogue, self._people)
        self._mail = LateMail(config.dirt.late)
        self._report = DemoReport(bots=int(self._people.is_bot.sum()))

    def play(self, day: int) -> None:
        """Play a day and write its files, or only what later days need of it."""
        config = self._config
        events = self._market.play(day, config.day(day).weekday())
        is_written = day >= config.days_from
        if day < config.days_from - LONGEST_DELAY:
            return
        words = stream(config.seed, "dirt", _EVENT_WORDS, day)
        frame = event_frame(events, day, config.day(day), self._catalogue, self._people, words)
        punctual, arrived = self._mail.post(frame, ~events.is_bot, day, stream(config.seed, "dirt", _LATE, day))
        if not is_written:
            return
        self._write_items(day)
        self._write_users(day)
        self._report.late += len(arrived)
        self._report.bot_rows += int(events.is_bot.sum())
        self._report.bot_days += len(set(events.user[events.is_bot].tolist()))
        self._write_events(day, pd.concat([arrived, punctual]))

    def finish(self) -> DemoReport:
        """Counts of the run."""
        self._report.held_back = self._mail.held
        return self._report

    def _write_items(self, day: int) -> None:
        rows = self._items.new_on(day) + self._items.ended_on(day)
        rng = stream(self._config.seed, "dirt", _ITEM_DIRT, day)
        rows = soil_items(rows, self._config.dirt, rng, self._report)
        if rows:
            self._write("items", f"{self._config.day(day)}.jsonl", as_json_lines(rows), len(rows))

    def _write_users(self, day: int) -> None:
        rows = self._people.rows_on(day)
        if rows:
            self._write("users", f"{self._config.day(day)}.csv", as_csv(pd.DataFrame(rows)), len(rows))

    def _write_events(self, day: int, good: pd.DataFrame) -> None:
        rng = stream(self._config.seed, "dirt", _EVENT_DIRT, day)
        frame = soil_events(good, day, self._config.dirt, rng, self._report)
        date = self._config.day(day)
        if date.weekday() == _SUNDAY:
            self._write("events", f"{date}.jsonl", as_json_lines(_rows(frame)), len(frame))
        else:
            self._write("events", f"{date}.csv.gz", as_gzip(as_csv(frame)), len(frame))

    def _write(self, kind: str, name: str, content: bytes, rows: int) -> None:
        write_whole(self._landing / kind / name, content)
        self._report.files.append(f"{kind}/{name}")
        self._report.rows[kind] += rows


def _rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows without their empty cells, except that an empty text stays; one at a time, as a day can be large."""
    names = list(frame.columns)
    cells = zip(*(frame[name].tolist() for name in names), strict=True)
    return ({name: cell for name, cell in zip(names, row, strict=True) if isinstance(cell, str)} for row in cells)
