"""HAProxy limits the connections and methods of a client."""

import re

import jinja2
import pytest
import yaml


@pytest.fixture
def configuration(root):
    def render(**variables):
        environment = jinja2.Environment(  # the output is not HTML
            loader=jinja2.FileSystemLoader(root / "roles/load_balancer/templates"),
            trim_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters["extract"] = lambda name, hosts: hosts[name]
        environment.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
        defaults = (root / "roles/load_balancer/defaults/main.yml").read_text()
        host = {"registry_site": "us", "inventory_hostname": "us1", "ansible_host": "192.0.2.1"}
        return environment.get_template("haproxy.cfg.j2").render(
            yaml.safe_load(defaults)
            | {
                "ansible_managed": "Ansible managed",
                "groups": {"atoll_sites": ["us1"]},
                "hostvars": {"us1": host},
                "registry_hostname": "registry.test",
                "load_balancer_site": "us",
            }
            | variables
        )

    return render


def test_the_connections_of_a_client_are_limited(configuration):
    text = configuration(load_balancer_client_connections=77)

    assert "tcp-request connection track-sc0 src" in text
    assert "tcp-request connection reject if { sc0_conn_cur gt 77 }" in text
    assert "reject" not in configuration(load_balancer_client_connections=0)


def test_unknown_methods_are_refused(configuration):
    (rule,) = [line for line in configuration().splitlines() if "status 405" in line]

    assert rule.endswith("unless { method GET HEAD POST PUT PATCH DELETE OPTIONS }")
    assert "UNSUPPORTED" in rule


def test_headers_have_a_time_limit_and_bodies_are_not_buffered(configuration):
    text = configuration()

    assert re.search(r"timeout http-request \d+s", text)
    assert "http-buffer-request" not in text


def test_a_host_that_is_left_out_receives_no_requests(configuration):
    assert " server us1 " in configuration()
    assert " server us1 " not in configuration(load_balancer_hosts_left_out=["us1"])
