"""Telling the dead from the living."""

import subprocess
import sys

from models.process_identity import is_dead, this_process


def test_this_process_lives() -> None:
    assert not is_dead(this_process())


def test_ended_process_is_dead() -> None:
    command = "from models.process_identity import this_process; import sys; sys.stdout.write(this_process())"
    ended = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert is_dead(ended.stdout)


def test_reused_process_id_is_not_taken_for_the_old_process() -> None:
    host, process_id, started = this_process().rsplit(":", 2)
    assert is_dead(f"{host}:{process_id}:{float(started) - 1000}")


def test_process_of_another_machine_counts_as_alive() -> None:
    assert not is_dead("elsewhere:1:0.0")
