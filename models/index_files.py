"""The files of an `ItemIndex`: one of FAISS for each retriever, and `index.json` with all else and their hashes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from models.errors import DataError, NotFittedError
from models.faiss_backend import faiss
from models.inverted_lists import InvertedLists

FACTS_FILE = "index.json"


def write_index(folder: Path, indexes: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Write the index of each retriever, and `facts` with what is needed to read them.

    Returns:
        The content version, a hash over all files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for name, index in indexes.items():
        payload = faiss.serialize_index(index.index if isinstance(index, InvertedLists) else index).tobytes()
        (folder / f"{name}.faiss").write_bytes(payload)
        hashes[name] = hashlib.sha256(payload).hexdigest()
    own = {
        "lengths": {name: index.length for name, index in indexes.items() if isinstance(index, InvertedLists)},
        "dimensions": {name: int(index.d) for name, index in indexes.items()},
        "sha256": hashes,
    }
    payload = orjson.dumps({**facts, **own}, option=orjson.OPT_SORT_KEYS)
    (folder / FACTS_FILE).write_bytes(payload)
    return hashlib.sha256(payload).hexdigest()[:16]


def read_facts(folder: Path) -> dict[str, Any]:
    """Read `index.json`.

    Raises:
        NotFittedError: there is no index in `folder`.
    """
    if not (folder / FACTS_FILE).is_file():
        raise NotFittedError(f"{folder} holds no index ({FACTS_FILE} is missing); materialise item_index first")
    facts: dict[str, Any] = orjson.loads((folder / FACTS_FILE).read_bytes())
    return facts


def is_readable(facts: Mapping[str, Any]) -> bool:
    """Whether this version can search the index: inverted lists of earlier ones were of other vectors."""
    return set(facts["probes"]) <= set(facts.get("lengths", {}))


def read_index(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Read the index of each retriever.

    Raises:
        NotFittedError: they were made by an earlier version.
        DataError: a file is missing or differs from what was written.
    """
    if not is_readable(facts):
        raise NotFittedError(f"the index in {folder} was made by an earlier version; build item_index again")
    indexes: dict[str, Any] = {}
    for name, expected in facts["sha256"].items():
        path = folder / f"{name}.faiss"
        payload = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(payload).hexdigest() != expected:
            raise DataError(f"{path} is missing or damaged (its hash is not {expected[:12]}…); build item_index again")
        index = faiss.deserialize_index(np.frombuffer(payload, dtype=np.uint8))
        length = facts["lengths"].get(name) if "lengths" in facts else None
        indexes[name] = index if length is None else InvertedLists(index, length, len(facts["item_ids"]))
    return indexes
