import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from models.errors import ConfigurationError
from orchestration.commands.child_processes import ChildProcesses, Service

# Starts a child of its own, as webserver and daemon do, and ignores that its parent ends.
PARENT = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[2], "w").write(str(child.pid))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def service(port: int, note: Path) -> Service:
    url = f"http://127.0.0.1:{port}/"
    return Service("web", [sys.executable, "-c", PARENT, str(port), str(note)], url, "a server", url)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_alive(process_id: int) -> bool:
    return psutil.pid_exists(process_id) and bool(psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE)


def test_leaving_stops_services_and_their_children(tmp_path: Path, port: int) -> None:
    note = tmp_path / "child"
    with ChildProcesses(tmp_path / "logs", dict(os.environ)) as children:
        children.start(service(port, note))
        children.wait_until_ready(service(port, note), 30)
        grandchild = int(note.read_text())
        assert is_alive(grandchild)
    deadline = time.monotonic() + 5
    while is_alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux tells children")
def test_a_killed_command_leaves_no_service_behind(tmp_path: Path) -> None:
    code = f"""
import os, pathlib, sys, time
from orchestration.commands.child_processes import ChildProcesses, Service
with ChildProcesses(pathlib.Path({str(tmp_path)!r}), dict(os.environ)) as children:
    children.start(Service("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], "", ""))
    print(children._running["sleeper"].pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        service_id = int(command.stdout.readline())
        assert is_alive(service_id)
        command.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while is_alive(service_id) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(service_id)


@pytest.mark.parametrize(
    ("program", "timeout_s", "message"),
    [("import sys; sys.exit('port is taken')", 30, "port is taken"), ("import time; time.sleep(60)", 0.5, "did not")],
)
def test_a_service_that_never_answers_is_told(tmp_path: Path, program: str, timeout_s: float, message: str) -> None:
    broken = Service("web", [sys.executable, "-c", program], "", "", "http://127.0.0.1:1/")
    with ChildProcesses(tmp_path, dict(os.environ)) as children:
        children.start(broken)
        with pytest.raises(ConfigurationError, match=message):
            children.wait_until_ready(broken, timeout_s)
