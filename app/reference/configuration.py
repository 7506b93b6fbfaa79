"""The page of configuration keys, from the model of the bundle."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal

from atoll.config import known_keys
from atoll.config.model import Bundle, ReadReplica, RedisSettings, parse_duration, parse_object_path
from atoll.config.replication_limits import ReplicationLimit, parse_hours
from atoll.config.stores import DRIVERS
from atoll.config.units import parse_size
from atoll.config.upstream_limits import UpstreamLimit
from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from reference.markdown import code, page, paragraph, sentence, table

_INTRODUCTION = """
`config.yaml` in the bundle has the keys of Red Hat Quay, and some of Atoll's own. Unknown keys are
ignored with a warning of `atoll config check`, so a bundle of Quay can be used as it is.
"""
_TYPES = """
A *duration* is a number and `s`, `m`, `h`, `d` or `w`, such as `2w`. A *size* is a number of bytes,
or a number and `K`, `M`, `G` or `T`, such as `20G`. A *secret* is text that is never shown in logs.
"""
_PARSERS: dict[Any, str] = {
    parse_duration: "duration",
    parse_size: "size",
    parse_object_path: "path",
    parse_hours: "hours",
}
_NAMES: dict[Any, str] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true or false",
    SecretStr: "secret",
    Any: "any value",
}
_UNITS = {
    "duration": [("w", 7 * 86400), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1)],
    "size": [("T", 2**40), ("G", 2**30), ("M", 2**20), ("K", 2**10)],
}


def configuration_page() -> str:
    """Return the page of all keys, by name."""
    return page("Configuration keys", "app/atoll/config", _parts())


def _parts() -> Iterator[str]:
    yield paragraph(_INTRODUCTION)
    yield paragraph(_TYPES)
    yield "## Keys"
    for name, info in sorted(_keys().items()):
        yield from _key(name, info)
    yield "## Redis"
    yield "Arguments of BUILDLOGS_REDIS and USER_EVENTS_REDIS."
    yield _arguments(RedisSettings)
    yield "## Read replicas"
    yield "Arguments of each entry of DB_READ_REPLICAS."
    yield _arguments(ReadReplica)
    yield "## Replication limits"
    yield "Arguments of each location in REPLICATION_LIMITS."
    yield _arguments(ReplicationLimit)
    yield "## Upstream limits"
    yield "Arguments of each registry in UPSTREAM_LIMITS."
    yield _arguments(UpstreamLimit)
    yield "## Storage drivers"
    yield paragraph(
        "Each entry of DISTRIBUTED_STORAGE_CONFIG is a list of two: the name of a driver and a map"
        " of its arguments, which are Quay's."
    )
    for driver, settings in DRIVERS.items():
        yield f"### {driver}"
        yield _arguments(settings)
    yield "## Quay's keys without effect"
    yield paragraph(
        "These keys are accepted silently, because the features that they control do not exist in"
        " Atoll or are always enabled:"
    )
    yield paragraph(", ".join(sorted(known_keys.QUAY_KEYS)) + ".")
    yield "`atoll config check` warns that these keys have no effect:"
    yield paragraph(", ".join(sorted(known_keys.QUAY_KEYS_WITHOUT_EFFECT_YET)) + ".")


def _keys() -> dict[str, FieldInfo]:
    keys = {str(info.alias): info for info in Bundle.model_fields.values()}
    return {name: info for name, info in keys.items() if name.isupper()}


def _key(name: str, info: FieldInfo) -> Iterator[str]:
    yield f"### {name}"
    yield paragraph(sentence(info.description or ""))
    extra = info.json_schema_extra
    origin = extra.get("origin") if isinstance(extra, Mapping) else None
    yield paragraph(
        f"*Type:* {kind(info)} · *Default:* {default(info)} · *Origin:* {origin or 'Quay'}"
    )


def _arguments(model: type[BaseModel]) -> str:
    return table(
        ("argument", "type", "default", "meaning"),
        [
            (code(str(info.alias or name)), kind(info), default(info), info.description or "")
            for name, info in model.model_fields.items()
        ],
    )


def kind(info: FieldInfo) -> str:
    """Return the type of a key in an operator's words."""
    return _parsed(info.metadata) or _kind(info.annotation)


def _parsed(metadata: list[Any]) -> str | None:
    for part in metadata:
        if isinstance(part, BeforeValidator) and part.func in _PARSERS:
            return _PARSERS[part.func]
    return None


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _parsed(list(arguments[1:])) or _kind(arguments[0])
    if origin is Literal:
        return " or ".join(code(value) for value in arguments)
    if origin in (UnionType, typing.Union):
        return " or ".join(_kind(one) for one in arguments if one is not NoneType)
    if origin is list:
        return f"list of {_kind(arguments[0])}".replace("map", "maps")
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return "map" if origin is dict or is_model else _NAMES.get(annotation, "text")


def default(info: FieldInfo) -> str:
    """Return the default of a key as a bundle spells it."""
    if info.is_required():
        return "required"
    value = info.default
    if value is PydanticUndefined:
        value = info.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join(code(_spelled(one, kind(info))) for one in value) or "empty"
    if isinstance(value, dict):
        return "empty"
    return code(_spelled(value, kind(info)))


def _spelled(value: Any, spelling: str) -> Any:
    """Return a number of seconds or bytes with the largest unit that divides it."""
    units = _UNITS.get(spelling.removeprefix("list of "), [])
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return f"{value}s" if "duration" in spelling else value
