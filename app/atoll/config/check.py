"""Check a bundle and say, in sentences that name the key, what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from atoll.config.database_options import isolation_problems
from atoll.config.exposure import exposure_warnings
from atoll.config.known_keys import QUAY_KEYS, QUAY_KEYS_WITHOUT_EFFECT_YET
from atoll.config.model import Bundle
from atoll.config.places import shared_places
from atoll.config.signing_secrets import secret_problems
from atoll.config.stores import StoreSettings, parse_store

_STORES = "DISTRIBUTED_STORAGE_CONFIG"
_PREFERENCE = "DISTRIBUTED_STORAGE_PREFERENCE"
_REQUIRED = "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"
_LIMITS = "REPLICATION_LIMITS"
_REPLICATION = "FEATURE_STORAGE_REPLICATION"
_HOSTNAME = "SERVER_HOSTNAME"
_ARCHIVE = "ACTION_LOG_ARCHIVE_LOCATION"
_LOGS_MODEL = "LOGS_MODEL"
_SCANNER = "FEATURE_SECURITY_SCANNER"
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")

# Words for pydantic's error types where its own text would not help an operator.
_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is not an argument that Atoll knows here",
    "string_type": "must be text",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a map of names to values",
    "model_type": "must be a map of names to values",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}


@dataclass(frozen=True)
class Check:
    """What a check found: the bundle if it is good, else why not; and warnings in both cases."""

    bundle: Bundle | None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(raw: Any, preference: list[str] | None = None) -> Check:
    """Check the content of a `config.yaml`.

    RAW is what YAML gave; PREFERENCE, if given, stands for the environment variable
    QUAY_DISTRIBUTED_STORAGE_PREFERENCE and replaces the key, which is checked all the same: it is
    in force wherever the variable is not set. Never raises for bad content.
    """
    if not isinstance(raw, Mapping):
        return Check(None, ["config.yaml: must be a map of keys to values"])
    values = dict(raw)
    replaced = values.get(_PREFERENCE) if preference is not None else None
    if preference is not None:
        values[_PREFERENCE] = list(preference)
    found: list[str] = []
    stores = _stores(values, found)
    bundle: Bundle | None = None
    try:
        bundle = Bundle.model_validate(values)
    except ValidationError as error:
        found += _sentences(error, ())
    if bundle is not None:
        found += _cross_checks(bundle, stores)
        if isinstance(replaced, list):
            found += _unknown_locations(bundle, _PREFERENCE, replaced)
    if bundle is None or found:
        return Check(None, found, _warnings(values))
    checked = bundle.model_copy(update={"distributed_storage_config": stores})
    return Check(checked, [], [*_warnings(values), *_unclaimed_names(checked)])


def problems(raw: Any, preference: list[str] | None = None) -> list[str]:
    """Return sentences that name what is wrong with a bundle; none for a good one."""
    return check(raw, preference).problems


def _stores(values: Mapping[str, Any], found: list[str]) -> dict[str, StoreSettings]:
    """Parse each store, so that a mistake in one is told beside the mistakes in the others."""
    entries = values.get(_STORES)
    stores: dict[str, StoreSettings] = {}
    if not isinstance(entries, Mapping):
        return stores
    for name, entry in entries.items():
        try:
            stores[str(name)] = parse_store(entry)
        except ValidationError as error:
            found += _sentences(error, (_STORES, str(name)))
        except ValueError as error:
            found.append(f"{_STORES}.{name}: {error}")
    return stores


def _sentences(error: ValidationError, prefix: tuple[str, ...]) -> list[str]:
    """Turn pydantic's errors into `KEY.path: what is wrong`; values are left out, being secrets."""
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        path = ".".join([*prefix, *(str(part) for part in detail["loc"])])
        text = _SENTENCES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        lines.append(f"{path}: {text}")
    return lines


