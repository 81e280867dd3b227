import numpy as np
import pytest

from models.errors import ConfigurationError
from models.exploration import check, draws, explore

ORDER = np.arange(40, dtype=np.int32)
PLACES = np.arange(4, dtype=np.int32)
FREE = [False] * 4


def test_draws_depend_on_user_moment_and_place_alone() -> None:
    assert draws("u", 10, 3) == draws("u", 10, 5)[:3]
    assert draws("u", 10, 3) != draws("u", 11, 3)
    assert draws("u", 10, 3) != draws("v", 10, 3)
    assert all(0 <= number < 1 for pair in draws("u", 10, 50) for number in pair)


def test_an_exploring_place_shows_one_of_its_own_candidates() -> None:
    shown, chances = explore(ORDER, PLACES, FREE, 0.2, [(0.9, 0), (0.1, 0.0), (0.1, 0.99), (0.5, 0)])
    # place 1 draws among 5, 9, 13, 17, 21 and place 2 among 6, 10, 14, 18, 22
    assert shown.tolist() == [0, 5, 22, 3]
    np.testing.assert_allclose(chances, [0.8, 0.04, 0.04, 0.8])


def test_propensities_are_the_frequencies() -> None:
    seen: dict[int, int] = {}
    for user in range(4_000):
        shown, chances = explore(ORDER, PLACES, FREE, 0.2, draws(f"u{user}", 0, 4))
        assert len(set(shown.tolist())) == 4
        seen[int(shown[0])] = seen.get(int(shown[0]), 0) + 1
        assert chances[0] == pytest.approx(0.8 if shown[0] == 0 else 0.04)
    assert seen[0] / 4_000 == pytest.approx(0.8, abs=0.02)
    assert {item for item in seen if item} == {4, 8, 12, 16, 20}
    for item in (4, 8, 12, 16, 20):
        assert seen[item] / 4_000 == pytest.approx(0.04, abs=0.01)


def test_fixed_and_empty_places_are_left_alone() -> None:
    shown, chances = explore(ORDER, np.array([0, 1, -1], np.int32), [True, False, False], 0.5, [(0.0, 0.0)] * 3)
    assert shown.tolist() == [0, 3, -1]
    assert chances.tolist() == pytest.approx([1, 0.1, 1])


def test_a_share_above_half_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="explore_share"):
        check(0.6)
