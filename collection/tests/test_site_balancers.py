"""A site joins and leaves together with the load balancers that prefer it."""

import pytest
import yaml
from recorded_playbook import RecordedPlaybook

LOCAL = {"ansible_connection": "local"}
HOST = "atoll.registry.host:main"
BALANCER = "atoll.registry.load_balancer:main"


@pytest.fixture
def playbook(root, tmp_path):
    return RecordedPlaybook(root, tmp_path, variables=["load_balancer_sites_left_out"])


@pytest.fixture
def groups(example):
    """Return two sites with two hosts and a load balancer each, and a host of shared services."""

    def site(name, other):
        return LOCAL | {
            "registry_site": name,
            "registry_storage_preference": [f"{name}storage", f"{other}storage"],
            "registry_config": example,
        }

    return {
        "atoll_sites": {
            "us-1": site("us", "eu"),
            "us-2": site("us", "eu"),
            "eu-1": site("eu", "us"),
            "eu-2": site("eu", "us"),
        },
        "atoll_postgres": {"shared-1": LOCAL},
        "atoll_redis": {"shared-1": LOCAL},
        "atoll_load_balancer": {
            "lb-us": LOCAL | {"load_balancer_site": "us"},
            "lb-eu": LOCAL | {"load_balancer_site": "eu"},
        },
    }


def test_a_joining_load_balancer_is_prepared_before_it_is_deployed(playbook, groups):
    status, records = playbook.run("add_site", groups, site="eu")

    assert status == 0, playbook.output
    hosts = [host for host, action, _ in records if action == HOST]
    assert sorted(hosts) == ["eu-1", "eu-2", "lb-eu"]
    of_balancer = [action for host, action, _ in records if host == "lb-eu"]
    assert of_balancer[0] == HOST
    assert of_balancer[-1] == BALANCER


def test_load_balancers_use_a_joining_site_after_its_location_is_complete(playbook, groups):
    status, records = playbook.run("add_site", groups, site="eu")

    assert status == 0, playbook.output
    actions = [(host, action) for host, action, _ in records]
    complete = actions.index(("us-1", "atoll.registry.location"))
    before = [(host, values) for host, action, values in records[:complete] if action == BALANCER]
    after = [(host, values) for host, action, values in records[complete:] if action == BALANCER]
    # Problems of the new load balancer show before hours of copying.
    assert before == [("lb-eu", {"load_balancer_sites_left_out": ["eu"]})]
    assert after == [(host, {"load_balancer_sites_left_out": None}) for host in ("lb-us", "lb-eu")]


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({"TRUSTED_PROXIES": ["192.0.2.20"]}, True),
        ({"TRUSTED_PROXIES": ["192.0.2.20", "198.51.100.20"]}, True),
        ({"TRUSTED_PROXIES": ["198.51.100.20"]}, False),
        ({"TRUSTED_PROXIES": ["192.0.2.20"], "REGISTRY_TITLE": "another"}, False),
    ],
    ids=["without it", "with it", "without another", "with another change"],
)
def test_the_address_of_a_joining_load_balancer_may_be_new_in_trusted_proxies(
    playbook, groups, root, change, accepted
):
    groups["atoll_load_balancer"]["lb-eu"]["ansible_host"] = "198.51.100.20"
    groups["atoll_sites"]["us-1"]["changes"] = change
    installed = """
        {{ registry_config | atoll.registry.bundle_without_location('eustorage')
           | combine(changes) | atoll.registry.bundle_for_hosts
           | to_nice_yaml(indent=2, sort_keys=false) | hash('sha256') }}
    """
    fact = {"add_site_installed": {"stat": {"checksum": installed.strip()}}}
    bundle = yaml.safe_load((root / "playbooks/tasks/add_site/bundle.yml").read_text())
    play = {"hosts": "atoll_sites", "gather_facts": False}
    plays = [
        play | {"tasks": [{"ansible.builtin.import_tasks": "tasks/add_site/inventory.yml"}]},
        play | {"hosts": "us-1", "tasks": [{"ansible.builtin.set_fact": fact}, *bundle[1:]]},
    ]

    status, _ = playbook.run_plays(plays, groups, site="eu")

    assert (status == 0) == accepted, playbook.output
    assert accepted or "The bundle on us-1 differs" in playbook.output
