"""Whether entries of a Redis stream were removed before they were read.

`max-deleted-entry-id` does not tell: XDEL moves it, trimming does not (Redis 7.0). So entries are counted: what was
ever added, without what was read and what is left to read, was removed unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

BEGINNING = "0-0"
"""Position before the first entry that a stream can have."""


@dataclass(frozen=True)
class StreamState:
    """A stream at the moment of a read."""

    first: str | None
    """Id of the first entry that is left."""

    last: str
    """Id that was given last, be its entry left or not."""

    length: int
    """Entries that are left."""

    added: int | None
    """Entries ever added; None before Redis 7, which does not count them."""

    @classmethod
    def of(cls, answer: Mapping[str, Any] | None) -> Self:
        """From what XINFO STREAM answers; None where there is no stream."""
        if answer is None:
            return cls(first=None, last=BEGINNING, length=0, added=0)
        first = answer["first-entry"]
        return cls(
            first=first[0] if first else None,
            last=answer["last-generated-id"],
            length=answer["length"],
            added=answer.get("entries-added"),
        )

    def has_passed(self, position: str) -> bool:
        """Whether nothing is left up to a position, and something was added after it."""
        return _order(self.first or self.last) > _order(position)

    def left_after(self, position: str, *, found: int, asked: int) -> int | None:
        """Entries after a position; None where that is not known.

        Args:
            position: Id of an entry.
            found: Entries that were read after it.
            asked: Entries that were asked for.
        """
        if found < asked:
            return found
        return self.length if self.has_passed(position) else None


def removed_unread(
    state: StreamState, position: str, *, read: int | None, left: int | None, is_resumed: bool
) -> str | None:
    """What became of entries after a position that nobody has read; None where they are all there.

    Args:
        state: The stream.
        position: Id of the last entry that was read.
        read: Entries ever added up to it; None where that is not known.
        left: Entries after it; None where that is not known.
        is_resumed: Whether the position was kept by somebody else, who may have read it long ago.
    """
    if position == BEGINNING:
        return None
    if _is_another(state, position, read, is_resumed):
        return "the stream was made anew, without what it held after that; entries of lower ids are not read"
    if state.added is not None and read is not None and left is not None:
        count = state.added - read - left
        return f"{count:,} entries after it were removed unread" if count else None
    if not state.has_passed(position):
        return None
    if state.first is None:
        return "all entries after it were removed unread"
    # Not known; without counts it would be said of each batch whose reader removes what it has read.
    return "entries after it may have been removed unread" if is_resumed or state.added is not None else None


def _is_another(state: StreamState, position: str, read: int | None, is_resumed: bool) -> bool:
    if read is not None and state.added is not None:
        return state.added < read
    return is_resumed and _order(state.last) < _order(position)


def _order(entry: str) -> tuple[int, int]:
    milliseconds, sequence = entry.split("-")
    return int(milliseconds), int(sequence)
