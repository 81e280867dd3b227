"""Keeps `features.item_embeddings` true with as little encoding as possible."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import duckdb

from assets.lake import Lake, append_frame
from models.interactions import FloatArray
from models.schema import ITEM_EMBEDDINGS

_CURRENT = """
SELECT item_id FROM features.item_texts JOIN features.item_embeddings USING (item_id, text_hash)
WHERE encoder_version = ?
"""
_MISSING = (
    f"SELECT item_id, text, text_hash FROM features.item_texts WHERE item_id NOT IN ({_CURRENT}) ORDER BY item_id"
)
_GONE = """
SELECT count(*) FROM features.item_embeddings
WHERE item_id NOT IN (SELECT item_id FROM features.item_texts WHERE trim(text) != '')
"""


@dataclass(frozen=True)
class EmbeddingUpdate:
    """What one refresh did."""

    encoded: int
    """Items whose text or encoder was new."""
    reused: int
    removed: int
    """Rows of items that are gone or now have no text."""
    without_text: int
    """Items that have no text, thus no vector."""
    seconds: float
    snapshot: int


def refresh_embeddings(lake: Lake, version: str, encode: Callable[[list[str]], FloatArray]) -> EmbeddingUpdate:
    """Encode the items whose text or encoder changed and remove those that are gone, in one transaction.

    Args:
        lake: With `features.item_texts`.
        version: Version of the encoder that `encode` applies.
        encode: Texts to unit vectors; only called when there is something to encode.
    """
    started = time.monotonic()
    missing = lake.frame(_MISSING, [version])
    readable = missing[missing["text"].str.strip() != ""]
    vectors = list(encode(readable["text"].tolist())) if len(readable) else []
    rows = readable[["item_id", "text_hash"]].assign(encoder_version=version, embedding=vectors)

    def replace(connection: duckdb.DuckDBPyConnection) -> tuple[int, int]:
        kept = connection.execute(_CURRENT, [version]).fetchall()
        gone = connection.execute(_GONE).fetchall()[0][0]
        connection.execute(f"DELETE FROM features.item_embeddings WHERE item_id NOT IN ({_CURRENT})", [version])
        append_frame(connection, ITEM_EMBEDDINGS, rows)
        return len(kept), gone

    written = lake.write(replace, message=f"item embeddings of encoder {version}: {len(rows)} encoded")
    reused, removed = written.value
    items = int(lake.frame("SELECT count(*) AS items FROM features.item_texts")["items"].iloc[0])
    return EmbeddingUpdate(
        encoded=len(rows),
        reused=reused,
        removed=removed,
        without_text=items - reused - len(rows),
        seconds=round(time.monotonic() - started, 3),
        snapshot=written.snapshot,
    )
