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


def test_the_installed_collection_validates_an_inventory(machine, inventory):
    output = machine.run(
        "ansible-playbook", "--inventory", str(inventory), "atoll.registry.validate"
    )

    assert "failed=0" in output
    assert "Unable to parse" not in output


def test_a_fresh_clone_validates_an_inventory_in_its_own_directory(clone, inventory):
    yours = clone.home / "inventories/yours"
    inventory.rename(yours)
    output = clone.run(
        "ansible-playbook", "--inventory", "inventories/yours", "playbooks/validate.yml"
    )

    assert "failed=0" in output
    assert "Unable to parse" not in output


def test_a_fresh_clone_validates_an_inventory_from_another_directory(clone, inventory, tmp_path):
    output = clone.run(
        "ansible-playbook",
        "--inventory",
        str(inventory),
        str(clone.home / "playbooks/validate.yml"),
        directory=tmp_path,
    )

    assert "failed=0" in output


def test_a_fresh_clone_is_built_and_installed_as_documented(clone, inventory):
    page = (clone.home / "docs/how-to/roll-out.md").read_text()
    _, commands = page.split("ansible-galaxy collection build --output-path /srv/atoll\n", 1)
    folder = inventory.parent
    clone.run("ansible-galaxy", "collection", "build", "--output-path", str(folder))
    for command in commands.partition("```")[0].splitlines()[1:]:
        words = ["bash", "-c", command]
        output = clone.run(*words, directory=folder)

    assert "failed=0" in output
    assert (clone.home / ".ansible/collections/ansible_collections/atoll/registry").is_dir()


def test_the_execution_environment_contains_what_the_collection_requires(machine):
    definition = yaml.safe_load((machine.collection / "execution-environment.yml").read_text())
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    (collection,) = definition["dependencies"]["galaxy"]["collections"]
    assert collection["name"] == f"atoll-registry-{galaxy['version']}.tar.gz"
    assert definition["additional_build_files"][0]["src"] == collection["name"]
    metadata = yaml.safe_load((machine.collection / "meta/execution-environment.yml").read_text())
    for name in metadata["dependencies"].values():
        assert (machine.collection / name).is_file()
