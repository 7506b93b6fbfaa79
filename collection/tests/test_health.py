"""Health is requested as a load balancer does, and errors name the cause."""

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import (
    Unhealthy,
    request_health,
)
from ansible_collections.atoll.registry.plugins.modules.health import wait


def parameters(site, **other):
    return {
        "address": "127.0.0.1",
        "port": site.server_address[1],
        "hostname": "registry.example.org",
        "timeout": 0,
    } | other


def test_a_healthy_site_returns_its_services(site, trust):
    assert request_health(parameters(site), "/health/endtoend", trust) == {
        "database": True,
        "storage": True,
    }


def test_the_error_names_unhealthy_services(site, trust):
    site.RequestHandlerClass.services = {"database": True, "storage": False}

    with pytest.raises(Unhealthy, match="its status is 503; unhealthy: storage"):
        wait(parameters(site), "/health/endtoend", trust)


def test_the_error_for_a_certificate_of_another_name_contains_the_hostname(site, trust):
    with pytest.raises(Unhealthy, match=r"not valid for other\.example\.org"):
        request_health(parameters(site, hostname="other.example.org"), "/health/endtoend", trust)


def test_a_closed_port_is_reported_as_no_response(site, trust):
    with pytest.raises(Unhealthy, match="does not respond"):
        request_health(parameters(site, port=1), "/health/endtoend", trust)
