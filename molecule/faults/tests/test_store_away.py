"""A store dies in each way that stores die, and comes back, and nobody notices.

Bytes pass through the registry here (FEATURE_PROXY_STORAGE), so that a pull goes on elsewhere in
the middle. Of clients that are sent to the stores: test_store_away_redirected.py.
"""

from pathlib import Path

import pytest
from definition import Lab
from faults import STORE_FAULTS, StoreFault
from playbook import run_site
from recovery import Registry
from site_machine import SiteMachine
from store_case import lose_store


@pytest.fixture(scope="module", autouse=True)
def proxied(lab: Lab, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> None:
    changed = {**lab.bundle, "FEATURE_PROXY_STORAGE": True}
    outcome = run_site(lab, tmp_path_factory.mktemp("proxied"), registry_config=changed)
    assert outcome.status == 0, outcome.output
    registry.wait_until_whole()


@pytest.mark.parametrize("fault", STORE_FAULTS, ids=lambda fault: fault.__name__)
def test_nobody_notices_that_a_store_is_away(
    registry: Registry,
    us: SiteMachine,
    away: float,
    tmp_path: Path,
    fault: StoreFault,
) -> None:
    case = lose_store(registry, fault, us, tmp_path, away)

    assert list(map(str, case.failures)) == []
    assert list(map(str, case.waited_though_known())) == []
    assert list(map(str, case.waited_long())) == []
    assert registry.lost(tmp_path, case.pushed) == []
