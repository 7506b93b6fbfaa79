"""A site leaves with its Clair. No other test can run afterwards."""

from pathlib import Path

from definition import Lab
from playbook import run_playbook, run_site
from site_machine import SiteMachine


def test_a_leaving_site_takes_its_clair_along(
    lab: Lab, tmp_path: Path, us: SiteMachine, eu: SiteMachine
) -> None:
    # The tests above changed the bundle.
    assert run_site(lab, tmp_path).status == 0
    options = {"atoll_site": "eu", "atoll_confirm": eu.location}

    outcome = run_playbook("remove_site", lab, tmp_path, **options)

    assert outcome.status == 0, outcome.output
    assert eu.attempt("systemctl cat atoll-clair.service").returncode != 0
    assert eu.attempt("test -e /etc/atoll/clair/config.yaml").returncode == 1
    assert us.attempt("systemctl is-active atoll-clair.service").returncode == 0
