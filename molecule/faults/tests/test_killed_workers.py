"""The replication worker is killed at many random moments, and has something to copy at each."""

import os
import random
from pathlib import Path

from commands import wait_until
from recovery import Registry, stay
from site_machine import SiteMachine

_KILLS = int(os.environ.get("ATOLL_TEST_KILLS", "50"))
# Seconds. It takes tasks two or three after its start.
_LIFE = 8.0


def test_nothing_is_lost_however_often_the_worker_is_killed(
    registry: Registry, eu: SiteMachine, tmp_path: Path
) -> None:
    def running() -> bool:
        state = eu.attempt("podman inspect --format={{.State.Running}} atoll-replication")
        return state.stdout.strip() == "true"

    with registry.traffic(tmp_path) as traffic:
        wait_until("people are at work", traffic.works)
        for _ in range(_KILLS):
            wait_until("the worker is started again", running)
            stay(random.uniform(0, _LIFE))
            eu.run("podman kill --signal=KILL atoll-replication")

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []
