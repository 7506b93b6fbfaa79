"""The resource QuayRegistry of Quay's Operator, `quay.redhat.com/v1`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from atoll.errors import UserError
from atoll.kubernetes.documents import Document, read_documents
from atoll.kubernetes.findings import Place

_GROUP, _KIND = "quay.redhat.com/", "QuayRegistry"
_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
_MESSAGES = {
    "missing": "is missing",
    "string_type": "must be a text; quote numbers and booleans",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be a map",
    "model_type": "must be a map",
    "greater_than_equal": "must not be negative",
    "string_pattern_mismatch": "is no valid name of a resource: use a-z, 0-9 and -",
}


class _Model(BaseModel):
    # Unknown fields are reported by the conversion, with what is known of them.
    model_config = ConfigDict(extra="allow", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, value: Any) -> Any:
        """Omit fields without a value: for Kubernetes, null is the same as a missing field."""
        if not isinstance(value, dict):
            return value
        return {key: one for key, one in value.items() if one is not None}


class Variable(_Model):
    """An environment variable of a container."""

    name: str = Field(min_length=1)
    value: str | None = None
    value_from: dict[str, JsonValue] | None = Field(default=None, alias="valueFrom")

    def as_dict(self) -> dict[str, Any]:
        """Return the variable as the resource has it."""
        return self.model_dump(by_alias=True, exclude_none=True)


class Overrides(_Model):
    """Changes of a component that the Operator runs."""

    env: list[Variable] = Field(default_factory=list)
    replicas: int | None = Field(default=None, ge=0)
    resources: dict[str, JsonValue] | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    affinity: dict[str, JsonValue] | None = None
    volume_size: Any = Field(default=None, alias="volumeSize")
    storage_class_name: str | None = Field(default=None, alias="storageClassName")
    security_context: dict[str, JsonValue] | None = Field(default=None, alias="securityContext")

    def given(self) -> list[str]:
        """Return the names of the overrides that are given and not empty."""
        return list(self.model_dump(by_alias=True, exclude_defaults=True))


class Component(_Model):
    """A part of a registry, which the Operator runs if it is managed."""

    kind: str
    managed: bool
    overrides: Overrides = Field(default_factory=Overrides)


class _Metadata(_Model):
    name: str = Field(pattern=_NAME, max_length=253)
    namespace: str | None = Field(default=None, pattern=_NAME, max_length=63)


class _Spec(_Model):
    config_bundle_secret: str = Field(default="", alias="configBundleSecret")
    components: list[Component] = Field(default_factory=list)


class _Resource(_Model):
    metadata: _Metadata
    spec: _Spec


@dataclass(frozen=True)
class QuayRegistry:
    """A registry on a cluster.

    Attributes:
        document: where it is defined.
        name: its name.
        namespace: its namespace; empty if the file has none.
        secret: the name of the Secret with the bundle; empty for the default.
        components: the declared components.
        unknown: the fields of `spec` that the resource does not have.
    """

    document: Document
    name: str
    namespace: str
    secret: str
    components: list[Component]
    unknown: list[str]

    def place(self, *path: str | int) -> Place:
        """Return the place of a value of `spec`."""
        return self.document.place("spec", *path)


def read_registries(text: str, file: str) -> list[QuayRegistry]:
    """Return the registries of a file; other resources are an error.

    Args:
        text: the content of the file.
        file: its path, for messages.

    Raises:
        UserError: the file has no registry, or an invalid one.
    """
    found = [_registry(document) for document in read_documents(text, file)]
    if not found:
        raise UserError(f"{file}: has no {_KIND}")
    return found


def _registry(document: Document) -> QuayRegistry:
    value = document.value
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind != _KIND:
        named = f"the kind {kind}" if kind else "no kind"
        raise UserError(
            f"{document.place('kind')}: has {named}; convert takes files with resources of the"
            f" kind {_KIND} only"
        )
    version = str(value.get("apiVersion"))
    if not version.startswith(_GROUP):
        raise UserError(f"{document.place('apiVersion')}: apiVersion is {version}, not {_GROUP}v1")
    try:
        resource = _Resource.model_validate(value)
    except ValidationError as error:
        raise UserError("\n".join(_problems(error, document))) from error
    return QuayRegistry(
        document,
        resource.metadata.name,
        resource.metadata.namespace or "",
        resource.spec.config_bundle_secret,
        resource.spec.components,
        list(resource.spec.model_extra or ()),
    )


def _problems(error: ValidationError, document: Document) -> Iterator[str]:
    """Yield a line for each problem, without values, which may be secret."""
    for detail in error.errors(include_input=False, include_url=False):
        path = detail["loc"]
        name = ".".join(map(str, path))
        text = _MESSAGES.get(detail["type"], detail["msg"])
        yield f"{document.place(*path)}: {name} {text}"
