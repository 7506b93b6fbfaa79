"""The configuration bundle: one model, used at boot, by the command line and by Ansible.

This package needs pydantic and pyyaml and nothing else of Atoll, so that a controller which only
runs playbooks can import it.
"""

from atoll.config.check import Check, check, problems
from atoll.config.load import BUNDLE_DIRECTORY, ConfigError, load
from atoll.config.model import Bundle
from atoll.config.stores import StoreSettings

__all__ = [
    "BUNDLE_DIRECTORY",
    "Bundle",
    "Check",
    "ConfigError",
    "StoreSettings",
    "check",
    "load",
    "problems",
]
