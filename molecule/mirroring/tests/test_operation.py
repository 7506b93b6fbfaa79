"""The playbooks apply mirrors once, keep their passwords, and stop and start the mirror process.

The tests depend on their order.
"""

from pathlib import Path

import pytest
from conftest import Apply
from definition import Lab
from docker_upstream import PASSWORD, DockerUpstream
from load import copy, write_image
from mirror_runs import run_mirror
from playbook import run_playbook
from site_machine import SiteMachine

MIRROR, SOURCE = "mirrored/kept", "team/kept"


@pytest.fixture(scope="module")
def mirror(docker: DockerUpstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Push an image, and return the entry of its mirror in the inventory."""
    layout = tmp_path_factory.mktemp("kept") / "layout"
    write_image(layout)
    target = f"docker://{docker.address}/{SOURCE}:1"
    assert not copy(docker.clients, f"oci:{layout}:1", target)
    return docker.mirror(MIRROR, SOURCE)


def test_mirrors_are_applied_once_and_no_password_is_printed(
    apply: Apply, mirror: dict[str, object]
) -> None:
    first = apply(mirror, words=("-vvv", "--diff"))
    second = apply(mirror)
    changed = apply({**mirror, "tags": ["1"]})

    assert PASSWORD not in first.output
    assert sum(first.hosts("changed").values()) > 0
    assert not any(second.hosts("changed").values()), second.output
    assert sum(changed.hosts("changed").values()) == 1


def test_check_mode_applies_nothing(apply: Apply, mirror: dict[str, object]) -> None:
    for _ in range(2):
        outcome = apply({**mirror, "tags": ["2"]}, words=("--check", "--diff"))
        assert sum(outcome.hosts("changed").values()) == 1


@pytest.mark.usefixtures("mirror")
def test_status_lists_the_mirror_process(lab: Lab, tmp_path: Path) -> None:
    outcome = run_playbook("status", lab, tmp_path, atoll_json="true")

    assert "atoll-mirror" in outcome.output


@pytest.mark.usefixtures("mirror")
def test_the_mirror_process_stops_and_starts_with_its_site(
    lab: Lab, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    def states() -> list[str]:
        return [
            site.attempt("systemctl is-active atoll-mirror").stdout.strip() for site in (us, eu)
        ]

    run_mirror(us, MIRROR)
    assert states() == ["active", "active"]
    stopped = run_playbook("stop", lab, tmp_path)
    assert stopped.status == 0, stopped.output
    assert states() == ["inactive", "inactive"]
    started = run_playbook("start", lab, tmp_path)
    assert started.status == 0, started.output
    assert states() == ["active", "active"]
    assert run_mirror(eu, MIRROR)["tags_unchanged"] == 1


def test_no_machine_logs_the_password_of_an_upstream(us: SiteMachine, eu: SiteMachine) -> None:
    # The words are passed on standard input, because sudo logs arguments.
    search = f"journalctl --no-pager | grep --count --fixed-strings {PASSWORD} || true"
    present = "journalctl --no-pager | grep --count --fixed-strings atoll-mirror"

    for site in (us, eu):
        assert site.run("bash", given=search).strip() == "0"
        assert int(site.run("bash", given=present)) > 0
