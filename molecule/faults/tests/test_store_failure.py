"""Clients see no failure when a store fails in any way and recovers.

Blobs pass through the registry (FEATURE_PROXY_STORAGE), so that an interrupted pull continues at
another store. test_redirects.py tests clients that are redirected to the stores.
"""

from pathlib import Path

import pytest
from definition import Lab
from faults import STORE_FAULTS, StoreFault
from playbook import run_site
from recovery import Registry
from site_machine import SiteMachine
from store_fault import run_with_store_fault


@pytest.fixture(scope="module", autouse=True)
def proxied(lab: Lab, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> None:
    changed = {**lab.bundle, "FEATURE_PROXY_STORAGE": True}
    outcome = run_site(lab, tmp_path_factory.mktemp("proxied"), registry_config=changed)
    assert outcome.status == 0, outcome.output
    registry.wait_until_healthy()


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=lambda fault: fault.__name__)
def test_clients_see_no_failure_while_a_store_is_unavailable(
    registry: Registry,
    us: SiteMachine,
    outage: float,
    tmp_path: Path,
    fault: StoreFault,
) -> None:
    case = run_with_store_fault(registry, fault, us, tmp_path, outage)

    assert list(map(str, case.failures)) == []
    assert list(map(str, case.delayed_after_detection())) == []
    assert list(map(str, case.delayed())) == []
    assert registry.lost(tmp_path, case.pushed) == []
