"""Clients are redirected to stores, but not to a store whose failure was detected.

Clients that were redirected just before the detection must retry, as podman does. Pushes pass
through the registry and never fail.
"""

from pathlib import Path

import pytest
from faults import STORE_FAULTS, StoreFault
from recovery import Registry
from site_machine import SiteMachine
from store_fault import run_with_store_fault

# Seconds. All effects of a fault occur at its start and at its end.
_SECONDS = 30


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=lambda fault: fault.__name__)
def test_no_client_is_redirected_to_a_store_after_its_failure_was_detected(
    registry: Registry, us: SiteMachine, tmp_path: Path, fault: StoreFault
) -> None:
    case = run_with_store_fault(registry, fault, us, tmp_path, _SECONDS)

    failed = [
        one for one in case.failures if one.what.startswith("push") or one.began > case.detected
    ]
    assert list(map(str, failed)) == []
    assert list(map(str, case.delayed_after_detection())) == []
    assert list(map(str, case.delayed())) == []
    assert registry.lost(tmp_path, case.pushed) == []
