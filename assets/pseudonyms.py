"""Pseudonyms: user ids of the sources never enter the lake, only keyed hashes of them do."""

import hashlib
import hmac
from collections.abc import Iterable

from models.errors import ConfigurationError

PSEUDONYM_LENGTH = 32
"""Hex digits kept: 128 bits, so two users of any realistic number share one with negligible probability."""


def pseudonymise(user_id: str, key: str) -> str:
    """HMAC-SHA256 of a user id, as its first 32 hex digits.

    Args:
        user_id: Id in the source.
        key: Secret of this deployment, kept outside the lake; another key gives unrelated pseudonyms.

    Raises:
        ConfigurationError: the key is empty.
    """
    if not key:
        raise ConfigurationError("the pseudonym key is empty; set FRESHET_PSEUDONYM_KEY to a long random text")
    return hmac.digest(key.encode(), user_id.encode(), hashlib.sha256).hex()[:PSEUDONYM_LENGTH]


def pseudonyms_of(user_ids: Iterable[str], key: str) -> dict[str, str]:
    """Pseudonym of each distinct user id."""
    return {user_id: pseudonymise(user_id, key) for user_id in set(user_ids)}
