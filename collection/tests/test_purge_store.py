"""Objects are deleted with the atoll command, which reads the bundle from standard input."""

import json

import pytest
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import CommandError
from ansible_collections.atoll.registry.plugins.modules.purge_store import purge

REPORT = {"location": "eustorage", "objects": 3, "bytes": 70, "uploads": 1}
BUNDLE = "SECRET_KEY: a secret"


class Registry:
    """The atoll command, which records its standard input."""

    def __init__(self, *, check_mode=False, limit=None, status=0, error=""):
        self.params = {
            "location": "eustorage",
            "bundle": BUNDLE,
            "container": "atoll-registry",
            "limit": limit,
        }
        self.check_mode = check_mode
        self.status = status
        self.error = error

    def run_command(self, words, data=None):
        self.words, self.given = words, data
        answer = REPORT | {"deleted": "--yes" in words, "complete": "--limit" not in words}
        return self.status, "" if self.status else json.dumps(answer), self.error


def test_all_objects_are_deleted_and_the_bundle_is_not_an_argument():
    registry = Registry()

    assert purge(registry) == {"objects": 3, "bytes": 70, "uploads": 1, "complete": True}
    assert registry.words[:5] == ["podman", "exec", "--interactive", "atoll-registry", "atoll"]
    assert registry.words[5:] == ["purge-store", "eustorage", "--config", "-", "--yes", "--json"]
    assert registry.given == BUNDLE


def test_check_mode_counts_the_objects():
    registry = Registry(check_mode=True)

    assert purge(registry)["objects"] == 3
    assert "--dry-run" in registry.words
    assert "--yes" not in registry.words


def test_a_limit_makes_the_deletion_incomplete():
    registry = Registry(limit=2)

    assert purge(registry)["complete"] is False
    assert registry.words[-3:] == ["--limit", "2", "--json"]


def test_the_error_contains_the_reason_of_the_refusal():
    registry = Registry(status=1, error="its bucket is shared\n")

    with pytest.raises(CommandError, match="exit status 1: its bucket is shared"):
        purge(registry)
