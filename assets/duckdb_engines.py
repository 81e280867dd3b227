"""DuckDB engines with the lake's extensions loaded, kept for the next connection of this process.

Loading an extension verifies its signature, which takes 0.2 s of CPU for each of the two; attaching a lake takes 5 ms.
So an engine is used by one connection at a time and goes back to the shelf with nothing attached. An engine that has
spilled to a folder takes no other one, hence a shelf for each folder.
"""

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

import duckdb

from models.errors import LakeError

_Shelf = tuple[str, Path]
"""Catalogue extension and folder for spilling."""

_SHELVES: defaultdict[_Shelf, SimpleQueue[duckdb.DuckDBPyConnection]] = defaultdict(SimpleQueue)


@contextmanager
def borrowed_connection(store: str, name: str, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an engine that nobody else uses, with `ducklake` and one catalogue extension loaded.

    Args:
        store: Extension of the catalogue's database: `sqlite_scanner` or `postgres_scanner`.
        name: Database that the caller attaches; it is detached at the end.
        spill: Folder for what does not fit in memory; made when it is first needed.

    Raises:
        LakeError: an extension is missing.
    """
    engine = take_engine(store, spill)
    connection = engine.cursor()
    try:
        yield connection
    finally:
        connection.close()
        give_back_engine(engine, store, spill, name)


def take_engine(store: str, spill: Path) -> duckdb.DuckDBPyConnection:
    """An engine from the shelf, or a new one; `give_back_engine` returns it. Arguments as of `borrowed_connection`."""
    try:
        return _SHELVES[store, spill].get_nowait()
    except Empty:
        # The cache knows a file by its name and time: a staging file that is written anew within the same tick of the
        # clock would be read as it was before.
        spill.parent.mkdir(parents=True, exist_ok=True)
        engine = duckdb.connect(":memory:", config={"enable_external_file_cache": False, "temp_directory": str(spill)})
        for extension in ("ducklake", store):
            engine.execute(f"LOAD '{extension_file(extension)}'")
        return engine


def give_back_engine(engine: duckdb.DuckDBPyConnection, store: str, spill: Path, name: str) -> None:
    """Detach the database `name` and put the engine on the shelf; one that cannot detach is closed."""
    try:
        engine.execute(f"DETACH DATABASE IF EXISTS {name}")
    except duckdb.Error:
        # Something still uses the database, such as an interrupted query: such an engine is not used again.
        engine.close()
        return
    _SHELVES[store, spill].put(engine)


def extension_file(name: str) -> Path:
    """Path of a DuckDB extension that a package brought, so that nothing is downloaded.

    Raises:
        LakeError: the package is not installed, or is for another version of DuckDB.
    """
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    wanted = f"pip install {package.replace('_', '-')}=={duckdb.__version__}"
    if spec is None or not spec.submodule_search_locations:
        raise LakeError(f"the DuckDB extension {name} is missing; run `{wanted}`")
    folder = Path(spec.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
    file = folder / f"{name}.duckdb_extension"
    if not file.exists():
        raise LakeError(f"the DuckDB extension {name} is not for DuckDB {duckdb.__version__}; run `{wanted}`")
    return file
