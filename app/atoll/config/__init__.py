"""The configuration bundle: one model for server processes, the command line and Ansible.

This package imports no other package of Atoll, and of its dependencies only pydantic, PyYAML, idna
and psycopg2, so that an Ansible controller can validate a bundle.
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
