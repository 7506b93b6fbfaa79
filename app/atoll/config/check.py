"""Validation of a bundle, with messages that name the key, the problem and the remedy."""

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
from atoll.config.overlapping_stores import overlapping_stores
from atoll.config.scanner import scanner_problems, scanner_warnings
from atoll.config.signing_secrets import secret_problems
from atoll.config.store_addresses import store_address_warnings
from atoll.config.stores import StoreSettings, parse_store

_STORES = "DISTRIBUTED_STORAGE_CONFIG"
_PREFERENCE = "DISTRIBUTED_STORAGE_PREFERENCE"
_REQUIRED = "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS"
_LIMITS = "REPLICATION_LIMITS"
_REPLICATION = "FEATURE_STORAGE_REPLICATION"
_HOSTNAME = "SERVER_HOSTNAME"
_ARCHIVE = "ACTION_LOG_ARCHIVE_LOCATION"
_LOGS_MODEL = "LOGS_MODEL"
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")

# Messages for the types of pydantic's errors whose own text would not help an operator.
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "is not a known argument",
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
    """The result of a check.

    Attributes:
        bundle: The bundle; None if it is invalid.
        problems: The reasons for which it is invalid.
        warnings: Problems that do not make it invalid.
    """

    bundle: Bundle | None
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(raw: Any, preference: list[str] | None = None) -> Check:
    """Check the content of a `config.yaml`; invalid content is reported, not raised.

    Args:
        raw: The parsed YAML document.
        preference: The value of the environment variable QUAY_DISTRIBUTED_STORAGE_PREFERENCE, which
            replaces the key. The key is checked nevertheless, because it applies wherever the
            variable is not set.
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
        found += _messages(error, ())
    if bundle is not None:
        found += _cross_checks(bundle, stores)
        if isinstance(replaced, list):
            found += _unknown_locations(bundle, _PREFERENCE, replaced)
    if bundle is None or found:
        return Check(None, found, _warnings(values))
    checked = bundle.model_copy(update={"distributed_storage_config": stores})
    # Without a redirect, only the registry connects to the stores.
    addresses = [] if checked.feature_proxy_storage else store_address_warnings(stores)
    warnings = [*_warnings(values), *addresses, *_reserved_name_warnings(checked)]
    return Check(checked, [], warnings + scanner_warnings(checked))


def problems(raw: Any, preference: list[str] | None = None) -> list[str]:
    """Return a message for each problem of a bundle; none for a valid one."""
    return check(raw, preference).problems


def _stores(values: Mapping[str, Any], found: list[str]) -> dict[str, StoreSettings]:
    """Parse each store on its own, so that the problems of all stores are reported together."""
    entries = values.get(_STORES)
    stores: dict[str, StoreSettings] = {}
    if not isinstance(entries, Mapping):
        return stores
    for name, entry in entries.items():
        try:
            stores[str(name)] = parse_store(entry)
        except ValidationError as error:
            found += _messages(error, (_STORES, str(name)))
        except ValueError as error:
            found.append(f"{_STORES}.{name}: {error}")
    return stores


def _messages(error: ValidationError, prefix: tuple[str, ...]) -> list[str]:
    """Format pydantic's errors as `KEY.path: problem`, without values, which may be secret."""
    lines = []
    for detail in error.errors(include_input=False, include_url=False):
        path = ".".join([*prefix, *(str(part) for part in detail["loc"])])
        text = _MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        lines.append(f"{path}: {text}")
    return lines


def _cross_checks(bundle: Bundle, stores: Mapping[str, StoreSettings]) -> list[str]:
    """Check the rules that involve several keys."""
    found = _unshared_stores(bundle, stores) + _overlapping_stores(stores)
    found += isolation_problems(bundle)
    found += secret_problems(bundle)
    found += scanner_problems(bundle, bundle.stores)
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
            f"{_REQUIRED}: is empty although {_REPLICATION} is true, so no blob would be copied;"
            " list the locations that every blob is copied to"
        )
    if bundle.feature_mailing:
        found += [
            f"{key}: is required because FEATURE_MAILING is true"
            for key, value in (
                ("MAIL_SERVER", bundle.mail_server),
                ("MAIL_DEFAULT_SENDER", bundle.mail_default_sender),
            )
            if not value
        ]
    if bundle.super_users and bundle.initial_superuser_password is not None:
        minimum = 8
        if len(bundle.initial_superuser_password.get_secret_value()) < minimum:
            found.append(f"INITIAL_SUPERUSER_PASSWORD: must have at least {minimum} characters")
    return found


def _unshared_stores(bundle: Bundle, stores: Mapping[str, StoreSettings]) -> list[str]:
    """Reject replication with stores that only one site can reach."""
    if not bundle.feature_storage_replication:
        return []
    return [
        f"{_REPLICATION}: is true although location '{name}' is a {settings.driver}, which other"
        " sites cannot reach; use an object store, or disable replication"
        for name, settings in stores.items()
        if not settings.shared
    ]


def _overlapping_stores(stores: Mapping[str, StoreSettings]) -> list[str]:
    """Reject locations with the same objects: replication between them creates no second copy."""
    return [
        f"{_STORES}: locations '{one}' and '{other}' are the same bucket and path, or one is inside"
        " the other, so they would share and delete the same objects; give each location its own"
        " bucket or storage_path"
        for one, other in overlapping_stores(stores)
    ]


def _unknown_locations(bundle: Bundle, key: str, names: Iterable[str]) -> list[str]:
    known = list(bundle.stores)
    return [
        f"{key}: '{name}' is not a location of {_STORES}{_nearest(name, known)};"
        f" known are {', '.join(known)}"
        for name in names
        if name not in bundle.stores
    ]


def unused_key_message(key: str) -> str:
    """Return the message for a key that has no effect in Atoll."""
    own = {str(info.alias) for info in Bundle.model_fields.values()}
    if key in QUAY_KEYS_WITHOUT_EFFECT_YET:
        return "has no effect in this version"
    if key in QUAY_KEYS:
        return "is a key of Quay without effect in Atoll"
    return f"unknown key, ignored{_nearest(key, [*own, *QUAY_KEYS, *QUAY_KEYS_WITHOUT_EFFECT_YET])}"


def _warnings(values: Mapping[str, Any]) -> list[str]:
    own = {str(info.alias) for info in Bundle.model_fields.values()}
    found = []
    hostname = values.get(_HOSTNAME)
    if isinstance(hostname, str) and not _HOST_AND_PORT.fullmatch(hostname):
        found.append(
            f"{_HOSTNAME}: is not a host name with an optional port; set the name that clients"
            " connect to"
        )
    for key in map(str, values):
        if key not in own and key not in QUAY_KEYS:
            found.append(f"{key}: {unused_key_message(key)}")
    if values.get(_LOGS_MODEL, "database") != "database":
        found.append(f"{_LOGS_MODEL}: is ignored; Atoll stores the log in the database")
    return found + exposure_warnings(values)


def _reserved_name_warnings(bundle: Bundle) -> list[str]:
    """Warn about listed users whose accounts the migration does not create.

    The migration creates the first of SUPER_USERS only.
    """
    if not bundle.feature_user_creation:
        return []
    return [
        f"{key}: the name '{name}' is listed here and therefore cannot be registered; if the"
        f" account does not exist yet, create it with `atoll user create {name}` or as a superuser"
        for key, names in (
            ("SUPER_USERS", bundle.super_users[1:]),
            ("GLOBAL_READONLY_SUPER_USERS", bundle.global_readonly_super_users),
        )
        for name in names
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f" (did you mean {matches[0]}?)" if matches else ""
