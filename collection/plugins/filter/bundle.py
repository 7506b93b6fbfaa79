"""Filters that the playbooks check their input with, on the controller."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from ansible.errors import AnsibleFilterError
from ansible_collections.atoll.registry.plugins.module_utils.archive import (
    ArchiveError,
    archive_reference,
)


def bundle_problems(bundle, preference=None):
    """Return a sentence for each problem of a config bundle, as the registry itself would."""
    problems = _registry_configuration().problems(_plain(bundle), _plain(preference))
    return list(problems)


def bundle_warnings(bundle, preference=None):
    """Return a sentence for each warning about a config bundle, as the registry itself would."""
    return list(_registry_configuration().check(_plain(bundle), _plain(preference)).warnings)


def bundle_for_hosts(bundle):
    """Return a config bundle as hosts keep it, without the password of the first superuser."""
    return {
        key: value for key, value in _plain(bundle).items() if key != "INITIAL_SUPERUSER_PASSWORD"
    }


def bundle_without_location(bundle, location):
    """Return a config bundle that speaks of one location less."""
    reduced = _plain(bundle)
    stores = reduced.get("DISTRIBUTED_STORAGE_CONFIG")
    if isinstance(stores, dict):
        reduced["DISTRIBUTED_STORAGE_CONFIG"] = {
            name: store for name, store in stores.items() if name != location
        }
    for key in ("DISTRIBUTED_STORAGE_PREFERENCE", "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"):
        if isinstance(reduced.get(key), list):
            reduced[key] = [name for name in reduced[key] if name != location]
    return reduced


def archive_problems(archive):
    """Return a sentence when an image archive cannot be used."""
    try:
        archive_reference(str(archive))
    except ArchiveError as error:
        return [str(error)]
    return []


def _registry_configuration():
    application = _application()
    if str(application) not in sys.path:
        sys.path.insert(0, str(application))
    try:
        return importlib.import_module("atoll.config")
    except ModuleNotFoundError as error:
        raise AnsibleFilterError(
            f"The controller cannot validate the config bundle: the Python that runs Ansible "
            f"({sys.executable}) has no module {error.name}. "
            f"Install what the model of the bundle needs: "
            f"{sys.executable} -m pip install pydantic pyyaml"
        ) from error


def _application():
    """Find the registry's source in this collection, wherever plugins/ is a link to."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "app" / "atoll").is_dir():
            return folder / "app"
    raise AnsibleFilterError(
        "The collection is incomplete: app/atoll, which validates the config bundle, is missing."
    )


def _plain(value):
    """Turn Ansible's tagged values into what PyYAML reads from a file."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


class FilterModule:
    """The filters by their names."""

    def filters(self):
        """Return the filters by their names."""
        return {
            "archive_problems": archive_problems,
            "bundle_for_hosts": bundle_for_hosts,
            "bundle_problems": bundle_problems,
            "bundle_warnings": bundle_warnings,
            "bundle_without_location": bundle_without_location,
        }
