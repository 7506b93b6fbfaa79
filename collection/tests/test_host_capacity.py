"""A site gains and loses hosts while the others serve requests."""

import pytest
import yaml
from recorded_playbook import LOCAL, RecordedPlaybook, lose

HOST = "atoll.registry.host"
REGISTRY = "atoll.registry.registry"
BALANCER = "atoll.registry.load_balancer:main"


@pytest.fixture
def playbook(root, tmp_path):
    return RecordedPlaybook(root, tmp_path, variables=["load_balancer_hosts_left_out"])


def test_a_host_is_healthy_before_load_balancers_use_it(playbook, groups):
    status, records = playbook.run("add_host", groups, atoll_host="us-2")

    assert status == 0, playbook.output
    assert [(host, action) for host, action, _ in records] == [
        ("us-2", f"{HOST}:main"),
        ("us-2", f"{REGISTRY}:main"),
        ("lb-us", BALANCER),
        ("lb-eu", BALANCER),
    ]


def test_a_host_is_added_although_another_is_unreachable(playbook, groups):
    groups["atoll_sites"]["us-3"] = groups["atoll_sites"]["us-2"]
    lose(groups, "us-1", "eu-2")

    status, records = playbook.run("add_host", groups, atoll_host="us-3")

    assert status == 0, playbook.output
    assert (records[0][0], records[-1][0]) == ("us-3", "lb-eu")


@pytest.mark.parametrize(
    ("lost", "host", "sentence"),
    [
        ([], "us-9", "us-9 is not a host of a site; the hosts of the sites are: us-1, us-2, eu-1"),
        (["us-2"], "us-2", "us-2 cannot be reached"),
        (["lb-eu"], "us-2", "lb-eu cannot be reached"),
        (["us-1"], "us-2", "None of the other hosts of site us is reachable (us-1)"),
        ([], "eu-1", "eu-1 is the only host of site eu. To add a site, use playbooks/add_site.yml"),
    ],
    ids=["unknown", "unreachable", "a balancer", "no other", "the first"],
)
def test_a_host_is_not_added_unless_all_checks_pass(playbook, groups, lost, host, sentence):
    if host == "eu-1":
        del groups["atoll_sites"]["eu-2"]
    lose(groups, *lost)

    status, records = playbook.run("add_host", groups, atoll_host=host)

    assert status != 0
    assert records == []
    assert sentence in playbook.output


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        (("{{ expected }}", "a"), None),
        (("another", "a"), "The bundle on us-1 differs from the inventory"),
        (("{{ expected }}", "b"), "us-1 runs localhost/atoll@sha256:b, but the image"),
        (("{{ expected }}", ""), "us-1 runs no image"),
    ],
    ids=["equal", "another bundle", "another image", "no image"],
)
def test_a_host_is_added_only_if_the_others_match_the_inventory(
    playbook, groups, root, installed, sentence
):
    bundle, image = installed
    expected = """
        {{ registry_config | atoll.registry.bundle_for_hosts
           | to_nice_yaml(indent=2, sort_keys=false) | hash('sha256') }}
    """
    reference = f"localhost/atoll@sha256:{image}" if image else ""
    facts = {
        "add_host_installed": {"stat": {"checksum": bundle}},
        "registry_good_image": {"stdout": reference},
        "add_host_image": {"reference": "localhost/atoll@sha256:a"},
    }
    tasks = yaml.safe_load((root / "playbooks/tasks/add_host/compare.yml").read_text())
    checks = [task for task in tasks if "ansible.builtin.assert" in task]
    variables = {"expected": expected.strip(), "atoll_host": "us-2"}
    play = {"hosts": "us-1", "gather_facts": False, "vars": variables}

    status, _ = playbook.run_plays(
        [play | {"tasks": [{"ansible.builtin.set_fact": facts}, *checks]}], groups
    )

    assert (status == 0) == (sentence is None), playbook.output
    assert sentence is None or sentence in playbook.output


