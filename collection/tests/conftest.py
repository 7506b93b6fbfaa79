"""Make the working tree importable as the collection atoll.registry."""

import sys
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[2]


def pytest_configure(config):
    """Put a link to the working tree where Ansible's own importer looks for collections."""
    parent = Path(config.cache.mkdir("collections"))
    link = parent / "ansible_collections" / "atoll" / "registry"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
    if not any(isinstance(finder, _AnsibleCollectionFinder) for finder in sys.meta_path):
        _AnsibleCollectionFinder(paths=[str(parent)], scan_sys_paths=False)._install()


@pytest.fixture
def root():
    """Return the root of the collection."""
    return ROOT


class Failed(Exception):
    """What a module would have reported as its failure."""


class FakeModule:
    """The part of AnsibleModule that our modules use."""

    def __init__(self, params=None, check_mode=False, answers=None):
        self.params = params or {}
        self.check_mode = check_mode
        self.answers = answers or {}
        self.commands = []

    def run_command(self, words):
        self.commands.append(words)
        return self.answers.get(" ".join(words[:2]), (0, "", ""))

    def fail_json(self, msg, **_details):
        raise Failed(msg)


@pytest.fixture
def fake_module():
    """Return the class of a module without Ansible."""
    return FakeModule


@pytest.fixture
def failed():
    """Return the exception that a failing module raises."""
    return Failed
