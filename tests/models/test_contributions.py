import numpy as np

from models.contributions import compact

TERMS = ("als", "ease", "content", "boost", "placement")


def test_the_largest_terms_are_named_and_the_rest_is_one() -> None:
    values = np.array([[0.5, 0], [-0.75, 0], [0.125, 0], [0.25, 0], [0.0625, 0.001]], dtype=np.float32)
    first, second = compact(values, TERMS)
    assert first == [
        {"term": "ease", "amount": -0.75},
        {"term": "als", "amount": 0.5},
        {"term": "boost", "amount": 0.25},
        {"term": "other", "amount": 0.1875},
    ]
    assert second == [{"term": "placement", "amount": 0.001}]


def test_amounts_add_up_within_rounding() -> None:
    values = np.random.default_rng(0).standard_normal((5, 200)).astype(np.float32)
    sums = [sum(entry["amount"] for entry in row) for row in compact(values, TERMS)]
    np.testing.assert_allclose(sums, values.sum(axis=0), atol=1e-4)


def test_what_all_items_share_counts_among_the_rest() -> None:
    values = np.array([[-2.0], [0.5], [0.25], [0.125], [0.0625]], dtype=np.float32)
    assert [entry["term"] for entry in compact(values, ("base", *"abcd"))[0]] == ["a", "b", "c", "other"]
