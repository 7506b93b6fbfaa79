"""A site joins and leaves together with the load balancers that prefer it."""

import pytest
import yaml
from recorded_playbook import LOCAL, RecordedPlaybook, lose

HOST = "atoll.registry.host:main"
BALANCER = "atoll.registry.load_balancer:main"


@pytest.fixture
def playbook(root, tmp_path):
    return RecordedPlaybook(root, tmp_path, variables=["load_balancer_sites_left_out"])


def test_a_joining_load_balancer_is_prepared_before_it_is_deployed(playbook, groups):
    status, records = playbook.run("add_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    hosts = [host for host, action, _ in records if action == HOST]
    assert sorted(hosts) == ["eu-1", "eu-2", "lb-eu"]
    of_balancer = [action for host, action, _ in records if host == "lb-eu"]
    assert of_balancer[0] == HOST
    assert of_balancer[-1] == BALANCER


def test_load_balancers_use_a_joining_site_after_its_location_is_complete(playbook, groups):
    status, records = playbook.run("add_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    # Any of the other hosts waits for the location.
    complete = [action for _, action, _ in records].index("atoll.registry.location")
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

    status, _ = playbook.run_plays(plays, groups, atoll_site="eu")

    assert (status == 0) == accepted, playbook.output
    assert accepted or "The bundle on us-1 differs" in playbook.output


def test_load_balancers_leave_with_their_site(playbook, groups):
    playbook.deployed = True

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    assert [(host, action) for host, action, _ in records if host.startswith("lb")] == [
        # Both send no requests to the site before it stops.
        ("lb-us", BALANCER),
        ("lb-eu", BALANCER),
        ("lb-eu", "atoll.registry.load_balancer:leave"),
        ("lb-eu", "atoll.registry.load_balancer:remove"),
        ("lb-eu", "atoll.registry.host:remove"),
    ]
    left_out = [values for _, action, values in records if action == BALANCER]
    assert left_out == [{"load_balancer_sites_left_out": ["eu"]}] * 2
    actions = [(host, action) for host, action, _ in records]
    stopped = actions.index(("eu-1", "atoll.registry.service"))
    leaves = actions.index(("lb-eu", "atoll.registry.load_balancer:leave"))
    assert actions.index(("lb-eu", BALANCER)) < stopped < leaves
    assert "The load balancers lb-eu were removed, too" in playbook.output


def test_a_removed_load_balancer_is_not_deployed_again(playbook, groups):
    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    assert [host for host, action, _ in records if action == BALANCER] == ["lb-us"]
    assert not [host for host, action, _ in records if action.endswith(":leave")]


def test_a_load_balancer_on_a_host_of_another_service_leaves_its_shared_settings(playbook, groups):
    groups["atoll_postgres"]["lb-eu"] = LOCAL

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    assert ("lb-eu", "atoll.registry.load_balancer:remove") in {one[:2] for one in records}
    removed = [host for host, action, _ in records if action == "atoll.registry.host:remove"]
    assert sorted(removed) == ["eu-1", "eu-2"]


def test_the_last_load_balancer_is_kept(playbook, groups):
    del groups["atoll_load_balancer"]["lb-us"]
    playbook.deployed = True

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    assert [action for host, action, _ in records if host == "lb-eu"] == [BALANCER]
    assert "set its load_balancer_site to another site" in playbook.output


def test_a_lost_site_is_removed_although_its_load_balancer_is_unreachable(playbook, groups):
    lose(groups, "eu-1", "eu-2", "lb-eu")
    playbook.deployed = True

    status, records = playbook.run("remove_site", groups, atoll_site="eu", atoll_lost=True)

    assert status == 0, playbook.output
    assert {"lb-us", "us-1", "us-2"} == {host for host, _, _ in records}
    assert [host for host, action, _ in records if action == BALANCER] == ["lb-us"]


@pytest.mark.parametrize("host", ["lb-us", "shared-1"])
def test_other_load_balancers_and_services_must_be_reachable(playbook, groups, host):
    lose(groups, "eu-1", "lb-eu", host)

    status, records = playbook.run("remove_site", groups, atoll_site="eu", atoll_lost=True)

    assert status != 0
    assert records == []
    assert f"{host} cannot be reached" in playbook.output


def test_all_load_balancers_of_a_site_wait_for_their_clients_at_the_same_time(playbook, groups):
    for name in ("lb-eu", "lb-eu-2"):
        balancer = {"load_balancer_site": "eu", "keepalived_address": "198.51.100.30"}
        groups["atoll_load_balancer"][name] = LOCAL | balancer
    playbook.deployed = True

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    entries = [(host, action.split(".")[-1]) for host, action, _ in records if "lb-eu" in host]
    # In parallel, so in either order.
    assert sorted(entries[2:4]) == [
        ("lb-eu", "load_balancer:leave"),
        ("lb-eu-2", "load_balancer:leave"),
    ]
    assert entries[4:] == [
        ("lb-eu", "load_balancer:remove"),
        ("lb-eu", "host:remove"),
        ("lb-eu-2", "load_balancer:remove"),
        ("lb-eu-2", "host:remove"),
    ]


@pytest.mark.parametrize("floating", [True, False])
def test_a_leaving_load_balancer_keeps_its_floating_address(root, playbook, groups, floating):
    tasks = yaml.safe_load((root / "roles/load_balancer/tasks/leave.yml").read_text())
    play = {"hosts": "lb-eu", "gather_facts": False}
    address = {"keepalived_address": "198.51.100.30"} if floating else {}
    groups["atoll_load_balancer"]["lb-eu"] = LOCAL | {"load_balancer_leave_notice": 0} | address
    tasks[0]["ansible.builtin.command"] = {"argv": ["echo", "drained"]}
    tasks[0]["register"] = "drained"
    shown = {"msg": "drained: {{ drained is not skipped }}."}

    status, _ = playbook.run_plays(
        [play | {"tasks": [*tasks, {"ansible.builtin.debug": shown}]}], groups
    )

    assert status == 0, playbook.output
    assert f"drained: {not floating}." in playbook.output
    assert f"Remove {address.get('keepalived_address', 'its address')}" in playbook.output
