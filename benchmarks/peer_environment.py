"""Virtual environments of the peers: each library gets its own, made on first use and kept."""

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

RUNNERS = Path(__file__).parent / "peers"
TORCH = "torch==2.13.0"
"""The project's own pin: a looser one takes a CUDA build of several gigabytes."""
REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "rectools": (TORCH, "rectools[torch]==0.19.0", "pyarrow<22"),
    "implicit": ("implicit==0.7.3", "pandas", "pyarrow"),
    "lenskit": (TORCH, "lenskit==2025.8.1", "pyarrow"),
}
_MARKER = "freshet-peer.json"


def peer_python(root: Path, peer: str) -> Path:
    """The interpreter of a peer's environment below `root`; installs the library where it is not there yet.

    Raises:
        SystemExit: pip could not install it.
    """
    folder = root / peer
    python = folder / "bin" / "python"
    wanted = json.dumps(REQUIREMENTS[peer])
    marker = folder / _MARKER
    if marker.is_file() and marker.read_text() == wanted:
        return python
    if not python.is_file():
        venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS[peer]]
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(f"{peer} could not be installed into {folder}; its requirements are {REQUIREMENTS[peer]}")
    marker.write_text(wanted)
    return python


def run_peer(python: Path, peer: str, words: Sequence[str]) -> None:
    """Run a peer's runner to its end; what it prints goes to standard error.

    Raises:
        SystemExit: it failed.
    """
    command = [str(python), str(RUNNERS / f"run_{peer}.py"), *words]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise SystemExit(f"the runner of {peer} failed: {' '.join(command[1:])}")
