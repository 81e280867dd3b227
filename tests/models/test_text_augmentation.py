"""Which parts of a text are left out."""

import numpy as np
import pytest

from models.text_augmentation import augmented

TEXT = "Red lipstick. by Rosy. Beauty > Lips. 9.99 USD"


def test_without_chances_the_text_stays() -> None:
    assert augmented(TEXT, np.random.default_rng(0)) == TEXT


@pytest.mark.parametrize("seed", range(20))
def test_title_is_never_left_out(seed: int) -> None:
    assert augmented(TEXT, np.random.default_rng(seed), field_dropout=0.9).startswith("Red lipstick")


def test_whole_fields_are_left_out_at_their_chance() -> None:
    rng = np.random.default_rng(0)
    fields = [len(augmented(TEXT, rng, field_dropout=0.5).split(". ")) - 1 for _ in range(2_000)]
    assert np.mean(fields) == pytest.approx(1.5, abs=0.1)


def test_words_are_left_out_at_their_chance_and_keep_their_order() -> None:
    rng, words = np.random.default_rng(0), [str(number) for number in range(1_000)]
    kept = augmented(" ".join(words), rng, word_dropout=0.2).split()
    assert len(kept) == pytest.approx(800, abs=40)
    assert [int(word) for word in kept] == sorted(int(word) for word in kept)


def test_one_word_is_always_left() -> None:
    assert augmented("lipstick", np.random.default_rng(0), word_dropout=0.999) == "lipstick"


def test_a_blank_text_stays_blank() -> None:
    assert augmented("", np.random.default_rng(0), field_dropout=0.5, word_dropout=0.5) == ""


def test_same_seed_same_text() -> None:
    first, second = (augmented(TEXT, np.random.default_rng(3), field_dropout=0.4, word_dropout=0.3) for _ in range(2))
    assert first == second
