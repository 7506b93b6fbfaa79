"""How clients reach a site: Service, Ingress or Route, and NetworkPolicies."""

from __future__ import annotations

from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.bundle import encoded
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.documents import Object
from ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes.site import REGISTRY, Site

# The ports that a cluster assigns to Services by default.
_NODE_PORTS = range(30000, 32768)


def service(site: Site) -> Object:
    """Return the Service of the registry."""
    kind = site.options["kubernetes_service_type"]
    annotations = site.options["kubernetes_service_annotations"]
    port: Object = {"name": "https", "port": 443, "targetPort": "https"}
    ports = [port]
    if backend_port(site) == "http":
        ports.append({"name": "http", "port": 80, "targetPort": "http"})
    if kind == "NodePort" and site.options["kubernetes_https_port"] in _NODE_PORTS:
        port["nodePort"] = site.options["kubernetes_https_port"]
    metadata = site.metadata(REGISTRY, component=REGISTRY)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata | ({"annotations": dict(annotations)} if annotations else {}),
        "spec": {
            "type": kind,
            # The registry limits requests by the addresses of clients, which this preserves.
            **({"externalTrafficPolicy": "Local"} if kind == "LoadBalancer" else {}),
            "selector": site.selector(REGISTRY),
            "ports": ports,
        },
    }


def backend_port(site: Site) -> str:
    """Return the name of the port that an Ingress connects to; empty without an Ingress."""
    if site.options["kubernetes_ingress"] != "ingress":
        return ""
    return str(site.options["kubernetes_ingress_backend"])


def route(site: Site) -> Object:
    """Return the Route of OpenShift. The registry itself terminates TLS."""
    return {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": _annotated(site),
        "spec": {
            "host": site.options["registry_hostname"],
            "to": {"kind": "Service", "name": site.resource(REGISTRY), "weight": 100},
            "port": {"targetPort": "https"},
            "tls": {"termination": "passthrough", "insecureEdgeTerminationPolicy": "Redirect"},
        },
    }


def ingress(site: Site) -> Object:
    """Return the Ingress, whose controller terminates TLS with the registry's certificate."""
    host = site.options["registry_hostname"]
    class_name = site.options.get("kubernetes_ingress_class")
    backend = {"name": site.resource(REGISTRY), "port": {"name": backend_port(site)}}
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": backend}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _annotated(site),
        "spec": {
            **({"ingressClassName": class_name} if class_name else {}),
            "tls": [{"hosts": [host], "secretName": site.resource("tls")}],
            "rules": [{"host": host, "http": {"paths": [path]}}],
        },
    }


def tls_secret(site: Site) -> Object:
    """Return the Secret with which the controller of an Ingress terminates TLS."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": site.metadata("tls", component=REGISTRY),
        "type": "kubernetes.io/tls",
        "data": encoded({"tls.crt": site.bundle.certificate, "tls.key": site.bundle.key}),
    }


def registry_policy(site: Site) -> Object:
    """Return the NetworkPolicy of the registry, which clients may connect to."""
    ports = ["https", *(["http"] if backend_port(site) == "http" else [])]
    return _policy(
        site,
        REGISTRY,
        {"matchLabels": site.selector(REGISTRY)},
        [{"ports": [{"port": port, "protocol": "TCP"} for port in ports]}],
    )


def worker_policy(site: Site) -> Object:
    """Return the NetworkPolicy of all other pods, which serve only metrics."""
    key = "app.kubernetes.io/component"
    expression = {"key": key, "operator": "NotIn", "values": [REGISTRY]}
    selector = {"matchLabels": site.selector(), "matchExpressions": [expression]}
    return _policy(site, "workers", selector, [])


def _policy(site: Site, name: str, selector: Object, rules: list[Any]) -> Object:
    # Without the role's ServiceMonitor, nothing is known of who reads metrics.
    if site.options["kubernetes_service_monitor"]:
        metrics = {"port": "metrics", "protocol": "TCP"}
        rules = [*rules, {"from": [{"namespaceSelector": {}}], "ports": [metrics]}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": site.metadata(name),
        "spec": {"podSelector": selector, "policyTypes": ["Ingress"], "ingress": rules},
    }


def _annotated(site: Site) -> Object:
    annotations = site.options["kubernetes_ingress_annotations"]
    metadata = site.metadata(REGISTRY, component=REGISTRY)
    return metadata | ({"annotations": dict(annotations)} if annotations else {})
