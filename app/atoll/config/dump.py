"""The configuration of a running process for superusers, without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.config.check import unused_key_message
from atoll.config.model import Bundle
from atoll.config.stores import StoreSettings

# The form in which pydantic dumps secrets.
_HIDDEN = "**********"
_SECRET_WORDS = ("password", "secret", "token")
# The prefixes of the environment variables that are read, and the variables that may hold secrets.
_VARIABLES = ("ATOLL_", "QUAY_", "WORKER_COUNT")
_SECRET_VARIABLES = frozenset({"QUAY_OVERRIDE_CONFIG"})


def dump(bundle: Bundle, environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the effective keys, the keys without effect, the environment and the schema."""
    schema = Bundle.model_json_schema(by_alias=True)
    schema["properties"].pop("fingerprint")
    known = set(schema["properties"])
    values = bundle.model_dump(
        mode="json", by_alias=True, exclude={"fingerprint", "distributed_storage_config"}
    )
    stores = {name: _store(settings) for name, settings in bundle.stores.items()}
    return {
        "config": _hidden({**values, "DISTRIBUTED_STORAGE_CONFIG": stores}),
        "warning": {
            key: unused_key_message(key) for key in sorted(bundle.fingerprint) if key not in known
        },
        "env": {
            name: _HIDDEN if name in _SECRET_VARIABLES else text
            for name, text in sorted(environment.items())
            if name.startswith(_VARIABLES)
        },
        "schema": schema,
    }


def _store(settings: StoreSettings) -> list[Any]:
    return [settings.driver, settings.model_dump(mode="json", exclude_none=True)]


def _hidden(value: Any) -> Any:
    """Mask secrets in maps of arbitrary keys, such as DB_CONNECTION_ARGS."""
    if isinstance(value, dict):
        return {
            key: _HIDDEN
            if isinstance(inner, str) and any(word in key.lower() for word in _SECRET_WORDS)
            else _hidden(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return value
