"""What a leader remembers of the lake between its batches, so that a transaction need not look for it."""

from dataclasses import dataclass

from assets.known_events import KnownEvents
from assets.source_positions import KnownProgress


@dataclass(frozen=True)
class LakeMemory:
    """Each part knows the snapshot that it is true at; at any other the lake is asked."""

    events: KnownEvents
    progress: KnownProgress

    def begin(self) -> None:
        """A transaction begins, for the first time or again; it has offered nothing yet."""
        self.events.offer(None)
        self.progress.begin()

    def written(self, snapshot: int) -> None:
        """Our transaction was committed as `snapshot`; what others committed before it must have been taken in."""
        self.events.written(snapshot)
        self.progress.written(snapshot)

    def pass_over(self, snapshot: int) -> None:
        """A transaction that changed nothing of this was committed as `snapshot`."""
        self.events.pass_over(snapshot)
        self.progress.pass_over(snapshot)

    def forget(self) -> None:
        """Know nothing."""
        self.events.forget()
        self.progress.forget()
