"""Manifests for sites on clusters: hardened, the same every time, and valid for Kubernetes."""

import base64
import sys

import kubernetes_validate
import pytest
import yaml
from ansible_collections.atoll.registry.plugins.filter.bundle import bundle_fingerprint
from kubernetes_sites import (
    EXPECTED,
    IMAGE,
    PREFERENCES,
    container,
    documented_bundle,
    environment,
    make_site,
    migration,
    module,
    objects,
    podman_objects,
    render,
    workload,
)

COMPONENTS = ("registry", "replication", "mirror")
# Kustomize and the extensions of clusters, which have no schema in Kubernetes.
WITHOUT_SCHEMA = {"Kustomization", "Route", "ServiceMonitor"}
VERSIONS = ("1.28", "1.32", "1.37")
PASSWORD = "the-password-of-the-first-superuser"
VARIANTS = {
    "documented": {},
    "ingress": {
        "kubernetes_ingress": "ingress",
        "kubernetes_ingress_class": "nginx",
        "kubernetes_ingress_annotations": {"example.org/size": "0"},
        "kubernetes_network_policy": True,
        "kubernetes_service_monitor": True,
        "kubernetes_service_monitor_labels": {"release": "prometheus"},
        "kubernetes_service_annotations": {"example.org/internal": "true"},
        "kubernetes_service_type": "LoadBalancer",
    },
    "plain-ingress": {
        "kubernetes_ingress": "ingress",
        "kubernetes_ingress_backend": "http",
        "kubernetes_network_policy": True,
    },
    "route": {
        "kubernetes_ingress": "route",
        "kubernetes_image_pull_secrets": ["pull"],
        "kubernetes_service_type": "NodePort",
        "kubernetes_https_port": 30443,
        "kubernetes_podman_address": "10.1.0.11",
        "registry_config": documented_bundle() | {"INITIAL_SUPERUSER_PASSWORD": PASSWORD},
    },
    "stopped": {"stopped": True},
    "without-workers": {
        "extra": {},
        "registry_config": documented_bundle()
        | {"FEATURE_STORAGE_REPLICATION": False, "FEATURE_REPO_MIRROR": False},
    },
    "overrides": {
        "kubernetes_overrides": {
            "registry": {
                "env": [
                    {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
                ],
                "replicas": 3,
                "resources": {"limits": {"memory": "4Gi"}},
                "labels": {"team": "y"},
                "annotations": {"number": "12e4"},
                "affinity": {"nodeAffinity": {}},
            }
        }
    },
}


@pytest.mark.parametrize("site", PREFERENCES)
def test_the_documented_example_has_the_expected_files(site):
    """To accept a change, run this file as a script."""
    folder = EXPECTED / site
    expected = {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }

    assert render(site) == expected


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_each_object_is_valid_for_kubernetes(variant, version):
    for path, text in render(**VARIANTS[variant]).items():
        if not path.endswith(".yaml"):
            continue
        for one in yaml.safe_load_all(text):
            if one["kind"] not in WITHOUT_SCHEMA:
                kubernetes_validate.validate(one, version, strict=True)


def test_an_invalid_object_is_refused_by_the_schema():
    broken = workload(render(), "registry")
    container(broken)["livenessProb"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="livenessProb"):
        kubernetes_validate.validate(broken, "1.37", strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_kustomization_lists_each_file(variant):
    files = render(**VARIANTS[variant])
    listed = yaml.safe_load(files["kustomization.yaml"])["resources"]

    assert sorted(listed) == sorted(
        path for path in files if "/" not in path and path != "kustomization.yaml"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_variables_give_the_same_files(variant):
    assert render(**VARIANTS[variant]) == render(**VARIANTS[variant])


def test_the_namespace_admits_only_restricted_pods():
    labels = objects(render())["Namespace", "quay-enterprise"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_pod_meets_the_restricted_standard(variant):
    files = render(**VARIANTS[variant])
    pods = [one for one in objects(files).values() if one["kind"] in ("Deployment", "Job")]
    for name in ("atoll", "atoll-migrate"):
        if f"podman/{name}.yaml" in files:
            found = podman_objects(files, name).values()
            pods += [one for one in found if one["kind"] != "Secret"]

    assert pods
    for one in pods:
        pod = one["spec"]["template"]["spec"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container(one)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        assert {kind for volume in pod["volumes"] for kind in volume} == {
            "name",
            "secret",
            "emptyDir",
        }


@pytest.mark.parametrize("component", COMPONENTS)
def test_each_component_prefers_the_locations_of_its_site(component):
    for site, preference in PREFERENCES.items():
        variables = environment(workload(render(site), component))

        assert variables["QUAY_DISTRIBUTED_STORAGE_PREFERENCE"] == " ".join(preference)


def test_sites_differ_only_in_their_name_and_preference():
    ours = {"us": "NEAR", "eu": "FAR"}, {"us": "FAR", "eu": "NEAR"}
    texts = []
    for site, names in zip(PREFERENCES, ours, strict=True):
        files = render(site)
        text = "".join(files[path] for path in sorted(files) if "/" not in path)
        for name, role in names.items():
            text = text.replace(f"{name}storage", role)
        texts.append(text.replace(f"/site: {site}\n", "/site: SITE\n"))
    us, eu = (one.splitlines() for one in texts)

    assert [pair for pair in zip(us, eu, strict=True) if pair[0] != pair[1]] == [
        (f"  name: {name('us')}", f"  name: {name('eu')}")
        for name in [lambda site: migration(render(site))["metadata"]["name"]]
    ]


def test_the_registry_is_replaced_without_an_interruption():
    files = render()
    spec = workload(files, "registry")["spec"]
    budget = objects(files)["PodDisruptionBudget", "atoll-registry"]["spec"]

    assert spec["replicas"] == 2
    assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == spec["selector"]
    (host, _zone) = spec["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert host["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert host["podAffinityTerm"]["labelSelector"] == spec["selector"]


@pytest.mark.parametrize(
    ("component", "seconds"), [("registry", 150), ("replication", 141), ("mirror", 141)]
)
def test_a_pod_is_killed_only_after_its_requests_had_time_to_finish(component, seconds):
    files = render(registry_drain_notice=9, registry_drain_timeout=126)
    pod = workload(files, component)["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] == seconds
    variables = environment(workload(files, "registry"))
    assert variables["ATOLL_DRAIN_NOTICE"] == "9"
    assert variables["ATOLL_DRAIN_TIMEOUT"] == "126"


@pytest.mark.parametrize(
    ("component", "port"), [("registry", 8080), ("replication", 9091), ("mirror", 9091)]
)
def test_a_failure_of_another_service_does_not_restart_a_container(component, port):
    found = container(workload(render(registry_start_timeout=181), component))
    ports = {one["name"]: one["containerPort"] for one in found["ports"]}

    for probe in ("startupProbe", "livenessProbe"):
        assert found[probe]["exec"]["command"] == ["atoll", "healthcheck", "--alive"]
    startup = found["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 181
    readiness = found["readinessProbe"]["httpGet"]
    assert readiness["path"] == "/health/instance"
    assert ports[readiness["port"]] == port


def test_uploads_and_temporary_files_have_limits():
    pod = workload(render(kubernetes_spool_size="7Gi"), "registry")["spec"]["template"]["spec"]
    volumes = {one["name"]: one.get("emptyDir") for one in pod["volumes"]}
    paths = {one["mountPath"]: one["name"] for one in pod["containers"][0]["volumeMounts"]}

    assert volumes[paths["/var/spool/atoll"]] == {"sizeLimit": "7Gi"}
    assert volumes[paths["/tmp"]] == {"medium": "Memory", "sizeLimit": "128Mi"}


def test_the_bundle_is_a_directory_so_that_changes_arrive():
    files = render()
    pod = workload(files, "registry")["spec"]["template"]["spec"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "bundle"]
    (volume,) = [one["secret"] for one in pod["volumes"] if one["name"] == "bundle"]
    secret = objects(files)["Secret", volume["secretName"]]
    paths = {one["path"]: base64.b64decode(secret["data"][one["key"]]) for one in volume["items"]}

    assert mount == {"name": "bundle", "mountPath": "/conf/stack", "readOnly": True}
    assert set(secret["data"]) == {one["key"] for one in volume["items"]}
    assert yaml.safe_load(paths.pop("config.yaml")) == documented_bundle()
    assert paths == {
        "ssl.cert": b"the certificate\n",
        "ssl.key": b"the private key\n",
        "database.pem": b"CA certificates for PostgreSQL\n",
        "extra_ca_certs/stores.crt": b"CA certificates for stores\n",
    }


@pytest.mark.parametrize("change", ["config", "certificate", "extra"])
def test_a_changed_bundle_replaces_the_pods_and_migrates_again(change):
    before = render()
    changes = {
        "config": {"registry_config": documented_bundle() | {"DB_READ_REPLICAS": []}},
        "extra": {"extra": {"stores.crt": "renewed"}},
        "certificate": {"extra": {"stores.crt": "CA certificates for stores\n", "new.crt": "new"}},
    }
    after = render(**changes[change])

    for component in COMPONENTS:
        assert workload(before, component) != workload(after, component)
    assert migration(before)["metadata"]["name"] != migration(after)["metadata"]["name"]


def test_the_fingerprint_of_the_bundle_is_the_one_that_the_registry_reports(tmp_path):
    secret = "5d0c1a9e7b3f48261f4c02a7e8b93d60"
    config = documented_bundle() | {"SECRET_KEY": secret, "INITIAL_SUPERUSER_PASSWORD": "first"}
    bundle = module("bundle").Bundle(config, "", "")
    (tmp_path / "config.yaml").write_text(bundle.files["config.yaml"])
    loaded = pytest.importorskip("atoll.config").load({}, tmp_path)
    combined = pytest.importorskip("atoll.config.fingerprint").combined

    assert bundle_fingerprint(bundle.deployed_config) == combined(loaded.fingerprint)


def test_pods_show_the_fingerprint_of_their_bundle():
    for component in COMPONENTS:
        annotations = workload(render(), component)["spec"]["template"]["metadata"]["annotations"]

        assert annotations["atoll.registry/bundle-fingerprint"] == "0123456789abcdef"


def test_each_component_runs_its_own_command_of_the_same_image():
    files = render()
    commands = {
        component: container(workload(files, component))["args"] for component in COMPONENTS
    }

    assert commands == {
        "registry": ["registry-nomigrate"],
        "replication": ["replication"],
        "mirror": ["repomirror-nomigrate"],
    }
    assert container(migration(files))["args"] == ["migrate"]
    images = {container(workload(files, component))["image"] for component in COMPONENTS}
    assert {*images, container(migration(files))["image"]} == {IMAGE}


def test_a_site_without_replication_and_mirrors_runs_only_the_registry():
    found = objects(render(**VARIANTS["without-workers"]))

    assert [name for kind, name in found if kind == "Deployment"] == ["atoll-registry"]


def test_only_the_migration_can_read_the_initial_password():
    files = render(**VARIANTS["route"])
    secret = objects(files)["Secret", "atoll-initial-superuser"]
    users = {
        one["metadata"]["name"]
        for one in objects(files).values()
        if one["kind"] in ("Deployment", "Job") and "atoll-initial-superuser" in str(one)
    }

    assert base64.b64decode(secret["data"]["initial-superuser-password"]).decode() == PASSWORD
    assert users == {migration(files)["metadata"]["name"]}
    bundle = objects(files)["Secret", "atoll-bundle"]["data"]["config.yaml"]
    assert PASSWORD not in base64.b64decode(bundle).decode()


def test_a_migration_runs_without_the_initial_password_after_the_first_one():
    without, with_password = render(), render(**VARIANTS["route"])
    (volume,) = [
        one["secret"]
        for one in migration(without)["spec"]["template"]["spec"]["volumes"]
        if one["name"] == "initial-superuser"
    ]

    assert volume["optional"] is True
    assert ("Secret", "atoll-initial-superuser") not in objects(without)
    spec = migration(with_password)["spec"]["template"]["spec"]
    assert volume in [one.get("secret") for one in spec["volumes"]]


def test_a_stopped_site_has_no_pods_and_does_not_migrate():
    files = render(stopped=True, kubernetes_overrides={"registry": {"replicas": 3}})
    found = objects(files)

    assert {one["spec"]["replicas"] for one in found.values() if one["kind"] == "Deployment"} == {0}
    assert not [kind for kind, _name in found if kind == "Job"]
    assert not [path for path in files if path.startswith("podman/")]


def test_clients_reach_a_route_with_tls_of_the_registry():
    found = objects(render(**VARIANTS["route"]))
    route = found["Route", "atoll-registry"]["spec"]

    assert route["tls"]["termination"] == "passthrough"
    assert route["to"]["name"] == "atoll-registry"
    service = found["Service", "atoll-registry"]["spec"]
    assert [one["name"] for one in service["ports"]] == [route["port"]["targetPort"]]
    assert service["ports"][0]["nodePort"] == 30443


@pytest.mark.parametrize(("variant", "port"), [("ingress", "https"), ("plain-ingress", "http")])
def test_an_ingress_ends_at_a_port_of_the_service(variant, port):
    found = objects(render(**VARIANTS[variant]))
    ingress = found["Ingress", "atoll-registry"]["spec"]
    (path,) = ingress["rules"][0]["http"]["paths"]
    ports = [one["name"] for one in found["Service", "atoll-registry"]["spec"]["ports"]]

    assert path["backend"]["service"] == {"name": "atoll-registry", "port": {"name": port}}
    assert port in ports
    secret = found["Secret", ingress["tls"][0]["secretName"]]
    assert secret["type"] == "kubernetes.io/tls"
    assert base64.b64decode(secret["data"]["tls.key"]) == b"the private key\n"


def test_without_a_plain_ingress_the_service_publishes_only_tls():
    for variant in ("documented", "ingress", "route"):
        service = objects(render(**VARIANTS[variant]))["Service", "atoll-registry"]

        assert [one["name"] for one in service["spec"]["ports"]] == ["https"]


def test_network_policies_open_only_ports_that_are_used():
    found = objects(render(**VARIANTS["ingress"]))
    registry, workers = (
        found["NetworkPolicy", f"atoll-{name}"]["spec"] for name in ("registry", "workers")
    )
    closed = objects(render(**VARIANTS["plain-ingress"]))["NetworkPolicy", "atoll-workers"]

    ports = [[port["port"] for port in rule["ports"]] for rule in registry["ingress"]]
    assert ports == [["https"], ["metrics"]]
    assert [rule["ports"][0]["port"] for rule in workers["ingress"]] == ["metrics"]
    assert closed["spec"]["policyTypes"] == ["Ingress"]
    assert closed["spec"]["ingress"] == []


def test_a_service_monitor_finds_the_metrics_of_all_components():
    files = render(**VARIANTS["ingress"])
    monitor = objects(files)["ServiceMonitor", "atoll-metrics"]
    service = objects(files)["Service", "atoll-metrics"]

    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    for component in COMPONENTS:
        labels = workload(files, component)["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
    job = migration(files)["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= job.items()


@pytest.mark.parametrize("text", ["y", "N", "on", "null", "12e4", "1_000", "0x1f", "~", "", "a: b"])
def test_a_text_is_never_read_as_another_type(text):
    written = module("documents").manifest("file.yaml", {"kind": "Any", "text": text}).text

    assert f'text: "{text}"\n' in written


def test_a_file_with_a_secret_is_marked():
    secrets = {one.path for one in module("tree").render(make_site()) if one.is_secret}

    assert secrets == {"bundle-secret.yaml", "podman/atoll.yaml", "podman/atoll-migrate.yaml"}


def _accept():
    for site in PREFERENCES:
        for path, text in render(site).items():
            (EXPECTED / site / path).parent.mkdir(parents=True, exist_ok=True)
            (EXPECTED / site / path).write_text(text)


if __name__ == "__main__":
    sys.exit(_accept())
