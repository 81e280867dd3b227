"""Landing rows of items: titles and descriptions that show topic, style, maker and series, never the community."""

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np

from assets.sources.demo.catalogue import NEVER, Catalogue
from assets.sources.demo.config import DemoConfig
from assets.sources.demo.draws import FloatArray, uniform

_CHOICES = 8
"""Uniform draws per item: template, adjective, colour, thing, word, model, sentence, price."""


class ItemRows:
    """Renders items as rows of a landing file."""

    def __init__(self, config: DemoConfig, catalogue: Catalogue) -> None:
        """Draw the choice of words for every item."""
        self._config = config
        self._catalogue = catalogue
        self._draws: FloatArray = np.stack(
            [uniform(config.seed, "catalogue", 100 + choice, len(catalogue)) for choice in range(_CHOICES)], axis=1
        )

    def new_on(self, day: int) -> list[dict[str, Any]]:
        """Rows of the items that arrive on `day`, in the order of their ids."""
        return self._rows(np.flatnonzero(self._catalogue.arrives == day), day, is_ended=False)

    def ended_on(self, day: int) -> list[dict[str, Any]]:
        """Updated rows of the items that end on `day` without having said so; none where ends are announced."""
        if self._catalogue.vocabulary.end_is_announced:
            return []
        is_ended = (self._catalogue.ends == day) & (self._catalogue.arrives < day)
        return self._rows(np.flatnonzero(is_ended), day, is_ended=True)

    def title(self, item: int) -> str:
        """Title of an item."""
        vocabulary = self._catalogue.vocabulary
        words = self._words(item)
        position = int(self._catalogue.position[item])
        templates = vocabulary.singles if position < 0 else vocabulary.leads
        if position > 0:
            words["lead"] = self.title(int(self._catalogue.lead[item]))
            templates = vocabulary.follows
        # Items of one series share the template, so that their titles read as one.
        draw = self._draws[self._catalogue.lead[item], 0]
        title = templates[int(draw * len(templates))].format_map(words)
        return title[0].upper() + title[1:]

    def _rows(self, items: np.ndarray[Any, np.dtype[np.intp]], day: int, *, is_ended: bool) -> list[dict[str, Any]]:
        rows = [self._row(int(item), day, is_ended=is_ended) for item in items]
        return sorted(rows, key=lambda row: str(row["item_id"]))

    def _row(self, item: int, day: int, *, is_ended: bool) -> dict[str, Any]:
        catalogue, vocabulary = self._catalogue, self._catalogue.vocabulary
        topic = vocabulary.topics[catalogue.topic[item]]
        words = self._words(item)
        is_end_known = is_ended or (vocabulary.end_is_announced and catalogue.ends[item] < NEVER)
        low, high = topic.price
        row = {
            "item_id": catalogue.ids[item],
            "title": self.title(item),
            "description": vocabulary.description.format_map(words),
            "categories": json.dumps(list(topic.path)),
            "brand_or_author": words["maker"],
            "available_from": self._moment(int(catalogue.arrives[item])),
            "available_until": self._moment(int(catalogue.ends[item])) if is_end_known else None,
            "updated_at": self._moment(day),
        }
        if vocabulary.currency:
            share = 0.25 if catalogue.position[item] > 0 else 1.0
            price = share * low * (high / low) ** float(self._draws[item, 7])
            row |= {"price": f"{int(price) + 0.9:.2f}", "currency": vocabulary.currency}
        if vocabulary.image:
            row["image_uri"] = vocabulary.image.format(item_id=catalogue.ids[item])
        if vocabulary.levels:
            row["attributes"] = json.dumps({"level": words["level"]})
        return row

    def _moment(self, day: int) -> str:
        midnight = datetime.combine(self._config.first_day, time(), UTC) + timedelta(days=day)
        return midnight.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _words(self, item: int) -> dict[str, str]:
        catalogue, vocabulary = self._catalogue, self._catalogue.vocabulary
        topic = vocabulary.topics[catalogue.topic[item]]
        style = vocabulary.styles[catalogue.style[item]]
        position = max(int(catalogue.position[item]), 0)
        shared = self._draws[catalogue.lead[item]]

        def pick(options: tuple[str, ...], choice: int) -> str:
            return options[int(shared[choice] * len(options))]

        thing, word = pick(topic.things, 3), pick(topic.words, 4)
        # Where the lead item is no part itself, there is one part fewer than items in a series.
        part = max(position - (vocabulary.series_length - len(topic.parts)), 0)
        own_sentence = topic.sentences[int(self._draws[item, 6] * len(topic.sentences))]
        return {
            "maker": vocabulary.makers[catalogue.maker[item]],
            "adjective": pick(style.adjectives, 1),
            "colour": pick(vocabulary.colours, 2),
            "thing": thing,
            "word": word,
            "model": pick(vocabulary.models, 5),
            "place": pick(vocabulary.models, 5),
            "part": topic.parts[part],
            "number": str(position + 1),
            "level": vocabulary.levels[position] if vocabulary.levels else "",
            "sentence": own_sentence,
            "style_sentence": pick(style.sentences, 6),
            "style": style.name,
            "tag": thing.title().replace(" ", "").replace("-", "").replace("'", ""),
            "tag2": topic.path[-1].replace(" ", ""),
        }
