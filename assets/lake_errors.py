"""What the lake's refusals mean: which pass by themselves, and what a user can do about the others."""

import re
from pathlib import Path

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from assets.secret_text import without_passwords
from models.errors import LakeError, LakeFullError, LakeLockedError

_ATTEMPTS = 5
_BUSY = ("database is locked", "transaction conflict", "could not serialize", "failed to commit ducklake")
_MADE_FOR = re.compile(r'does not match existing data path in the catalog "(.*?)/?"')
_FULL = ("no space left on device", "disk quota exceeded", "database or disk is full")


def patient(first_s: float, *, longest_s: float) -> Retrying:
    """Calls again while the catalogue is busy, after growing pauses."""
    return Retrying(
        retry=retry_if_exception(_is_busy),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_exponential(multiplier=first_s, max=longest_s),
        reraise=True,
    )


def _is_busy(error: BaseException) -> bool:
    is_told = isinstance(error, duckdb.Error) and any(text in str(error).lower() for text in _BUSY)
    return is_told or isinstance(error, LakeLockedError)


def explained(error: duckdb.Error, catalogue: str, data_path: Path) -> LakeError:
    """The error as a user can act on it, without the catalogue's password.

    Args:
        error: Of DuckDB.
        catalogue: Where the catalogue is.
        data_path: Folder of the Parquet files.
    """
    text, catalogue = without_passwords(str(error)), without_passwords(catalogue)
    if made_for := _MADE_FOR.search(text):
        return LakeError(
            f"the catalogue {catalogue} was made for data in {made_for[1]}, not in {data_path}; put the home "
            "folder back where it was, or set FRESHET_DATA_PATH to where its data is"
        )
    if any(sign in text.lower() for sign in _FULL):
        return LakeFullError(f"no space left under {data_path}; free some and run again, nothing was committed")
    if _is_busy(error):
        return LakeLockedError(
            f"the catalogue {catalogue} stayed locked by another program; close whatever has it open and run "
            f"again: {text}"
        )
    return LakeError(f"the lake refused: {text}")


def shown_cause(error: duckdb.Error) -> duckdb.Error | None:
    """The error as the cause of another; None where a traceback would show a password."""
    return error if without_passwords(str(error)) == str(error) else None
