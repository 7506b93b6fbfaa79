"""The database is migrated once per run, also if --limit leaves out the first host."""

import json
import os
import subprocess

import pytest
import yaml

SITES = {"us": ["us-1", "us-2"], "eu": ["eu-1", "eu-2"]}
STEPS = ["ansible.builtin.include_role", "ansible.builtin.import_tasks"]


def database_plays(root, playbook):
    """Return the plays that migrate or contract, with a marker file instead of that step."""
    plays = [
        play
        for play in yaml.safe_load((root / f"playbooks/{playbook}.yml").read_text())
        if play["name"].startswith(("Migrate the database", "Contract the database schema"))
    ]
    for play in plays:
        step = play["name"].split()[0].lower()
        for task in play["tasks"]:
            task.pop("vars", None)
            assert [task.pop(step) for step in STEPS if step in task], task
            task["ansible.builtin.copy"] = {
                "content": "",
                "dest": f"{{{{ folder }}}}/{playbook} {step} {{{{ inventory_hostname }}}}",
            }
    return plays


@pytest.fixture
def run(tmp_path, root):
    """Return a function that runs the plays, and returns each playbook's steps with their hosts."""

    def run_plays(*words):
        variables = {"ansible_connection": "local", "ansible_become": False}
        sites = {site: {"hosts": dict.fromkeys(hosts)} for site, hosts in SITES.items()}
        inventory = {"all": {"vars": variables, "children": {"atoll_sites": {"children": sites}}}}
        (tmp_path / "inventory.json").write_text(json.dumps(inventory))
        plays = [*database_plays(root, "site"), *database_plays(root, "upgrade")]
        (tmp_path / "plays.json").write_text(json.dumps(plays))
        folder = tmp_path / "steps"
        folder.mkdir()
        done = subprocess.run(
            [
                "ansible-playbook",
                f"--inventory={tmp_path / 'inventory.json'}",
                f"--extra-vars=folder={folder}",
                tmp_path / "plays.json",
                *words,
            ],
            cwd=root,
            env=os.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return sorted(path.name for path in folder.iterdir())

    return run_plays


@pytest.mark.parametrize(
    ("limit", "first"),
    [(None, "us-1"), ("us-2", "us-2"), ("eu", "eu-1"), ("us-2:eu-1", "us-2"), ("!us-1", "us-2")],
)
def test_the_first_host_of_a_limited_run_migrates_the_database(run, limit, first):
    words = [] if limit is None else ["--limit", limit]

    assert run(*words) == [
        f"{playbook} {step} {first}"
        for playbook in ("site", "upgrade")
        for step in ("contract", "migrate")
    ]
