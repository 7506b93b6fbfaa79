"""The options of the playbooks, which are set with -e."""

import os
import re
import subprocess

import pytest
import yaml
from tools import TOOLS

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "removing {{ atoll_site | default('') }}."
    - ansible.builtin.debug:
        msg: "{{ 'lost' if atoll_lost | default(false) | bool else 'not lost' }}"
"""


def options(root):
    """Return the options, each with its former names."""
    text = (root / "playbooks/group_vars/atoll/options.yml").read_text()
    return {
        name: re.findall(r"'(\w+)'", value.partition("option=")[0].partition(",")[2])
        for name, value in yaml.safe_load(text).items()
    }


def expressions(value, *, bare=False):
    """Return the expressions in templates and conditions."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from expressions(item, bare=key in ("when", "that"))
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item, bare=bare)
    elif isinstance(value, str):
        yield from [value] if bare else re.findall(r"{{(.*?)}}", value, re.DOTALL)


@pytest.fixture
def play(root, tmp_path):
    """Return a function that runs a play beside the playbooks' variables, and its output."""
    (tmp_path / "group_vars").symlink_to(root / "playbooks/group_vars")
    (tmp_path / "play.yml").write_text(PLAY)
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text(
        "all: {children: {atoll: {children: {us: {hosts: {us-1: }}}}}}\n"
    )

    def run(*words, **variables):
        (inventory / "group_vars/us.yml").write_text(yaml.safe_dump(variables))
        done = subprocess.run(
            [TOOLS / "ansible-playbook", "-i", inventory, tmp_path / "play.yml", *words],
            check=False,
            cwd=root,
            env={**os.environ, "ANSIBLE_DEPRECATION_WARNINGS": "true", "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_an_option_is_set_by_its_name(play):
    output = play("-e", "atoll_site=eu", "-e", "atoll_lost=true")

    assert "removing eu." in output
    assert "msg: lost" in output
    assert "DEPRECATION" not in output


def test_a_former_name_still_sets_the_option_with_a_warning(play, tmp_path):
    (tmp_path / "variables.json").write_text('{"lost": true}')
    output = play("-e", "site=eu", "-e", f"@{tmp_path}/variables.json")

    assert "removing eu." in output
    assert "msg: lost" in output
    assert "The option site has been renamed to atoll_site." in " ".join(output.split())
    assert "The option lost has been renamed to atoll_lost." in " ".join(output.split())


def test_the_name_takes_precedence_over_the_former_name(play):
    assert "removing eu." in play("-e", "site=us", "-e", "atoll_site=eu")


def test_a_variable_of_the_inventory_is_not_an_option(play):
    output = play(site="eu", lost=True)

    assert "removing ." in output
    assert "msg: not lost" in output
    assert "DEPRECATION" not in output


def test_playbooks_use_no_former_name(root):
    former = {name for names in options(root).values() for name in names}
    assert {"site", "confirm", "remove_confirm"} <= former
    for path in [*root.glob("playbooks/*.yml"), *root.glob("playbooks/tasks/**/*.yml")]:
        # Without variables that the file sets itself, and parameters of modules.
        names = former - set(re.findall(r"^ +(\w+):", path.read_text(), re.MULTILINE))
        for expression in expressions(yaml.safe_load(path.read_text())):
            without_text = re.sub(r"'[^']*'|\b\w*\.\w+", "", expression)
            assert not set(re.findall(r"\w+", without_text)) & names, f"{path}: {expression}"


def test_each_option_has_the_prefix_of_the_collection(root):
    for name, former in options(root).items():
        assert name.startswith("atoll_")
        assert former
