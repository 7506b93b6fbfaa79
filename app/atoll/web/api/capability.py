"""`registry/capabilities`: what this registry can do of what registries differ in."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from atoll.web.api.operation import Call, operation

# The architectures that Quay lets a mirror choose from, mirrors or not.
_MIRROR_ARCHITECTURES = ["amd64", "arm64", "ppc64le", "s390x"]


class SparseManifests(TypedDict):
    """Whether an index may name images that were not pushed."""

    supported: bool
    required_architectures: list[str]
    optional_architectures_allowed: bool


class CapabilitiesSchema(TypedDict):
    """What the registry can do."""

    sparse_manifests: SparseManifests
    mirror_architectures: list[str]


class Capabilities:
    """`registry/capabilities`."""

    @operation(
        "getRegistryCapabilities", response=CapabilitiesSchema, anonymous=True, before_login=True
    )
    def on_get(self, call: Call) -> Any:
        """Tell what the registry can do. An index is taken only with all its images."""
        del call
        return {
            "sparse_manifests": {
                "supported": False,
                "required_architectures": [],
                "optional_architectures_allowed": False,
            },
            "mirror_architectures": _MIRROR_ARCHITECTURES,
        }
