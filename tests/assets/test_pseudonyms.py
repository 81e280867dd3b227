"""Pseudonyms are stable under a key and unrelated under another."""

import hashlib
import hmac

import pytest

from assets.pseudonyms import pseudonymise
from models.errors import ConfigurationError


def test_pseudonym_is_the_keyed_hash() -> None:
    expected = hmac.new(b"secret", b"alice", hashlib.sha256).hexdigest()[:32]

    assert pseudonymise("alice", "secret") == expected


def test_another_key_gives_another_pseudonym() -> None:
    assert pseudonymise("alice", "one") != pseudonymise("alice", "two")


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="FRESHET_PSEUDONYM_KEY"):
        pseudonymise("alice", "")
