import numpy as np
import pandas as pd
import pytest

from models.catalogue import Catalogue
from models.errors import DataError


def test_items_are_added_and_replaced_in_order() -> None:
    own = pd.DataFrame({"item_id": ["a", "c"], "title": ["A", "C"], "price": [1.0, 2.0]})
    catalogue = Catalogue.from_frame(own, np.eye(2, dtype=np.float32))
    news = pd.DataFrame(
        {"item_id": ["c", "b"], "title": ["C2", "B"], "available_until": [pd.Timestamp("2026-01-01"), pd.NaT]}
    )
    changed = catalogue.with_items(news, np.array([[3, 3], [4, 4]], dtype=np.float32))
    assert changed.item_ids.tolist() == ["a", "b", "c"]
    assert changed.titles.tolist() == ["A", "B", "C2"]
    assert changed.embeddings is not None
    assert changed.embeddings.tolist() == [[1, 0], [4, 4], [3, 3]]
    assert changed.available_at(1_800_000_000).tolist() == [True, True, False]
    assert changed.prices is not None
    assert changed.prices.tolist()[0] == 1.0
    assert np.isnan(changed.prices[1:]).all()


def test_vectors_for_some_items_only_are_refused() -> None:
    catalogue = Catalogue.from_frame(pd.DataFrame({"item_id": ["a"]}), np.ones((1, 2), dtype=np.float32))
    with pytest.raises(DataError, match="vectors of the new ones"):
        catalogue.with_items(pd.DataFrame({"item_id": ["b"]}), None)
