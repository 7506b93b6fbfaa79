"""HAProxy's configuration, rendered as the role renders it."""

import re

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template


@pytest.fixture
def configuration(root):
    """Return haproxy.cfg for two sites."""
    defaults = yaml.safe_load((root / "roles/load_balancer/defaults/main.yml").read_text())
    hosts = {
        f"{site}-1": {"inventory_hostname": f"{site}-1", "registry_site": site}
        for site in ("us", "eu")
    }
    variables = defaults | {
        "ansible_managed": "Ansible managed",
        "groups": {"atoll_sites": list(hosts)},
        "hostvars": hosts,
        "registry_hostname": "registry.example.org",
        "load_balancer_site": "us",
    }
    template = (root / "roles/load_balancer/templates/haproxy.cfg.j2").read_text()
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(template))


def test_the_log_has_no_query_strings(configuration):
    # The formats of these contain the request line with its query.
    assert not re.search(r"^\s*(option httplog|error-log-format)", configuration, re.MULTILINE)
    (line,) = re.findall(r"^ *log-format .*$", configuration, re.MULTILINE)
    assert "%HM %HPO %HV" in line
    assert not re.search(r"%(\{[^}]*\})?(r|HU|HQ|HP)\b", line)


def test_each_site_is_a_server_of_both_backends(configuration):
    assert len(re.findall(r"^ *server (us|eu)-1 ", configuration, re.MULTILINE)) == 4