def test_a_host_is_removed_after_load_balancers_left_it(playbook, groups):
    status, records = playbook.run("remove_host", groups, atoll_host="us-1")

    assert status == 0, playbook.output
    assert [(host, action) for host, action, _ in records] == [
        ("us-2", "atoll.registry.health"),
        ("lb-us", BALANCER),
        ("lb-eu", BALANCER),
        ("us-1", "atoll.registry.service"),
        ("us-1", "atoll.registry.service"),
        ("us-1", "atoll.registry.service"),
        ("us-1", f"{REGISTRY}:remove"),
        ("us-1", f"{HOST}:remove"),
    ]
    left_out = [values for _, action, values in records if action == BALANCER]
    assert left_out == [{"load_balancer_hosts_left_out": ["us-1"]}] * 2
    assert "Now remove it from your inventory" in playbook.output


def test_a_lost_host_is_removed_from_load_balancers(playbook, groups):
    lose(groups, "us-1", "eu-1")

    status, records = playbook.run("remove_host", groups, atoll_host="us-1", atoll_lost=True)

    assert status == 0, playbook.output
    assert [host for host, _, _ in records] == ["lb-us", "lb-eu"]
    assert "It is unreachable and still has the registry" in playbook.output


def test_the_shared_settings_of_a_host_with_another_service_remain(playbook, groups):
    groups["atoll_redis"] = {"us-1": LOCAL}

    status, records = playbook.run("remove_host", groups, atoll_host="us-1")

    assert status == 0, playbook.output
    assert records[-1][:2] == ("us-1", f"{REGISTRY}:remove")


@pytest.mark.parametrize(
    ("lost", "host", "sentence"),
    [
        ([], "lb-us", "lb-us is not a host of a site"),
        (["us-1"], "us-1", "If the host is permanently lost, set -e atoll_lost=true"),
        (["lb-eu"], "us-1", "lb-eu cannot be reached"),
        ([], "eu-1", "eu-1 is the last host of site eu. To remove the site, use playbooks/remove_"),
    ],
    ids=["not a site", "unreachable", "a balancer", "the last"],
)
def test_a_host_is_not_removed_unless_all_checks_pass(playbook, groups, lost, host, sentence):
    if host == "eu-1":
        del groups["atoll_sites"]["eu-2"]
    lose(groups, *lost)

    status, records = playbook.run("remove_host", groups, atoll_host=host)

    assert status != 0
    assert records == []
    assert sentence in playbook.output


# Of the process of a container: port 8443 listens, or has a connection that is established or is
# closing. The last connection is one of the registry to another server.
LISTENING = " 0: 00000000:20FB 00000000:0000 0A 00000000:00000000\n"
ESTABLISHED = " 1: 0200580A:20FB 0100580A:D431 01 00000000:00000000\n"
CLOSING = " 1: 0200580A:20FB 0100580A:D431 06 00000000:00000000\n"
OUTGOING = " 2: 0200580A:D431 0A02000C:20FB 01 00000000:00000000\n"


@pytest.mark.parametrize(
    ("connections", "attempts"),
    [(LISTENING + ESTABLISHED, 3), (LISTENING + CLOSING + OUTGOING, 1), ("", 1)],
    ids=["connected", "not connected", "stopped"],
)
def test_a_host_is_drained_until_no_client_is_connected(
    playbook, groups, tmp_path, connections, attempts
):
    file = tmp_path / "tcp"
    file.write_text(connections)
    tasks = yaml.safe_load((playbook.root / "playbooks/tasks/remove_host/drain.yml").read_text())
    fact = {"remove_host_process": {"stdout": "1"}}
    tasks[0] = {"ansible.builtin.set_fact": fact}
    tasks[1]["ansible.builtin.command"] = {"argv": ["cat", str(file)]}
    made = {"msg": "attempts: {{ remove_host_connections.attempts }}."}
    tasks.append({"ansible.builtin.debug": made})
    play = {"hosts": "us-1", "gather_facts": False, "tasks": tasks}

    status, _ = playbook.run_plays([play], groups, atoll_drain_timeout=6)

    assert status == 0, playbook.output
    assert f"attempts: {attempts}." in playbook.output
