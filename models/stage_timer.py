"""How long each stage of a fit took."""

import time
from collections.abc import Callable

OnStage = Callable[[str, float], None]
"""Told the name of each finished stage and its seconds."""


class StageTimer:
    """Records how long its block took."""

    def __init__(self, seconds: dict[str, float], name: str, on_stage: OnStage | None) -> None:
        self._seconds, self._name, self._on_stage = seconds, name, on_stage

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._seconds[self._name] = time.perf_counter() - self._begun
            if self._on_stage is not None:
                self._on_stage(self._name, self._seconds[self._name])
