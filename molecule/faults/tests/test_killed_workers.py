"""The replication worker is killed many times at random while it has blobs to copy."""

import os
import random
from pathlib import Path

from commands import wait_until
from recovery import Registry, sustain
from site_machine import SiteMachine

_KILLS = int(os.environ.get("ATOLL_TEST_KILLS", "50"))
# The maximum lifetime of a worker in seconds. It claims tasks two or three seconds after its start.
_LIFE = 8.0


def test_no_copy_is_lost_when_the_worker_is_killed_many_times(
    registry: Registry, eu: SiteMachine, tmp_path: Path
) -> None:
    def running() -> bool:
        state = eu.attempt("podman inspect --format={{.State.Running}} atoll-replication")
        return state.stdout.strip() == "true"

    with registry.traffic(tmp_path) as traffic:
        wait_until("clients push and pull", traffic.works)
        for _ in range(_KILLS):
            wait_until("the worker is running", running)
            sustain(random.uniform(0, _LIFE))
            eu.run("podman kill --signal=KILL atoll-replication")

    assert list(map(str, traffic.failures())) == []
    assert registry.lost(tmp_path, traffic.pushed) == []
