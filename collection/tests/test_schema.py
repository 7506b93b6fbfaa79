"""The schema is brought up to a version by the registry's own command."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils import registry_command
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.schema import migrate

NOTHING = {"applied": [], "contractions": [], "others": {}}


@pytest.fixture
def registry(monkeypatch):
    """Answer for podman; what is answered can be changed, and what was run is kept."""
    answers = {"words": None, "report": NOTHING, "status": 0}

    def run(_module, _container, words):
        answers["words"] = words
        return answers["status"], json.dumps(answers["report"]), "2026 INFO\nno database"

    monkeypatch.setattr(registry_command, "exec_in_container", run)
    return answers


@pytest.fixture
def module(fake_module):
    return fake_module({"container": "atoll-registry"})


def test_a_schema_that_is_current_is_no_change(registry, module):
    assert migrate(module) == NOTHING | {"changed": False}
    assert registry["words"] == ["atoll", "migrate", "--json"]


def test_what_was_applied_is_a_change_and_what_waits_is_told(registry, module):
    report = {"applied": ["1_a"], "contractions": ["2_b"], "others": {"eu-1": "0.0.1"}}
    registry["report"] = report
    assert migrate(module) == report | {"changed": True}


def test_check_mode_only_looks(registry, module):
    module.check_mode = True
    migrate(module)
    assert registry["words"] == ["atoll", "migrate", "--dry-run", "--json"]


def test_why_it_failed_is_told(registry, module):
    registry["status"] = 1
    with pytest.raises(CommandError, match="ended with 1: no database"):
        migrate(module)
