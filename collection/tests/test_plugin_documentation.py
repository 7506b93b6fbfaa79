"""`ansible-doc` describes each filter and lookup, with the parameters that it has."""

import importlib
import inspect
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from tools import TOOLS

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def documentation(kind, names, home):
    """Return what ansible-doc knows about plugins."""
    done = subprocess.run(
        [TOOLS / "ansible-doc", "--json", "--type", kind, *names],
        check=True,
        cwd=PLUGINS.parent,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def filters():
    """Return the functions of all filters, by name."""
    found = {}
    for path in sorted((PLUGINS / "filter").glob("*.py")):
        name = f"ansible_collections.atoll.registry.plugins.filter.{path.stem}"
        found |= importlib.import_module(name).FilterModule().filters()
    return found


def test_each_filter_is_documented_with_its_parameters(filters, tmp_path):
    assert "bundle_problems" in filters
    names = [f"atoll.registry.{name}" for name in filters]
    known = documentation("filter", names, tmp_path)
    for name, function in filters.items():
        described = known.get(f"atoll.registry.{name}", {})
        assert described.get("doc"), f"add plugins/filter/{name}.yml"
        assert described["examples"]
        assert "_value" in described["return"]
        # Jinja passes the context before the input.
        given = inspect.signature(function).parameters
        _, *parameters = (one for key, one in given.items() if key != "context")
        options = {
            option: details.get("required", False)
            for option, details in described["doc"]["options"].items()
            if option != "_input"
        }
        assert options == {
            parameter.name: parameter.default is inspect.Parameter.empty for parameter in parameters
        }


def test_no_documentation_is_left_of_a_filter_that_does_not_exist(filters):
    assert {path.stem for path in (PLUGINS / "filter").glob("*.yml")} <= set(filters)


def test_each_lookup_is_documented(tmp_path):
    names = [f"atoll.registry.{path.stem}" for path in (PLUGINS / "lookup").glob("*.py")]
    for described in documentation("lookup", names, tmp_path).values():
        assert described["doc"]["short_description"]
        assert described["examples"]


def test_the_action_group_contains_each_module_of_the_api():
    groups = yaml.safe_load((PLUGINS.parent / "meta/runtime.yml").read_text())["action_groups"]
    modules = {
        path.stem
        for path in (PLUGINS / "modules").glob("*.py")
        if "atoll.registry.registry_api" in path.read_text()
    }

    assert set(groups["api"]) == modules
