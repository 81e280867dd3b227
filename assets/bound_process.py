"""Runs dbt so that it dies with the process that started it: `python dbt_process.py build …`.

The parent holds the lake's write lock while dbt writes. If the parent is killed, the lock is free at once, and a dbt
that lived on would write beside the next writer. Linux only; elsewhere dbt stops at its next write to the broken pipe.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel to kill this process when its parent dies, then become dbt."""
    parent = int(sys.argv[1])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that started dbt has ended")
    executable = str(Path(sys.executable).with_name("dbt"))
    os.execv(executable, [executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
