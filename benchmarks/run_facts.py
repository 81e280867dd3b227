"""How a benchmark was run: machine in words (no names of hosts or people), versions, command, memory."""

import json
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

_VECTORS = ("avx512f", "avx2")
"""Vector instructions of x86, the widest first."""
_SIZE = 1024
PACKAGES = ("duckdb", "faiss-cpu", "implicit", "numpy", "pandas", "scipy", "torch", "transformers")


def machine() -> dict[str, object]:
    """CPU model and what it does, cores that this process may use, memory, operating system, Python, accelerator."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "vectors": next((name for name in _VECTORS if name in _cpu_field("flags").split()), ""),
        "float64_gflops": float64_gflops(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "os": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
    }


def versions() -> dict[str, str]:
    """Versions of the packages that decide results."""
    return {name: version(name) for name in PACKAGES}


def command() -> str:
    """The command line, with absolute paths cut to their last part."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def peak_memory_gib() -> float:
    """Largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 2)


def write_results(path: Path, facts: Mapping[str, object], *, begun: float) -> None:
    """Write results with how they were made.

    Args:
        path: The results file; its folder is made.
        facts: What was measured.
        begun: `time.perf_counter()` at the start of the run.
    """
    made = {
        "seconds": round(time.perf_counter() - begun, 1),
        "peak_memory_gib": peak_memory_gib(),
        "machine": machine(),
        "versions": versions(),
        "command": command(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**facts, **made}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def float64_gflops() -> float:
    """Speed of a matrix product on all cores, the best of five: tells machines apart whose CPU has the same name."""
    left = np.random.default_rng(0).random((_SIZE, _SIZE))
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        left @ left
        seconds.append(time.perf_counter() - begun)
    return round(2 * _SIZE**3 / min(seconds) / 1e9, 1)


def _cpu_field(name: str) -> str:
    """A field of the first processor in Linux's own words; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.split(":")[0].strip() == name:
                return line.split(":", 1)[1].strip()
    return ""
