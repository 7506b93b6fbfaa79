"""Health is requested as a load balancer does, and errors name the cause."""

import json

import pytest
from ansible.module_utils import basic
from ansible_collections.atoll.registry.plugins.module_utils.endpoint import (
    Unhealthy,
    request_health,
)
from ansible_collections.atoll.registry.plugins.modules.health import main, wait


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


def test_the_error_makes_no_statement_about_other_hosts(site, certificate, monkeypatch, capsys):
    """Hosts are started concurrently, and the module cannot know the state of the others."""
    site.RequestHandlerClass.services = {"database": False}
    options = parameters(site, paths=["/health/instance"], ca_file=str(certificate / "tls.crt"))
    monkeypatch.setattr(
        basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode()
    )
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy")

    with pytest.raises(SystemExit):
        main()
    message = json.loads(capsys.readouterr().out)["msg"]
    assert "did not become healthy within 0 seconds" in message
    assert "host" not in message.partition("seconds")[2]