def _cross_checks(bundle: Bundle, stores: Mapping[str, StoreSettings]) -> list[str]:
    """Check what only shows when several keys are held against each other."""
    found = _not_shared(bundle, stores) + _not_apart(stores)
    found += isolation_problems(bundle)
    found += secret_problems(bundle)
    found += _unknown_locations(bundle, _PREFERENCE, bundle.preference)
    if bundle.feature_action_log_rotation and bundle.action_log_archive_location is not None:
        found += _unknown_locations(bundle, _ARCHIVE, [bundle.action_log_archive_location])
    found += _unknown_locations(bundle, _REQUIRED, bundle.distributed_storage_default_locations)
    found += _unknown_locations(bundle, _LIMITS, bundle.replication_limits)
    if not bundle.preference:
        found.append(
            f"{_PREFERENCE}: is empty; name this site's location here or in the environment"
            " variable QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
        )
    if bundle.feature_storage_replication and not bundle.distributed_storage_default_locations:
        found.append(
            f"{_REQUIRED}: is empty although {_REPLICATION} is true, so nothing would ever be"
            " copied; list the locations where every blob must end up"
        )
    if bundle.super_users and bundle.initial_superuser_password is not None:
        minimum = 8
        if len(bundle.initial_superuser_password.get_secret_value()) < minimum:
            found.append(f"INITIAL_SUPERUSER_PASSWORD: must have at least {minimum} characters")
    return found


def _not_shared(bundle: Bundle, stores: Mapping[str, StoreSettings]) -> list[str]:
    """Refuse to replicate to or from what only one site can reach."""
    if not bundle.feature_storage_replication:
        return []
    return [
        f"{_REPLICATION}: is true although location '{name}' is a {settings.driver}, which other"
        " sites cannot reach; use an object store, or switch replication off"
        for name, settings in stores.items()
        if not settings.shared
    ]


def _not_apart(stores: Mapping[str, StoreSettings]) -> list[str]:
    """Refuse two locations in one place: a copy would be no second one, a deletion hit both."""
    return [
        f"{_STORES}: locations '{one}' and '{other}' are the same bucket and path, or one is inside"
        " the other, so they would have and delete the same objects; give each a bucket or a"
        " storage_path of its own"
        for one, other in shared_places(stores)
    ]


def _unknown_locations(bundle: Bundle, key: str, names: Iterable[str]) -> list[str]:
    known = list(bundle.stores)
    return [
        f"{key}: '{name}' is not a location of {_STORES}{_nearest(name, known)};"
        f" known are {', '.join(known)}"
        for name in names
        if name not in bundle.stores
    ]


def remark(key: str) -> str:
    """Return what there is to say of a KEY that Atoll makes no use of."""
    own = {str(info.alias) for info in Bundle.model_fields.values()}
    if key in QUAY_KEYS_WITHOUT_EFFECT_YET:
        return "has no effect in this version"
    if key in QUAY_KEYS:
        return "is Quay's; there is nothing here for it to change"
    return f"unknown key, ignored{_nearest(key, [*own, *QUAY_KEYS, *QUAY_KEYS_WITHOUT_EFFECT_YET])}"


def _warnings(values: Mapping[str, Any]) -> list[str]:
    own = {str(info.alias) for info in Bundle.model_fields.values()}
    found = []
    hostname = values.get(_HOSTNAME)
    if isinstance(hostname, str) and not _HOST_AND_PORT.fullmatch(hostname):
        found.append(f"{_HOSTNAME}: is no host name, with or without a port; no client can use it")
    for key in map(str, values):
        if key not in own and key not in QUAY_KEYS:
            found.append(f"{key}: {remark(key)}")
    if values.get(_SCANNER) is True:
        found.append(f"{_SCANNER}: there is no scanner; the API says that nothing can be scanned")
    if values.get(_LOGS_MODEL, "database") != "database":
        found.append(f"{_LOGS_MODEL}: the log is kept in the database, and nowhere else")
    return found + exposure_warnings(values)


def _unclaimed_names(bundle: Bundle) -> list[str]:
    """Warn about listed users whose accounts the migration does not create.

    It creates the first of SUPER_USERS, whose password does not stay in the bundle.
    """
    if not bundle.feature_user_creation:
        return []
    return [
        f"{key}: nobody can sign up as '{name}', since the name is listed here; if the account"
        f" does not exist yet, create it with `atoll user create {name}` or as a superuser"
        for key, names in (
            ("SUPER_USERS", bundle.super_users[1:]),
            ("GLOBAL_READONLY_SUPER_USERS", bundle.global_readonly_super_users),
        )
        for name in names
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f" (did you mean {matches[0]}?)" if matches else ""
