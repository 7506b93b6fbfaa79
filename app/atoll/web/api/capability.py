"""`registry/capabilities`: optional features of this registry."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.config import Bundle
from atoll.mirroring.rules.values import ARCHITECTURES
from atoll.web.api.operation import Call, operation


class SparseManifests(TypedDict):
    """Support for an index that lists images which were not pushed."""

    supported: bool
    required_architectures: list[str]
    optional_architectures_allowed: bool


class CapabilitiesSchema(TypedDict):
    """The capabilities of the registry."""

    sparse_manifests: SparseManifests
    mirror_architectures: list[str]


class Capabilities:
    """`registry/capabilities`."""

    def __init__(self, bundle: Bundle) -> None:
        self._sparse_indexes = bundle.feature_sparse_index

    @operation(
        "getRegistryCapabilities", response=CapabilitiesSchema, anonymous=True, before_login=True
    )
    def on_get(self, call: Call) -> Any:
        """Get the registry's capabilities."""
        del call
        return {
            "sparse_manifests": {
                "supported": self._sparse_indexes,
                "required_architectures": [],
                "optional_architectures_allowed": self._sparse_indexes,
            },
            # As in Quay, even if mirroring is disabled.
            "mirror_architectures": list(ARCHITECTURES),
        }
