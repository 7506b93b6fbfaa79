"""Sites on Kubernetes clusters: their variables, and what their instances report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.atoll.registry.plugins.filter.mirroring import runs_mirror
from ansible_collections.atoll.registry.plugins.plugin_utils.plain import plain

# Each host of the group stands for the cluster of one site. Ansible never connects to it.
GROUP = "atoll_kubernetes"
HTTPS_PORT = 443
_DIRECTORY = "build/kubernetes"
_NAME = "atoll"

Instance = Mapping[str, Any]


@dataclass(frozen=True)
class Cluster:
    """A site on a cluster.

    Attributes:
        host: The host in the inventory that stands for the cluster.
        site: The name of the site.
        locations: The locations of the site, nearest first.
        namespace: The namespace on the cluster.
        directory: The directory on the controller with the manifests of the site.
        deployments: The role that the instances of each Deployment report, by its name.
        address: The address of the site for load balancers; empty if there is none.
        port: The port at this address.
    """

    host: str
    site: str
    locations: tuple[str, ...]
    namespace: str
    directory: str
    deployments: Mapping[str, str]
    address: str
    port: int

    @property
    def location(self) -> str:
        """The location that the site writes to; empty if it has none."""
        return self.locations[0] if self.locations else ""

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes, and the commands of kubectl for the site, for playbooks."""
        deployments = " ".join(self.deployments)
        registry = next(iter(self.deployments))
        in_namespace = f"kubectl --namespace {self.namespace}"
        return {
            **asdict(self),
            "location": self.location,
            "apply": f"kubectl apply -k {self.directory}",
            "stop": f"{in_namespace} scale deployment {deployments} --replicas=0",
            "status": f"{in_namespace} exec deployment/{registry} -- atoll status",
            "delete": f"kubectl delete namespace {self.namespace}",
        }

    def has(self, instance: Instance) -> bool:
        """Return whether an instance runs on the cluster.

        Instances do not report the name of their site, so the location that they write to
        identifies it.
        """
        return bool(self.location) and list(instance["preference"][:1]) == [self.location]


def read_cluster(host: str, variables: Mapping[str, Any], bundle: Any) -> Cluster:
    """Return the cluster that a host of the inventory stands for.

    Args:
        host: The name of the host.
        variables: Its variables, without the defaults of roles.
        bundle: The bundle of all sites.
    """
    name = str(variables.get("kubernetes_name") or _NAME)
    site = str(variables.get("registry_site") or "")
    folder = str(variables.get("kubernetes_directory") or _DIRECTORY).rstrip("/")
    preference = variables.get("registry_storage_preference")
    return Cluster(
        host=str(host),
        site=site,
        locations=tuple(map(str, preference if isinstance(preference, list) else [])),
        namespace=str(variables.get("kubernetes_namespace") or name),
        directory=f"{folder}/{site}",
        deployments={f"{name}-{role}": role for role in _roles(variables, plain(bundle))},
        address=str(variables.get("kubernetes_address") or ""),
        port=int(variables.get("kubernetes_https_port") or HTTPS_PORT),
    )


def _roles(variables: Mapping[str, Any], bundle: Any) -> list[str]:
    """Return the roles of instances that run at a site, as on hosts."""
    keys = bundle if isinstance(bundle, Mapping) else {}
    roles = ["registry"]
    if boolean(keys.get("FEATURE_STORAGE_REPLICATION", False), strict=False):
        roles.append("replication")
    if runs_mirror(bundle, variables.get("registry_mirror") or "auto"):
        roles.append("mirror")
    return roles


def running(cluster: Cluster, instances: Sequence[Instance]) -> list[Instance]:
    """Return the instances of a cluster that record heartbeats."""
    return [one for one in instances if cluster.has(one) and not one["lost"]]


def running_sentence(cluster: Cluster, alive: Sequence[Instance]) -> str:
    """Return a sentence that names the running instances of a cluster; empty without any."""
    if not alive:
        return ""
    return f"Instances of site {cluster.site} are running: {', '.join(map(_name, alive))}."


def bundle_problems(
    cluster: Cluster, alive: Sequence[Instance], bundles: Sequence[str]
) -> list[str]:
    """Return one sentence for each reason why a cluster does not count as having a bundle.

    Args:
        cluster: The cluster.
        alive: Its running instances.
        bundles: The fingerprints of the bundles that the instances may have.
    """
    if not alive:
        return ["no instance is running"]
    found = []
    roles = {str(one["role"]) for one in alive}
    for deployment, role in cluster.deployments.items():
        if role not in roles:
            found.append(f"no instance of {deployment} is running")
    silent = [_name(one) for one in alive if not one.get("bundle")]
    if silent:
        found.append(
            "the version of the hosts does not report the bundle of an instance: upgrade the hosts"
            " first"
        )
    others = [_name(one) for one in alive if one.get("bundle") and one["bundle"] not in bundles]
    if others:
        found.append(f"another bundle than the inventory's is loaded by {', '.join(others)}")
    return found


def version_problems(alive: Sequence[Instance], version: str) -> list[str]:
    """Return a sentence if instances run another version than the hosts of other sites."""
    others = [f"{_name(one)} ({one['version']})" for one in alive if one["version"] != version]
    if not others:
        return []
    return [f"another version than that of the hosts ({version}) runs: {', '.join(others)}"]


def store_problems(alive: Sequence[Instance], location: str) -> list[str]:
    """Return one sentence for each instance that cannot use the store of a location."""
    found = []
    for one in alive:
        store = one["stores"].get(location)
        if store is None:
            found.append(f"{_name(one)} does not have the location {location}")
        elif not store["up"]:
            found.append(f"{_name(one)} cannot use the store of {location}: {store.get('cause')}")
    return found


def _name(instance: Instance) -> str:
    return str(instance["hostname"])
