"""A store is emptied by the registry's own command, which reads the bundle and is not told it."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.purge_store import purge

REPORT = {"location": "eustorage", "objects": 3, "bytes": 70, "uploads": 1}
BUNDLE = "SECRET_KEY: a secret"


class Registry:
    """A registry's command, as podman runs it, and what it was given to read."""

    def __init__(self, *, check_mode=False, limit=None, status=0, said=""):
        self.params = {
            "location": "eustorage",
            "bundle": BUNDLE,
            "container": "atoll-registry",
            "limit": limit,
        }
        self.check_mode = check_mode
        self.status = status
        self.said = said

    def run_command(self, words, data=None):
        self.words, self.given = words, data
        answer = REPORT | {"deleted": "--yes" in words, "complete": "--limit" not in words}
        return self.status, "" if self.status else json.dumps(answer), self.said


def test_all_objects_go_and_the_bundle_is_on_no_command_line():
    registry = Registry()

    assert purge(registry) == {"objects": 3, "bytes": 70, "uploads": 1, "complete": True}
    assert registry.words[:5] == ["podman", "exec", "--interactive", "atoll-registry", "atoll"]
    assert registry.words[5:] == ["purge-store", "eustorage", "--config", "-", "--yes", "--json"]
    assert registry.given == BUNDLE


def test_in_check_mode_they_are_counted():
    registry = Registry(check_mode=True)

    assert purge(registry)["objects"] == 3
    assert "--dry-run" in registry.words
    assert "--yes" not in registry.words


def test_a_limit_leaves_the_rest_for_later():
    registry = Registry(limit=2)

    assert purge(registry)["complete"] is False
    assert registry.words[-3:] == ["--limit", "2", "--json"]


def test_why_it_was_refused_is_told():
    registry = Registry(status=1, said="its bucket is shared\n")

    with pytest.raises(CommandError, match="ended with 1: its bucket is shared"):
        purge(registry)
