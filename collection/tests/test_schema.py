"""The schema is brought up to a version by the registry's own command."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.schema import migrate

pytestmark = pytest.mark.usefixtures("commands")

NOTHING = {"applied": [], "contractions": [], "others": {}}


class Registry:
    """A registry whose `atoll migrate` answers with REPORT."""

    def __init__(self, report=None, *, check_mode=False, status=0):
        self.params = {"container": "atoll-registry"}
        self.check_mode = check_mode
        self._answer = status, json.dumps(report or NOTHING), "INFO\nno database"

    def exec(self, _container, _program, *words):
        self.words = words
        return self._answer


def test_a_schema_that_is_current_is_no_change():
    registry = Registry()

    assert migrate(registry) == NOTHING | {"changed": False}
    assert registry.words == ("migrate", "--json")


def test_what_was_applied_is_a_change_and_what_waits_is_told():
    report = {"applied": ["1_a"], "contractions": ["2_b"], "others": {"eu-1": "0.0.1"}}

    assert migrate(Registry(report)) == report | {"changed": True}


def test_check_mode_only_looks():
    registry = Registry(check_mode=True)

    migrate(registry)
    assert registry.words == ("migrate", "--dry-run", "--json")


def test_why_it_failed_is_told():
    with pytest.raises(CommandError, match="ended with 1: no database"):
        migrate(Registry(status=1))
