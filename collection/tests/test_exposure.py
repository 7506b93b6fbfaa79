"""Validation warns of components that more hosts than necessary can reach."""

import pytest
from ansible_collections.atoll.registry.plugins.filter.exposure import exposure_warnings


@pytest.mark.parametrize("metrics", ["0.0.0.0", "[::]", "192.0.2.1"])
def test_metrics_on_a_client_address_cause_a_warning(metrics):
    (warning,) = exposure_warnings("registry", "192.0.2.1", metrics_address=metrics)

    assert warning.startswith(f"registry_metrics_address ({metrics})")


@pytest.mark.parametrize("metrics", ["", "127.0.0.1", "[::1]", "10.0.0.1"])
def test_metrics_on_a_management_address_cause_no_warning(metrics):
    assert exposure_warnings("registry", "192.0.2.1", metrics_address=metrics) == []


def test_a_database_that_is_open_to_any_host_causes_a_warning():
    networks = ["192.0.2.0/24", "all"]

    (warning,) = exposure_warnings("postgres", "192.0.2.1", networks=networks)

    assert warning.startswith("postgres_allowed_networks contains all")
