"""What all pods of a site need: the Namespace, the ServiceAccount and the bundle."""

from __future__ import annotations

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import encoded
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import Site


def namespace(site: Site) -> Object:
    """Return the Namespace, which admits only restricted pods."""
    modes = ("enforce", "audit", "warn")
    restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": site.namespace, "labels": site.labels() | restricted},
    }


def service_account(site: Site) -> Object:
    """Return the ServiceAccount. No pod calls the API of the cluster, so none gets a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": site.metadata(),
        "automountServiceAccountToken": False,
    }


def bundle_secret(site: Site) -> Object:
    """Return the Secret with all files of the bundle."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": site.metadata("bundle"),
        "type": "Opaque",
        "data": encoded(site.bundle.data),
    }
