"""The two sites of Quay's documentation on clusters: the example of a geo-replicated registry."""

import importlib
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = Path(__file__).parent / "kubernetes"
PACKAGE = "ansible_collections.atoll.registry.plugins.plugin_utils.kubernetes"
PREFERENCES = {"us": ["usstorage", "eustorage"], "eu": ["eustorage", "usstorage"]}
HOSTNAME = "georep.quayteam.org"
IMAGE = "registry.quayteam.org/atoll/registry@sha256:" + "5d0c1a9e7b3f4826" * 4


def module(name):
    """Return a module, which can be imported only after `pytest_configure`."""
    return importlib.import_module(f"{PACKAGE}.{name}")


def documented_bundle():
    """Return the bundle of the documentation, with the feature of its managed mirror."""
    text = (ROOT / "app/tests/unit/bundles/geo-replication-english.txt").read_text()
    text = re.sub(r"(?m)^\d+$", "", text)
    bundle = yaml.safe_load(re.sub(r"<.*>", HOSTNAME, text))
    return bundle | {"FEATURE_REPO_MIRROR": True}


def variables(site="us", **changes):
    """Return the variables of a site, with the defaults of the roles."""
    defaults = {}
    for role in ("registry", "kubernetes"):
        defaults |= yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    return (
        defaults
        | {
            "kubernetes_namespace": "quay-enterprise",
            "registry_hostname": HOSTNAME,
            "registry_image": IMAGE,
            "registry_site": site,
            "registry_storage_preference": PREFERENCES[site],
            "registry_config": documented_bundle(),
        }
        | changes
    )


def make_site(site="us", *, stopped=False, extra=None, **changes):
    """Return a site whose certificates are placeholders."""
    options = variables(site, **changes)
    bundle = module("bundle").Bundle(
        options["registry_config"],
        "the certificate\n",
        "the private key\n",
        "CA certificates for PostgreSQL\n",
        {"stores.crt": "CA certificates for stores\n"} if extra is None else extra,
    )
    return module("site").Site(options, bundle, "0123456789abcdef", stopped)


def render(site="us", **changes):
    """Return the texts of all files of a site, by path."""
    return {one.path: one.text for one in module("tree").render(make_site(site, **changes))}


def objects(files):
    """Return all objects in files, by kind and name; those of the podman variant are left out."""
    found = {}
    for path, text in files.items():
        if path.endswith(".yaml") and "/" not in path:
            for one in yaml.safe_load_all(text):
                found[one["kind"], one.get("metadata", {}).get("name")] = one
    return found


def podman_objects(files, name="atoll"):
    """Return the objects of a file of the podman variant, by kind and name."""
    documents = yaml.safe_load_all(files[f"podman/{name}.yaml"])
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}


def workload(files, component):
    """Return the Deployment of a component."""
    return objects(files)["Deployment", f"atoll-{component}"]


def migration(files):
    """Return the Job."""
    (job,) = [one for (kind, _name), one in objects(files).items() if kind == "Job"]
    return job


def container(of):
    """Return the container of a Deployment or a Job."""
    (found,) = of["spec"]["template"]["spec"]["containers"]
    return found


def environment(of):
    """Return the variables of a container in their order."""
    return {one["name"]: one.get("value") for one in container(of)["env"]}
