"""The modules of mirrors document the options that they take, and share those of both."""

import pytest
import yaml
from ansible_collections.atoll.registry.plugins.doc_fragments.mirror import ModuleDocFragment
from ansible_collections.atoll.registry.plugins.module_utils import mirror
from ansible_collections.atoll.registry.plugins.modules import (
    organization_mirror,
    repository_mirror,
)

SHARED = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
KEYS = ("type", "elements", "choices", "default", "required")


def specification(options):
    return {
        name: {key: option[key] for key in KEYS if key in option}
        for name, option in options.items()
    }


def test_the_shared_options_are_documented():
    assert specification(SHARED) == specification(mirror.ARGUMENTS)


@pytest.mark.parametrize("module", [organization_mirror, repository_mirror])
def test_each_module_documents_its_options_and_no_shared_one(module):
    own = yaml.safe_load(module.DOCUMENTATION)["options"]

    assert not own.keys() & SHARED.keys()
    assert specification({**own, **SHARED}) == specification(module.ARGUMENTS)
