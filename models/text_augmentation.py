"""Texts with parts left out at random, so that an encoder does not lean on one field or one word."""

import numpy as np

FIELD_SEPARATOR = ". "
"""Between the fields of an item's text, see `models.item_text`."""


def augmented(text: str, rng: np.random.Generator, *, field_dropout: float = 0.0, word_dropout: float = 0.0) -> str:
    """The text without some of its fields and words; never without a word where it had one.

    Args:
        text: Fields separated by `FIELD_SEPARATOR`. The first one, the title or its beginning, is never left out whole.
        rng: Source of chance.
        field_dropout: Chance of each later field (brand, category path, price, description) to be left out.
        word_dropout: Chance of each word of what is left to be left out.
    """
    if field_dropout:
        title, *fields = text.split(FIELD_SEPARATOR)
        stays = rng.random(len(fields)) >= field_dropout
        text = FIELD_SEPARATOR.join([title, *(field for field, kept in zip(fields, stays, strict=True) if kept)])
    if not word_dropout:
        return text
    words = text.split()
    draws = rng.random(len(words))
    kept = [word for word, draw in zip(words, draws, strict=True) if draw >= word_dropout]
    return " ".join(kept or words[:1])
