"""From a setting to a mirror, whose client is imported only then."""

import hashlib
from pathlib import Path

from assets.lake import Lake
from assets.mirrors.contract import ListMirror


def open_mirror(kind: str, lake: Lake, *, folder: Path, budget_bytes: int) -> ListMirror | None:
    """The mirror of a lake; None where there is none.

    Args:
        kind: `lmdb`, the address of a Redis, or `off`.
        lake: Whose lists it holds.
        folder: Where the embedded one keeps its file.
        budget_bytes: Most that the embedded one may take.

    Raises:
        MirrorError: its file cannot be opened.
    """
    if kind == "off":
        return None
    if kind == "lmdb":
        from assets.mirrors.embedded import EmbeddedMirror

        return EmbeddedMirror(folder, budget_bytes=budget_bytes)
    from assets.mirrors.remote import RedisMirror

    # The same on every host: DuckLake knows its data by an absolute path.
    return RedisMirror(kind, name=hashlib.sha256(str(lake.data_path).encode()).hexdigest()[:12])
