"""An empty directory and a file of twelve answers become a registry that passes its smoke test.

The tests depend on their order: each begins with the state that the previous one left.
"""

import json
import re
import shutil
from typing import Any

import pytest
from commands import REPOSITORY
from conftest import Operator
from definition import Lab, Machine, Store

_SITE = ("atoll.registry.site", "--inventory=production")


def addresses(*machines: Machine) -> dict[str, str]:
    return {machine.name: machine.address for machine in machines}


def region(lab: Lab, index: int) -> dict[str, Any]:
    site, store = lab.sites[index], lab.stores[index]
    balancers = [one for one in lab.load_balancers if one.site == site.name]
    return {
        "name": site.name,
        "hosts": addresses(*site.machines),
        "load_balancers": addresses(*balancers),
        "store": _store(store),
    }


def _store(store: Store) -> dict[str, str]:
    return {
        "kind": "ceph",
        "endpoint": store.endpoint,
        "bucket": store.bucket,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
    }


def answers(lab: Lab) -> dict[str, Any]:
    return {
        "atoll_inventory": "production",
        "atoll_hostname": lab.registry_hostname,
        "atoll_regions": [region(lab, 0), region(lab, 1)],
        "atoll_shared_host": addresses(lab.shared[0]),
        "atoll_images": str(REPOSITORY / ".cache/images"),
        "atoll_ssh_user": "deploy",
        "atoll_ssh_key": str(lab.state / "id_ed25519"),
        "atoll_ca_files": ["stores.crt"],
    }


@pytest.fixture(scope="module")
def initialized(lab: Lab, operator: Operator) -> Operator:
    """Create the inventory in the empty directory."""
    file = operator.directory / "answers.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(answers(lab)))
    shutil.copy(lab.certificate_authority, operator.directory / "stores.crt")
    done = operator.run("ansible-playbook", "atoll.registry.init", "--extra-vars=@answers.json")
    assert done.returncode == 0, done.stdout
    return operator


def changed(output: str) -> dict[str, int]:
    recap = output.partition("PLAY RECAP")[2]
    return {host: int(count) for host, count in re.findall(r"^(\S+) .*changed=(\d+)", recap, re.M)}


def test_the_rollout_of_the_created_inventory_passes_its_smoke_test(
    lab: Lab, initialized: Operator
) -> None:
    done = initialized.run("ansible-playbook", *_SITE)

    assert done.returncode == 0, done.stdout
    output = " ".join(done.stdout.split())
    assert f"https://{lab.registry_hostname}" in output
    assert "smoke test" in output.lower()


def test_a_second_rollout_changes_nothing(initialized: Operator) -> None:
    done = initialized.run("ansible-playbook", *_SITE)

    assert done.returncode == 0, done.stdout
    assert changed(done.stdout)
    assert not any(changed(done.stdout).values()), done.stdout


def test_the_preflight_finds_no_error_in_the_deployed_registry(initialized: Operator) -> None:
    report = initialized.directory / "preflight.json"
    done = initialized.run(
        "ansible-playbook",
        "atoll.registry.preflight",
        "--inventory=production",
        f"--extra-vars=atoll_preflight_report={report}",
    )

    assert done.returncode == 0, done.stdout
    problems = json.loads(report.read_text())["problems"]
    assert [one for one in problems if one["severity"] == "error"] == []
