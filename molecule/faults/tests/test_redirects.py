"""Clients are sent to the stores, and to none that is known to be dead.

Whoever was sent to a store in the moments before its site noticed has to come again, as podman does
by itself. Pushes pass through the registry and never fail.
"""

from pathlib import Path

import pytest
from faults import STORE_FAULTS, StoreFault
from recovery import Registry
from site_machine import SiteMachine
from store_case import lose_store

# What is to be seen happens in the first seconds, and in the last.
_SECONDS = 30


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=lambda fault: fault.__name__)
def test_no_client_is_sent_to_a_store_that_is_known_to_be_away(
    registry: Registry, us: SiteMachine, tmp_path: Path, fault: StoreFault
) -> None:
    case = lose_store(registry, fault, us, tmp_path, _SECONDS)

    failed = [one for one in case.failures if one.what.startswith("push") or one.began > case.known]
    assert list(map(str, failed)) == []
    assert list(map(str, case.waited_though_known())) == []
    assert list(map(str, case.waited_long())) == []
    assert registry.lost(tmp_path, case.pushed) == []
