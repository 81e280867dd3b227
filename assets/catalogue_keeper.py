"""Keeps a SQLite catalogue open from a process of its own, for as long as this process works with it.

DuckDB opens the file anew for each transaction. Whoever closes it last empties its write-ahead log under an exclusive
lock, and DuckDB's SQLite, built without `usleep`, waits a whole second where it meets a lock. While another process has
the file open, nobody is the last. It must be another process: locks of one process do not count against itself.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from assets.sqlite_catalogue import sqlite_file

# Ends with its input, thus also when this process is killed. The lock is taken by the first read.
_KEEP = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


@contextmanager
def kept_open(catalogue: str) -> Iterator[None]:
    """Have a catalogue kept open inside `with`; does nothing for one that is no SQLite file.

    Args:
        catalogue: As of `Lake.catalogue`.
    """
    file = sqlite_file(catalogue)
    if file is None:
        yield
        return
    words = [sys.executable, "-I", "-S", "-c", _KEEP, str(file)]
    # A session of its own: what is typed into the terminal ends this process first.
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        keeper.stdout.readline()
        try:
            yield
        finally:
            keeper.stdin.close()
