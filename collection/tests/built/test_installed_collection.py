"""The built collection is complete: it runs and is documented without the repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))


def test_it_contains_no_files_of_developers(machine):
    names = {path.name for path in machine.collection.iterdir()}
    assert {"roles", "playbooks", "plugins", "app", "docs", "README.md"} <= names
    assert not names & {"molecule", ".cache", ".venv", ".ci", ".hypothesis", ".git"}
    assert not (machine.collection / "app/tests").exists()
    assert not (machine.collection / "collection/import_root").exists()


def test_it_contains_no_broken_link(machine):
    broken = [path for path in machine.collection.rglob("*") if not path.exists()]
    assert broken == []


@pytest.mark.parametrize("module", MODULES)
def test_each_module_is_documented_with_valid_examples(machine, module):
    name = f"atoll.registry.{module}"
    documented = json.loads(machine.run("ansible-doc", "--json", "--type", "module", name))[name]
    tasks = yaml.safe_load(documented["examples"])
    used = [task[name] or {} for task in tasks if name in task]
    assert used
    options = documented["doc"].get("options", {})
    for arguments in used:
        assert set(arguments) <= set(options)
        required = {key for key, option in options.items() if option.get("required")}
        assert required <= set(arguments)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_documented(machine, role):
    name = f"atoll.registry.{role}"
    documented = json.loads(machine.run("ansible-doc", "--json", "--type", "role", name))
    assert documented[name]["entry_points"]["main"]["short_description"]


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_each_playbook_is_found_by_its_name(machine, playbook):
    example = machine.collection / "inventories" / "example"
    listed = machine.run(
        "ansible-playbook",
        "--inventory",
        str(example),
        "--list-tasks",
        f"atoll.registry.{playbook}",
        "--extra-vars=atoll_site=eu",
    )
    assert "TAGS" in listed


def test_its_playbooks_create_and_validate_an_inventory(machine):
    text = (machine.collection / "inventories/example-answers.yml").read_text()
    # Placeholders are errors of the validation.
    for documented, real in (
        ("example.org", "acme.test"),
        ("192.0.2.", "10.1.0."),
        ("198.51.100.", "10.2.0."),
    ):
        text = text.replace(documented, real)
    given = yaml.safe_load(text)
    given["atoll_images"] = {
        name: f"quay.acme.test/atoll/{name}@sha256:{'5d0c1a9e7b3f4826' * 4}"
        for name in ("registry", "postgres", "redis", "load_balancer")
    }
    (machine.home / "answers.yml").write_text(yaml.safe_dump(given))

    machine.run("ansible-playbook", "atoll.registry.init", "-e", "@answers.yml")

    machine.run("ansible-playbook", "-i", "inventories/production", "atoll.registry.validate")
