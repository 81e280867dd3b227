"""A landed dataset with a planted answer: each user reads six of the eight items of one block."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from assets.domain import Domain
from models.catalogue import Catalogue
from models.features import split_times
from models.interactions import InteractionLog

if TYPE_CHECKING:
    from landed_data import LandedData

BLOCKS, PER_BLOCK = 4, 8
ITEMS = [f"i{row:02d}" for row in range(BLOCKS * PER_BLOCK)]


@pytest.fixture(autouse=True)
def benchmarks_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests import the scripts by their names, as these import one another."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def data() -> "LandedData":
    """Forty users; text vectors are left to the test."""
    from landed_data import LandedData

    rng = np.random.default_rng(3)
    rows = [
        (f"u{user:02d}", ITEMS[(user % BLOCKS) * PER_BLOCK + item], day)
        for user in range(40)
        for day, item in enumerate(rng.permutation(PER_BLOCK)[:6])
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "day"])
    frame["event_at"] = pd.to_datetime(frame["day"], unit="D")
    domain = Domain(name="amazon-reviews", event_weights={"review": 1.0})
    log = InteractionLog.from_frame(frame.assign(weight=1.0), ITEMS)
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ITEMS}))
    times = split_times(frame, validation_share=domain.validation_share, test_share=domain.test_share)
    return LandedData(domain, catalogue, [""] * len(ITEMS), log, times)
