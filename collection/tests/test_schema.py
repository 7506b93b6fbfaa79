"""The database is migrated with the atoll command."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.schema import migrate

pytestmark = pytest.mark.usefixtures("commands")

NOTHING = {"applied": [], "contractions": [], "others": {}}


class Registry:
    """A registry whose `atoll migrate` prints a report."""

    def __init__(self, report=None, *, check_mode=False, status=0):
        self.params = {"container": "atoll-registry"}
        self.check_mode = check_mode
        self._answer = status, json.dumps(report or NOTHING), "INFO\nno database"

    def exec(self, _container, _program, *words):
        self.words = words
        return self._answer


def test_a_current_schema_is_not_changed():
    registry = Registry()

    assert migrate(registry) == NOTHING | {"changed": False}
    assert registry.words == ("migrate", "--json")


def test_applied_and_deferred_migrations_are_returned():
    report = {"applied": ["1_a"], "contractions": ["2_b"], "others": {"eu-1": "0.0.1"}}

    assert migrate(Registry(report)) == report | {"changed": True}


def test_check_mode_applies_nothing():
    registry = Registry(check_mode=True)

    migrate(registry)
    assert registry.words == ("migrate", "--dry-run", "--json")


def test_the_error_contains_the_reason():
    with pytest.raises(CommandError, match="exit status 1: no database"):
        migrate(Registry(status=1))
