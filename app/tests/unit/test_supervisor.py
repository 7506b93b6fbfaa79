"""All processes stop when one dies, and one that ignores its stop signal is killed."""

from __future__ import annotations

import signal
from pathlib import Path

from atoll import exit_codes
from atoll.server.supervisor import Child, Supervisor

FOREVER = ["sleep", "60"]


def test_a_process_that_ignores_its_stop_signal_is_killed() -> None:
    child = Child("stubborn", FOREVER, signal.SIGCONT)
    child.start()
    child.stop(0.1)
    assert not child.running


def test_all_processes_stop_when_a_vital_one_dies(tmp_path: Path) -> None:
    supervisor = Supervisor(drain=5, notice=0, draining=tmp_path / "draining")
    dying = Child("dying", ["true"], signal.SIGTERM)
    other = Child("other", FOREVER, signal.SIGTERM)
    supervisor.start_backends([dying, other])
    supervisor.make_vital([dying])
    assert supervisor.supervise(lambda: None) == exit_codes.FAILED
    assert not other.running


def test_other_work_is_done_while_a_process_runs(tmp_path: Path) -> None:
    supervisor = Supervisor(drain=5, notice=0, draining=tmp_path / "draining")
    waiting = Child(
        "waiting", ["sh", "-c", f"until [ -e {tmp_path}/done ]; do :; done; exit 3"], signal.SIGTERM
    )
    assert supervisor.run(waiting, meanwhile=(tmp_path / "done").touch) == 3
