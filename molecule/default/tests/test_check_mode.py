"""Check mode works on installed hosts and shows no secrets."""

from pathlib import Path

from definition import Lab
from playbook import run_site


def test_check_mode_on_installed_hosts_reports_no_change(lab: Lab, tmp_path: Path) -> None:
    outcome = run_site(lab, tmp_path, "--check", "--diff")

    assert outcome.status == 0, outcome.output
    assert outcome.hosts("ok").keys() >= {machine.name for machine in lab.machines}
    assert not any(outcome.hosts("changed").values()), outcome.output


def test_check_mode_with_a_changed_bundle_shows_no_secret(lab: Lab, tmp_path: Path) -> None:
    bundle = lab.bundle | {"REGISTRY_TITLE": "another title"}

    outcome = run_site(lab, tmp_path, "--check", "--diff", registry_config=bundle)

    assert outcome.status == 0, outcome.output
    assert any(outcome.hosts("changed").values())
    secrets = [file.read_text().split()[0] for file in (lab.state / "secrets").iterdir()]
    assert not [secret for secret in secrets if secret in outcome.output]
