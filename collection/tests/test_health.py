"""A site is asked as a load balancer asks it, and its answer is put in a sentence."""

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import Unwell, ask
from ansible_collections.atoll.registry.plugins.modules.health import wait


def parameters(site, **other):
    return {
        "address": "127.0.0.1",
        "port": site.server_address[1],
        "hostname": "registry.example.org",
        "timeout": 0,
    } | other


def test_a_whole_site_tells_its_services(site, trust):
    assert ask(parameters(site), "/health/endtoend", trust) == {"database": True, "storage": True}


def test_what_is_not_well_is_named(site, trust):
    site.RequestHandlerClass.services = {"database": True, "storage": False}

    with pytest.raises(Unwell, match="answers 503; not well: storage"):
        wait(parameters(site), "/health/endtoend", trust)


def test_a_certificate_for_another_name_is_named(site, trust):
    with pytest.raises(Unwell, match=r"not valid for other\.example\.org"):
        ask(parameters(site, hostname="other.example.org"), "/health/endtoend", trust)


def test_a_silent_port_is_named(site, trust):
    with pytest.raises(Unwell, match="does not answer"):
        ask(parameters(site, port=1), "/health/endtoend", trust)
