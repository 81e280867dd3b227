"""A landed dataset with a planted answer: each user reads six of the eight items of one block."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from assets.domain import Domain
from models.catalogue import Catalogue
from models.interactions import InteractionLog

BLOCKS, PER_BLOCK = 4, 8
ITEMS = [f"i{row:02d}" for row in range(BLOCKS * PER_BLOCK)]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> object:
    """Forty users; text vectors are left to the test."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
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
    return LandedData(domain, catalogue, [""] * len(ITEMS), log, times=None)
