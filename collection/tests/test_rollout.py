"""Sites are rolled out one after the other, and the hosts of a site in batches."""

import json
import re
import subprocess

import pytest
import yaml

PLAYBOOKS = ["site", "upgrade", "add_site", "remove_site", "add_host", "remove_host"]
RECORD = {
    "ansible.builtin.debug": {"msg": "batch: {{ ansible_play_batch | join(' ') }}."},
    "run_once": True,
}


@pytest.fixture
def play(root, tmp_path):
    """Return a function that runs plays with an inventory of sites and returns the process."""

    def run(sites, plays, *words, order=None, **variables):
        hosts = {
            host: {"registry_site": site, "ansible_connection": "local"} | variables_of_hosts
            for site, (names, variables_of_hosts) in sites.items()
            for host in names
        }
        group = {"hosts": {host: hosts[host] for host in order or hosts}}
        inventory = tmp_path / "inventory.json"
        inventory.write_text(json.dumps({"all": {"children": {"atoll_sites": group}}}))
        if isinstance(plays, list):
            text = yaml.safe_dump(plays, width=1000)
            file = tmp_path / "play.yml"
            file.write_text(text.replace(": tasks/", f": {root}/playbooks/tasks/"))
        else:
            file = plays
        command = ["ansible-playbook", f"--inventory={inventory}", str(file)]
        command += [*words, f"--extra-vars={json.dumps(variables)}"]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def batches(root, play):
    """Return a function that returns the batches of the serial plays of a playbook.

    The tasks of these plays are replaced, so that they only record their hosts.
    """

    def run(name, sites, *words, **variables):
        playbook = yaml.safe_load((root / f"playbooks/{name}.yml").read_text())
        plays = [one for one in playbook if one["name"] == "Plan the batches of hosts"]
        for one in playbook:
            if "serial" in one:
                one.pop("roles", None)
                plays.append(one | {"become": False, "gather_facts": False, "tasks": [RECORD]})
        if name in ("add_site", "remove_site"):
            groups = {"add_site": ("joining", "serving"), "remove_site": ("leaving", "staying")}
            yes, no = groups[name]
            key = f"{{{{ 'atoll_{yes}' if registry_site == atoll_site else 'atoll_{no}' }}}}"
            grouping = {"hosts": "atoll_sites", "gather_facts": False}
            plays.insert(0, grouping | {"tasks": [{"ansible.builtin.group_by": {"key": key}}]})
        done = play(sites, plays, *words, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return [found.split() for found in re.findall(r"batch: (.*)\.", done.stdout)]

    return run


@pytest.mark.parametrize("name", ["site", "upgrade"])
def test_a_batch_has_one_host_unless_the_site_sets_another_size(batches, name):
    sites = {
        "us": (["us-1", "us-2", "us-3"], {"atoll_batch": 2}),
        "eu": (["eu-1", "eu-2"], {}),
        "ap": (["ap-1", "ap-2", "ap-3", "ap-4"], {"atoll_batch": "50%"}),
    }

    assert batches(name, sites) == [
        ["us-1", "us-2"],
        ["us-3"],
        ["eu-1"],
        ["eu-2"],
        ["ap-1", "ap-2"],
        ["ap-3", "ap-4"],
    ]


def test_a_batch_never_has_all_hosts_of_a_site(batches):
    sites = {
        "us": (["us-1", "us-2"], {"atoll_batch": "100%"}),
        "eu": (["eu-1"], {"atoll_batch": 9}),
    }

    assert batches("site", sites) == [["us-1"], ["us-2"], ["eu-1"]]


def test_the_batch_size_can_be_set_on_the_command_line(batches):
    sites = {"us": (["us-1", "us-2", "us-3"], {}), "eu": (["eu-1"], {})}

    found = batches("site", sites, atoll_batch=2)

    assert found == [["us-1", "us-2"], ["us-3"], ["eu-1"]]


def test_a_limited_rollout_has_no_batch_of_two_sites(batches):
    sites = {
        "us": (["us-1", "us-2", "us-3"], {"atoll_batch": 2}),
        "eu": (["eu-1", "eu-2", "eu-3"], {"atoll_batch": 2}),
    }

    found = batches("site", sites, "--limit=us-2,us-3,eu-1")

    assert found == [["us-2", "us-3"], ["eu-1"]]


def test_hosts_of_different_sites_may_alternate_in_the_inventory(batches):
    sites = {"us": (["us-1", "us-2"], {}), "eu": (["eu-1", "eu-2"], {})}

    found = batches("site", sites, order=["us-1", "eu-1", "us-2", "eu-2"])

    assert found == [["us-1"], ["us-2"], ["eu-1"], ["eu-2"]]


@pytest.mark.parametrize("name", ["add_site", "remove_site"])
def test_other_sites_change_one_after_the_other_if_a_site_joins_or_leaves(batches, name):
    sites = {
        "us": (["us-1", "us-2"], {}),
        "eu": (["eu-1", "eu-2"], {}),
        "ap": (["ap-1", "ap-2", "ap-3"], {"atoll_batch": 2}),
    }
    others = [["us-1"], ["us-2"], ["eu-1"], ["eu-2"]]
    joining = [["ap-1", "ap-2"], ["ap-3"]] if name == "add_site" else []

    assert batches(name, sites, atoll_site="ap") == joining + others


def test_an_invalid_batch_size_is_refused(play):
    tasks = [{"ansible.builtin.import_tasks": "tasks/plan_batches.yml"}]
    plays = [{"hosts": "atoll_sites", "gather_facts": False, "tasks": tasks}]
    sites = {"us": (["us-1"], {"atoll_batch": 0}), "eu": (["eu-1"], {"atoll_batch": "1.5"})}

    done = play(sites, plays)

    assert done.returncode != 0
    assert 'atoll_batch of us-1 is "0"' in done.stdout + done.stderr
    assert 'atoll_batch of eu-1 is "1.5"' in done.stdout + done.stderr


def test_the_hosts_of_the_playbooks_can_be_listed(play, root):
    sites = {"us": (["us-1", "us-2"], {}), "eu": (["eu-1"], {})}
    others = [str(root / f"playbooks/{name}.yml") for name in PLAYBOOKS[1:]]

    done = play(
        sites, root / f"playbooks/{PLAYBOOKS[0]}.yml", *others, "--list-hosts", atoll_site="us"
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("playbook: ") == len(PLAYBOOKS)
    assert "us-2" in done.stdout


def test_stop_secondaries_stops_the_hosts_of_other_sites_only(play, root):
    sites = {"us": (["us-1", "us-2"], {}), "eu": (["eu-1", "eu-2"], {})}
    playbook = yaml.safe_load((root / "playbooks/upgrade.yml").read_text())
    (check,) = [one for one in playbook if one["name"] == "Check that all sites can be upgraded"]
    tasks = [task for task in check["tasks"] if "ansible.builtin.include_role" not in task]
    message = "stopped: {{ registry_upgrade_stopped_first | join(' ') }}."
    tasks.append({"ansible.builtin.debug": {"msg": message}, "run_once": True})
    plays = [check | {"become": False, "gather_facts": False, "tasks": tasks}]

    for strategy, stopped in (("stop_secondaries", "eu-1 eu-2"), ("rolling", "")):
        done = play(sites, plays, atoll_strategy=strategy)

        assert done.returncode == 0, done.stdout + done.stderr
        assert f"stopped: {stopped}." in done.stdout
