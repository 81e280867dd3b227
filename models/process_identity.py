"""Which process owns something, in a way that no later process can be mistaken for it."""

import os
import socket

import psutil


def this_process() -> str:
    """Host, process id and start time: ids are reused, start times are not."""
    return _identity(os.getpid())


def is_dead(identity: str) -> bool:
    """Whether a process of this machine is gone; those of other machines count as alive."""
    host, _, rest = identity.partition(":")
    if host != socket.gethostname():
        return False
    process_id = int(rest.split(":")[0])
    return not psutil.pid_exists(process_id) or _identity(process_id) != identity


def _identity(process_id: int) -> str:
    return f"{socket.gethostname()}:{process_id}:{psutil.Process(process_id).create_time()}"
