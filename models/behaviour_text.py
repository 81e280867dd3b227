"""Behaviour as text: what users chose, in order, in words that a language model can learn from."""

from collections.abc import Sequence

import numpy as np

from models.interactions import InteractionLog

TITLE_WORDS = 8
"""Words kept of each title, so that several items fit into the encoder's window."""


def render_behaviour(
    log: InteractionLog, titles: Sequence[str], *, items_per_text: int = 5, verb: str = "chose"
) -> list[str]:
    """Each user's history as sentences such as `chose red lipstick, then nail file, then hand cream`.

    A long history is cut into consecutive texts of `items_per_text` items; a single item is no sequence and gives
    nothing. Items without a title are passed over.

    Args:
        log: Interactions; only pass those that training may see.
        titles: Title or text of each item row.
        items_per_text: Items in one sentence, at least 2.
        verb: First word.

    Returns:
        Sentences in order of user, then time.
    """
    short = np.array([" ".join(title.split()[:TITLE_WORDS]) for title in titles], dtype=object)
    texts = []
    for begin, end in zip(log.start[:-1], log.start[1:], strict=True):
        names = [name for name in short[log.item_rows[begin:end]] if name]
        for first in range(0, len(names), items_per_text):
            chunk = names[first : first + items_per_text]
            if len(chunk) > 1:
                texts.append(f"{verb} " + ", then ".join(chunk))
    return texts
