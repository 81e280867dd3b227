"""Dot products with the same bits in every batch."""

import numpy as np
import pytest

from models.exact_products import ExactItems, exact_products, exact_products_at, rounded_rows


@pytest.fixture
def users() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((300, 96), dtype=np.float32)


@pytest.fixture
def items() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5001, 96), dtype=np.float32) * np.float32(1e-3)


def test_they_are_dot_products(users: np.ndarray, items: np.ndarray) -> None:
    expected = users.astype(np.float64) @ items.astype(np.float64).T
    np.testing.assert_allclose(exact_products(users, items), expected, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("row", [0, 31, 63, 64, 255, 256, 299])
def test_bits_do_not_depend_on_the_batch(users: np.ndarray, items: np.ndarray, row: int) -> None:
    np.testing.assert_array_equal(exact_products(users[row : row + 1], items)[0], exact_products(users, items)[row])


def test_items_rounded_once_give_the_same_bits(users: np.ndarray, items: np.ndarray) -> None:
    kept = ExactItems(items)
    np.testing.assert_array_equal(kept.products(users), exact_products(users, items))
    np.testing.assert_array_equal(kept.products(users[7:8]), exact_products(users[7:8], items))
    assert kept.products(users[:0]).shape == (0, len(items))


def test_bits_do_not_depend_on_the_order_of_users_items_or_dimensions(users: np.ndarray, items: np.ndarray) -> None:
    turned = exact_products(users[::-1, ::-1], items[::-1, ::-1])
    np.testing.assert_array_equal(turned[::-1, ::-1], exact_products(users, items))


def test_products_at_some_rows_have_the_same_bits(users: np.ndarray, items: np.ndarray) -> None:
    rows = np.random.default_rng(2).integers(0, len(items), (len(users), 50)).astype(np.int32)
    expected = np.take_along_axis(exact_products(users, items), rows, axis=1)
    np.testing.assert_array_equal(exact_products_at(users, items, rows), expected)


@pytest.mark.parametrize(("dimensions", "bits"), [(1, 22), (512, 22), (513, 21), (4096, 20)])
def test_sums_fit_into_a_double(dimensions: int, bits: int) -> None:
    worst = np.full((1, dimensions), 1 - 2.0**-24, dtype=np.float32)
    unit = rounded_rows(worst) * 2.0**bits
    assert (unit == np.rint(unit)).all()
    assert float(unit[0] @ unit[0]) <= 2.0**53


def test_zeros_and_empty_batches(users: np.ndarray, items: np.ndarray) -> None:
    assert not exact_products(np.zeros_like(users), items).any()
    assert exact_products(users[:0], items).shape == (0, len(items))
    assert exact_products(users, items[:0]).shape == (len(users), 0)
    assert exact_products_at(users, items, np.zeros((len(users), 0), dtype=np.int32)).shape == (len(users), 0)
