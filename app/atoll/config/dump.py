"""The configuration of a running process for superusers, without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from atoll.config.check import unused_key_message
from atoll.config.model import Bundle
from atoll.config.stores import StoreSettings

# The password of a URI.
_URI_PASSWORD = re.compile(r"(?<=://)([^/?#@\s:]*):[^/?#@\s]*@")
# The form in which pydantic dumps secrets.
_HIDDEN = "**********"
_SECRET_WORDS = ("password", "secret", "token")
# The prefixes of the environment variables that are read, and the variables that may hold secrets.
_VARIABLES = ("ATOLL_", "QUAY_", "WORKER_COUNT")
_SECRET_VARIABLES = frozenset({"QUAY_OVERRIDE_CONFIG"})


def dump(bundle: Bundle, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the effective configuration.

    Returns:
        `config`, the values of all keys; `bundle_keys`, those that the bundle has; `warning`, its
        keys without effect, each with the reason; `env`, the environment; and `schema`.
    """
    schema = Bundle.model_json_schema(by_alias=True)
    schema["properties"].pop("fingerprint")
    known = set(schema["properties"])
    values = bundle.model_dump(
        mode="json", by_alias=True, exclude={"fingerprint", "distributed_storage_config"}
    )
    stores = {name: _store(settings) for name, settings in bundle.stores.items()}
    return {
        "config": _hidden({**values, "DISTRIBUTED_STORAGE_CONFIG": stores}),
        "bundle_keys": sorted(known & set(bundle.fingerprint)),
        "warning": {
            key: unused_key_message(key) for key in sorted(bundle.fingerprint) if key not in known
        },
        "env": {
            name: _HIDDEN if _is_secret(name) else _hidden(text)
            for name, text in sorted(environment.items())
            if name.startswith(_VARIABLES)
        },
        "schema": schema,
    }


def _store(settings: StoreSettings) -> list[Any]:
    return [settings.driver, settings.model_dump(mode="json", exclude_none=True)]


def _is_secret(variable: str) -> bool:
    """Return whether a variable of the environment may hold a secret, and not the path of one."""
    named = any(word in variable.lower() for word in _SECRET_WORDS)
    return variable in _SECRET_VARIABLES or (named and not variable.endswith("_FILE"))


def _hidden(value: Any) -> Any:
    """Mask secrets in maps of arbitrary keys, such as DB_CONNECTION_ARGS, and in URIs."""
    if isinstance(value, dict):
        return {
            key: _HIDDEN
            if isinstance(inner, str) and any(word in key.lower() for word in _SECRET_WORDS)
            else _hidden(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    if isinstance(value, str):
        return _URI_PASSWORD.sub(rf"\1:{_HIDDEN}@", value)
    return value
