"""The status report contains all problems, also of hosts that are unreachable."""

import base64
import json
import ssl

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.atoll.registry.plugins.filter.status import (
    registry_report,
    registry_table,
)
from ansible_collections.atoll.registry.plugins.modules import host_info
from ansible_collections.atoll.registry.plugins.modules.host_info import gather

pytestmark = pytest.mark.usefixtures("commands", "images")

SITES = {"us-1": "us", "eu-1": "eu"}
LOCATION = {
    "location": "usstorage",
    "state": "active",
    "pending_blobs": 2,
    "pending_bytes": 70,
    "oldest_seconds": 5.2,
    "failing_blobs": 0,
    "seen_by": [{"up": True}, {"up": False}],
}


@pytest.fixture
def images(monkeypatch):
    """Let the containers of running hosts have an image."""

    def image_of(module, _container):
        return f"atoll@sha256:{'a' * 64}" if module.running else ""

    monkeypatch.setattr(host_info, "image_of", image_of)


class Host:
    """The commands of a host, whose registry reports the given problems."""

    def __init__(self, endpoints=(), *, problems=(), active="active", running=True):
        self.params = {
            "units": ["atoll-registry.service"],
            "endpoints": list(endpoints),
            "container": "atoll-registry",
            "bundle": "/etc/atoll/stack/config.yaml",
            "max_lag": 60,
        }
        self.status = {"problems": list(problems), "locations": [LOCATION], "instances": []}
        self.active = active
        self.running = running

    def run_command(self, words):
        if words[0] == "systemctl":
            return 0, f"{self.active}\n", ""
        raise AssertionError(words)

    def exec(self, container, program, *words):
        assert (container, program) == ("atoll-registry", "atoll")
        if not self.running:
            return 125, "", "no such container\n"
        if words == ("--version",):
            return 0, "atoll 0.1.0\n", ""
        assert words == ("status", "--max-lag", "60", "--json")
        return int(bool(self.status["problems"])), json.dumps(self.status), ""

    def sha256(self, _path):
        return "b" * 64


def endpoint(site, trust_file, **other):
    return {
        "name": "registry",
        "address": "127.0.0.1",
        "port": site.server_address[1],
        "hostname": "registry.example.org",
        "paths": ["/health/endtoend"],
        "ca_file": str(trust_file),
    } | other


def test_a_healthy_registry_has_no_findings(site, certificate):
    answer = gather(Host([endpoint(site, certificate / "tls.crt")]))

    report = registry_report({"us-1": answer, "eu-1": answer}, SITES, 1)

    assert report["findings"] == []
    assert report["healthy"] is True
    first, second, *_ = registry_table(report)
    assert first.split()[:4] == ["host", "site", "image", "version"]
    assert second.split()[:8] == ["us-1", "us", "a" * 12, "0.1.0", "b" * 12, "1", "of", "1"]
    assert "up for 1 of 2" in "\n".join(registry_table(report))
    assert registry_table(report)[-1] == "The registry is healthy."


def test_the_problems_of_a_host_are_findings_with_its_name(site, certificate):
    site.RequestHandlerClass.services = {"storage": False}
    answer = gather(
        Host(
            [endpoint(site, certificate / "tls.crt")], active="failed", problems=["a copy is late"]
        )
    )

    report = registry_report({"us-1": answer}, SITES, 1)

    assert report["findings"] == [
        "us-1: atoll-registry.service is failed",
        "us-1: registry, /health/endtoend: its status is 503; unhealthy: storage",
        "a copy is late",
    ]
    assert "! a copy is late" in registry_table(report)


def test_an_unreachable_or_failed_host_is_a_finding():
    answers = {
        "us-1": {"unreachable": True, "msg": "no route\nto host"},
        "eu-1": {"failed": True, "msg": "sudo: a password is required"},
    }

    report = registry_report(answers, SITES, 14)

    assert report["findings"] == [
        "us-1: cannot be reached: no route to host",
        "eu-1: has no status: sudo: a password is required",
        "no site reports the health of the stores and the replication lag",
    ]
    assert "unknown" in registry_table(report)[1]


def test_a_stopped_registry_is_a_finding():
    report = registry_report({"us-1": gather(Host(running=False))}, SITES, 14)

    assert "us-1: the container atoll-registry is not running" in report["findings"][0]


def test_the_status_of_a_host_that_runs_only_clair_is_that_of_its_unit(root):
    tasks = yaml.safe_load((root / "playbooks/tasks/status/host.yml").read_text())
    (task,) = [task for task in tasks if "atoll.registry.host_info" in task]
    values = {"group_names": ["atoll", "atoll_clair"], "registry_config": {}}
    for name, value in task["vars"].items():
        values[name] = trusted(value)

    found = Templar(loader=DataLoader(), variables=values).template(
        trusted(task["atoll.registry.host_info"]["units"])
    )

    assert found == ["atoll-clair.service"]


