"""Folders that live only as long as the process that made them.

Their names carry host and process, so that what a killed process left can be told from what a living one uses.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def scratch_name() -> str:
    """Prefix of this process's scratch folders."""
    return f"{socket.gethostname()}-{os.getpid()}-"


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """An empty folder under `root`, removed at the end."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=scratch_name(), dir=root) as folder:
        yield Path(folder)


def remove_dead_scratch(root: Path) -> list[str]:
    """Remove the scratch folders of processes of this host that are no more; returns their names."""
    if not root.is_dir():
        return []
    dead = [entry for entry in sorted(root.iterdir()) if _is_dead(entry.name)]
    for entry in dead:
        shutil.rmtree(entry, ignore_errors=True)
    return [entry.name for entry in dead]


def _is_dead(name: str) -> bool:
    host, separator, rest = name.rpartition("-")[0].rpartition("-")
    if not separator or host != socket.gethostname() or not rest.isdigit():
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
