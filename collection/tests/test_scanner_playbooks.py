"""Clair is deployed before the registry uses it, and leaves with its site."""

import pytest
from recorded_playbook import LOCAL, RecordedPlaybook

CLAIR = "atoll.registry.clair:main"
REMOVAL = "atoll.registry.clair:remove"
REGISTRY = "atoll.registry.registry:main"
HOST = "atoll.registry.host:main"
HOST_REMOVAL = "atoll.registry.host:remove"
# The summary at the end of a rollout needs the results of the replaced modules.
CHECK = ["--check"]
URI = "postgresql://clair@db.test/clair"


UPGRADE_PLAYS = [
    "Check that all sites can be upgraded",
    "Stop all sites except the first with the strategy stop_secondaries",
    "Start the Clairs that were stopped with the strategy stop_secondaries",
]


@pytest.fixture
def playbook(root, tmp_path):
    return RecordedPlaybook(root, tmp_path)


@pytest.fixture
def groups(groups):
    """Return two sites, one of which has a Clair on a host of its own."""
    shared = {"clair_database_uri": URI}
    groups["atoll_clair"] = {
        "us-1": groups["atoll_sites"]["us-1"] | shared,
        "scan-eu": LOCAL | shared | {"clair_site": "eu"},
    }
    return groups


def steps(records, *actions):
    return [(host, action) for host, action, _ in records if action in actions]


def test_clair_is_deployed_before_the_registry(playbook, groups):
    status, records = playbook.run("site", groups, *CHECK)

    assert status == 0, playbook.output
    order = steps(records, CLAIR, REGISTRY)
    assert order[:2] == [("us-1", CLAIR), ("scan-eu", CLAIR)]
    assert [action for _, action in order[2:]] == [REGISTRY] * 4


def test_a_deployed_clair_gets_a_new_key_after_the_registry_has_both(playbook, groups):
    playbook.deployed = True

    status, records = playbook.run("site", groups, *CHECK, clair_previous_psk="previous")

    assert status == 0, playbook.output
    order = steps(records, CLAIR, REGISTRY)
    assert [action for _, action in order[:4]] == [REGISTRY] * 4
    assert order[4:] == [("us-1", CLAIR), ("scan-eu", CLAIR)]


def test_a_new_clair_is_deployed_before_the_registry_although_the_key_is_replaced(playbook, groups):
    status, records = playbook.run("site", groups, *CHECK, clair_previous_psk="previous")

    assert status == 0, playbook.output
    assert steps(records, CLAIR, REGISTRY)[0] == ("us-1", CLAIR)


def test_an_inventory_without_clair_deploys_none(playbook, groups):
    del groups["atoll_clair"]

    status, records = playbook.run("site", groups, *CHECK)

    assert status == 0, playbook.output
    assert not steps(records, CLAIR)


