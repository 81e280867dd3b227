"""Runs a program so that it ends with the process that started it: `python bound_process.py PARENT SIGNAL PROGRAM …`.

A killed parent cannot stop its children. A dbt that lived on would write beside the next writer, for the lock that its
parent held is free at once; a web server would keep its port. Linux only; elsewhere dbt stops at its next write to the
broken pipe, and servers have to be ended by hand.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def bound_command(command: Sequence[str], number: signal.Signals = signal.SIGKILL) -> list[str]:
    """Command line that runs a program for as long as this process lives.

    Args:
        command: Path of the program and its arguments.
        number: What the program gets when this process ends; SIGTERM for one that has children of its own to stop.
    """
    return [sys.executable, str(Path(__file__)), str(os.getpid()), number.name, *command]


def main() -> None:
    """Ask the kernel for the signal at the death of the parent, then become the program."""
    parent, number, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.Signals[number])
        if os.getppid() != int(parent):
            sys.exit(f"the process that started {command[0]} has ended")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
