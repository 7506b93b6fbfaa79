"""The variant for `podman kube play`."""

import base64
import re

from kubernetes_sites import container, podman_objects, render, workload

COMPONENTS = ("registry", "replication", "mirror")


def pods(files, name="atoll"):
    """Return the Deployments or the Job of a file."""
    found = podman_objects(files, name)
    return {key: one for key, one in found.items() if key[0] != "Secret"}


def test_the_files_need_no_others():
    files = render()
    for name in ("atoll", "atoll-migrate"):
        secrets = {key[1] for key in podman_objects(files, name) if key[0] == "Secret"}
        for one in pods(files, name).values():
            volumes = one["spec"]["template"]["spec"]["volumes"]
            named = {
                volume["secret"]["secretName"]
                for volume in volumes
                if "secret" in volume and not volume["secret"].get("optional")
            }
            assert named == secrets


def test_no_key_of_a_secret_has_a_path_in_a_directory():
    """Podman creates no directories in the volume of a Secret."""
    files = render()
    for one in pods(files).values():
        pod = one["spec"]["template"]["spec"]
        assert not [volume for volume in pod["volumes"] if volume.get("secret", {}).get("items")]
        mounts = {one["name"]: one["mountPath"] for one in container(one)["volumeMounts"]}
        assert mounts["bundle"] == "/conf/stack"
        assert mounts["extra-ca-certs"] == "/conf/stack/extra_ca_certs"
    data = podman_objects(files)["Secret", "atoll-extra-ca-certs"]["data"]
    assert base64.b64decode(data["stores.crt"]) == b"CA certificates for stores\n"


def test_no_volume_of_a_pod_has_the_name_of_another_pods_volume():
    """Podman names a volume of the host like that of the pod."""
    files = render()
    names = [
        volume["name"]
        for one in [*pods(files).values(), *pods(files, "atoll-migrate").values()]
        for volume in one["spec"]["template"]["spec"]["volumes"]
        if "medium" not in volume.get("emptyDir", {"medium": "Memory"})
    ]

    assert len(names) == len(set(names)) == len(COMPONENTS) + 1


def test_only_the_tls_port_of_the_registry_is_published():
    files = render(kubernetes_podman_port=8443, kubernetes_podman_address="10.1.0.11")
    published = [
        port
        for one in pods(files).values()
        for port in container(one)["ports"]
        if "hostPort" in port
    ]

    assert published == [
        {"name": "https", "containerPort": 8443, "hostPort": 8443, "hostIP": "10.1.0.11"}
    ]


def test_instances_of_different_sites_have_different_host_names():
    names = {
        one["spec"]["template"]["spec"]["hostname"]
        for site in ("us", "eu")
        for one in pods(render(site)).values()
    }

    assert names == {f"{site}-{component}" for site in ("us", "eu") for component in COMPONENTS}


def test_pods_differ_from_those_of_the_cluster_in_nothing_else():
    files = render(extra={})
    for component in COMPONENTS:
        theirs = workload(files, component)
        ours = podman_objects(files)["Deployment", f"atoll-{component}"]
        for one in (theirs, ours):
            one["spec"].pop("replicas")
            one["spec"]["template"]["spec"].pop("hostname", None)
            for volume in one["spec"]["template"]["spec"]["volumes"]:
                volume.get("secret", {}).pop("items", None)
            for port in container(one)["ports"]:
                port.pop("hostPort", None)
        assert ours == theirs


def test_a_component_without_replicas_is_not_played():
    files = render(kubernetes_overrides={"mirror": {"replicas": 0}})

    assert {name for _kind, name in pods(files)} == {"atoll-registry", "atoll-replication"}


def test_the_unit_waits_for_pods_longer_than_they_may_take_to_stop():
    files = render()
    unit = files["podman/atoll.kube"]
    (timeout,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    seconds = [
        one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        for one in pods(files).values()
    ]

    assert int(timeout) > sum(seconds)
    assert "\nYaml=atoll.yaml\n" in unit


def test_the_unit_names_the_container_of_the_migration():
    """With --wait, podman 5.4 fails if it plays only a Job."""
    files = render()
    (job,) = pods(files, "atoll-migrate").values()
    name = job["metadata"]["name"]

    unit = files["podman/atoll.kube"]
    assert f"podman wait {name}-pod-{container(job)['name']}\n" in unit
    assert "--wait" not in unit