def trusted(value):
    """Return a value of a playbook with its templates."""
    if isinstance(value, dict):
        return {key: trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def test_differing_hosts_are_a_finding_that_names_them():
    us, eu = gather(Host()), gather(Host())
    eu |= {"bundle": "c" * 64, "image": "atoll@sha256:" + "d" * 64}

    findings = registry_report({"us-1": us, "eu-1": eu}, SITES, 14)["findings"]

    assert findings == [
        f"the hosts differ in their image: {'a' * 12} on us-1; {'d' * 12} on eu-1",
        f"the hosts differ in their bundle: {'b' * 12} on us-1; {'c' * 12} on eu-1",
    ]


def test_a_certificate_that_expires_soon_is_a_finding_even_if_it_is_not_trusted(site, certificate):
    answer = gather(Host([endpoint(site, "", paths=[])]))
    served = base64.b64decode(answer["certificates"]["registry"])
    text = (certificate / "tls.crt").read_text()
    assert served == ssl.PEM_cert_to_DER_cert(text)

    report = registry_report({"us-1": answer}, {}, 14)

    (finding,) = report["findings"]
    assert finding.startswith("us-1: the certificate of its registry expires on 20")
    assert registry_report({"us-1": answer}, {}, 1)["healthy"] is True
    assert report["hosts"][0]["certificates"]["registry"]["days"] == 1


def test_a_closed_port_is_a_finding(site, certificate):
    answer = gather(Host([endpoint(site, certificate / "tls.crt", port=1)]))

    assert "does not respond" in answer["problems"][0]


CLUSTER = {
    "site": "ap",
    "namespace": "atoll",
    "known": True,
    "status": "kubectl exec -- atoll status",
    "instances": [
        {"hostname": "pod-1", "role": "registry", "version": "0.1.0", "bundle": "f" * 16}
    ],
    "problems": [],
}


def test_a_healthy_cluster_has_a_row_and_no_findings(site, certificate):
    answer = gather(Host([endpoint(site, certificate / "tls.crt")]))
    address = gather(Host([endpoint(site, certificate / "tls.crt")]))

    report = registry_report({"us-1": answer}, SITES, 1, [CLUSTER], {"ap": address})

    assert report["findings"] == []
    assert report["clusters"][0]["bundles"] == ["f" * 16]
    (row,) = [line for line in registry_table(report) if line.startswith("ap ")]
    assert row.split()[:6] == ["ap", "atoll", "0.1.0", "f" * 12, "1", "yes"]


def test_the_problems_of_a_cluster_and_of_its_address_are_findings_with_its_site(site, certificate):
    site.RequestHandlerClass.services = {"storage": False}
    answer = gather(Host())
    address = gather(Host([endpoint(site, certificate / "tls.crt")]))
    cluster = CLUSTER | {"problems": ["no instance of atoll-replication is running"]}

    report = registry_report({"us-1": answer}, SITES, 14, [cluster], {"ap": address})

    assert report["findings"][:2] == [
        "site ap: no instance of atoll-replication is running",
        "site ap: registry, /health/endtoend: its status is 503; unhealthy: storage",
    ]
    assert report["findings"][2].startswith("site ap: the certificate of its registry expires on")
    assert report["healthy"] is False


def test_an_address_that_could_not_be_checked_is_a_finding():
    failed = {"failed": True, "msg": "no route\nto host"}

    report = registry_report({"us-1": gather(Host())}, SITES, 14, [CLUSTER], {"ap": failed})

    assert report["findings"] == ["site ap: its address could not be checked: no route to host"]


def test_clusters_that_no_host_reports_are_unknown_and_findings_only_if_a_host_should_report():
    cluster = CLUSTER | {"known": False, "instances": [], "problems": ["no host reports it"]}

    alone = registry_report({}, {}, 14, [cluster])
    mixed = registry_report({"us-1": {"msg": "down"}}, SITES, 14, [cluster])

    assert alone["findings"] == []
    assert "unknown" in registry_table(alone)[3]
    # The registry may be unhealthy.
    assert registry_table(alone)[-1] == "kubectl exec -- atoll status"
    assert "site ap: no host reports it" in mixed["findings"]


def test_a_report_without_clusters_does_not_mention_them():
    report = registry_report({"us-1": gather(Host())}, SITES, 14)

    assert "clusters" not in report
    assert "cluster" not in "\n".join(registry_table(report))