def test_a_joining_site_gets_its_clair_before_its_registry(playbook, groups):
    status, records = playbook.run("add_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    of_clair = [action for host, action, _ in records if host == "scan-eu"]
    assert of_clair == [HOST, CLAIR]
    assert steps(records, CLAIR, REGISTRY)[0] == ("scan-eu", CLAIR)
    assert ("us-1", CLAIR) not in steps(records, CLAIR)


def test_the_clair_of_a_leaving_site_is_removed_with_its_host(playbook, groups):
    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    of_clair = [action for host, action, _ in records if host == "scan-eu"]
    assert of_clair == [REMOVAL, HOST_REMOVAL]
    assert steps(records, REMOVAL) == [("scan-eu", REMOVAL)]


def test_a_host_that_keeps_the_clair_of_another_site_keeps_its_settings(playbook, groups):
    groups["atoll_clair"]["eu-1"] = groups["atoll_sites"]["eu-1"] | {"clair_site": "us"}
    groups["atoll_sites"]["eu-1"]["clair_site"] = "us"

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    assert ("eu-1", HOST_REMOVAL) not in steps(records, HOST_REMOVAL)
    assert ("eu-2", HOST_REMOVAL) in steps(records, HOST_REMOVAL)


def test_the_last_clair_cannot_leave_while_the_registry_scans(playbook, groups):
    for host in groups["atoll_sites"].values():
        host["registry_config"] |= {
            "FEATURE_SECURITY_SCANNER": True,
            "SCANNER_ENDPOINTS": {"eustorage": "http://10.2.0.30:6060"},
        }

    status, records = playbook.run("remove_site", groups, atoll_site="eu")

    assert status != 0
    assert "although no scanner is configured" in playbook.output
    assert not records


def test_settings_that_name_the_clair_of_the_removed_site_are_reported(playbook, groups):
    url = "http://scan-eu:6060"
    for host in groups["atoll_sites"].values():
        host["registry_config"] |= {
            "SECURITY_SCANNER_V4_ENDPOINT": url,
            "SCANNER_ENDPOINTS": {"eustorage": url},
        }

    status, _ = playbook.run("remove_site", groups, atoll_site="eu")

    assert status == 0, playbook.output
    warning = "WARNING: SECURITY_SCANNER_V4_ENDPOINT of registry_config still names the Clair"
    assert warning in playbook.output


def test_a_removed_host_that_runs_clair_keeps_its_settings(playbook, groups):
    status, records = playbook.run("remove_host", groups, atoll_host="us-1")

    assert status == 0, playbook.output
    assert not steps(records, HOST_REMOVAL, REMOVAL)


@pytest.mark.parametrize("strategy", ["rolling", "stop_secondaries"])
def test_an_upgrade_stops_the_clairs_of_the_sites_that_it_stops(playbook, groups, strategy):
    plays = [play for play in playbook._plays("upgrade", {}) if play["name"] in UPGRADE_PLAYS]
    for play in plays:
        for task in play["tasks"]:
            if "loop" in task and "scanner_hosts" in str(task["loop"]):
                message = "record: {{ {'host': item, 'action': ansible_play_name, 'values': {}}"
                task["ansible.builtin.debug"] = {"msg": message + " | to_json }} end"}
    facts = {
        "registry_good_image": {"stdout": "old"},
        "registry_image_result": {"reference": "new"},
    }

    status, records = playbook.run_plays(plays, groups, atoll_strategy=strategy, **facts)

    assert status == 0, playbook.output
    stopped = {action for host, action, _ in records if host == "scan-eu"}
    assert stopped == (set(UPGRADE_PLAYS[1:]) if strategy == "stop_secondaries" else set())
    assert "us-1" not in {host for host, action, _ in records if action in UPGRADE_PLAYS}


def test_updates_are_imported_once_for_each_database(playbook, groups):
    groups["atoll_clair"]["scan-ap"] = LOCAL | {"clair_database_uri": "postgresql://ap.test/clair"}

    status, records = playbook.run("scanner_update", groups, atoll_scanner_updates="updates")

    assert status == 0, playbook.output
    assert [host for host, _, _ in records] == ["us-1", "scan-ap"]


@pytest.mark.parametrize("option", ["atoll_scanner_updates", "file"])
def test_the_file_is_relative_to_the_current_directory(root, tmp_path, groups, option, monkeypatch):
    monkeypatch.setenv("PWD", str(tmp_path))
    playbook = RecordedPlaybook(root, tmp_path, variables=["clair_updates_file"])

    _, records = playbook.run("scanner_update", groups, **{option: "media/updates.json.gz"})

    assert [values for _, _, values in records] == [
        {"clair_updates_file": f"{tmp_path}/media/updates.json.gz"}
    ], playbook.output


def test_a_wrong_file_is_refused_before_clair_is_asked(root, groups, tmp_path):
    groups["atoll_clair"].pop("scan-eu")
    file = tmp_path / "updates.json.gz"
    file.write_text("no gzip")
    play = {
        "hosts": "atoll_clair",
        "gather_facts": False,
        "tasks": [
            {
                "ansible.builtin.include_role": {
                    "name": "atoll.registry.clair",
                    "tasks_from": "update",
                }
            }
        ],
    }

    playbook = RecordedPlaybook(root, tmp_path)
    status, _ = playbook.run_plays([play], groups, clair_updates_file=str(file))

    assert status != 0
    assert f"{file} is not compressed with gzip" in playbook.output
    assert "Check that Clair is running" not in playbook.output


def test_the_database_of_the_registry_is_refused_before_the_host_is_changed(
    root, groups, tmp_path, example
):
    groups["atoll_clair"].pop("scan-eu")
    role = {"name": "atoll.registry.clair"}
    play = {
        "hosts": "atoll_clair",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": role}],
    }

    playbook = RecordedPlaybook(root, tmp_path)
    status, _ = playbook.run_plays(
        [play],
        groups,
        registry_hostname="registry.test",
        clair_psk="5d0c1a9e7b3f4826" * 4,
        clair_database_uri=example["DB_URI"],
    )

    assert status != 0
    assert "Clair needs a database of its own" in playbook.output
    assert "Ensure the container user is present" not in playbook.output
