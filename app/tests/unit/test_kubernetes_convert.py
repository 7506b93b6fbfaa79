"""QuayRegistry files become inventory variables; what is not taken is listed with its line.

`quay_registries/` contains the two files of Quay's documentation as published.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from atoll.cli.main import main
from atoll.cli.output import print_items
from atoll.errors import UserError
from atoll.kubernetes.bundle_directory import BundleDirectory
from atoll.kubernetes.conversion import Conversion, convert

DOCUMENTED = Path(__file__).parent / "quay_registries"
PREFERENCE = "QUAY_DISTRIBUTED_STORAGE_PREFERENCE"
CONFIG = {
    "SERVER_HOSTNAME": "registry.example.org",
    "PREFERRED_URL_SCHEME": "https",
    "DB_URI": "postgresql://atoll:a-database-password@db.example.org/atoll",
    "BUILDLOGS_REDIS": {"host": "redis.example.org"},
    "USER_EVENTS_REDIS": {"host": "redis.example.org"},
    "DISTRIBUTED_STORAGE_CONFIG": {
        location: [
            "S3Storage",
            {
                "s3_bucket": location,
                "s3_access_key": "access",
                "s3_secret_key": "a-store-secret",
                "storage_path": "/registry",
            },
        ]
        for location in ("usstorage", "eustorage")
    },
    "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage", "eustorage"],
    "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage", "eustorage"],
    "FEATURE_STORAGE_REPLICATION": True,
    "FEATURE_REPO_MIRROR": True,
}
# A registry of which the Operator runs only what Atoll replaces.
ENV = [{"name": PREFERENCE, "value": "usstorage"}]
UNMANAGED = (
    "objectstorage",
    "tls",
    "postgres",
    "clair",
    "clairpostgres",
    "redis",
    "horizontalpodautoscaler",
    "monitoring",
)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory with a complete bundle."""
    monkeypatch.chdir(tmp_path)
    write_bundle()
    return tmp_path


def write_bundle(changes: Mapping[str, Any] | None = None) -> None:
    bundle = Path("bundle")
    bundle.mkdir(exist_ok=True)
    keys = {
        key: value for key, value in (CONFIG | dict(changes or {})).items() if value is not None
    }
    (bundle / "config.yaml").write_text(yaml.safe_dump(keys))
    for name in ("ssl.cert", "ssl.key"):
        (bundle / name).touch()


def component(kind: str, managed: bool = True, **overrides: Any) -> dict[str, Any]:
    return {"kind": kind, "managed": managed, **({"overrides": overrides} if overrides else {})}


def registry(
    *components: dict[str, Any], spec: Mapping[str, Any] | None = None, **metadata: Any
) -> str:
    """Return a QuayRegistry with its usual components, of which the given ones are replaced."""
    usual = [component(kind, managed=False) for kind in UNMANAGED]
    usual += [component("route"), component("quay", env=ENV), component("mirror", env=ENV)]
    given = {one["kind"] for one in components}
    declared = [one for one in usual if one["kind"] not in given] + list(components)
    return yaml.safe_dump(
        {
            "apiVersion": "quay.redhat.com/v1",
            "kind": "QuayRegistry",
            "metadata": {"name": "quay", "namespace": "registry", **metadata},
            "spec": {"configBundleSecret": "bundle", "components": declared, **(spec or {})},
        },
        sort_keys=False,
    )


def without(kind: str) -> str:
    """Return a QuayRegistry that does not declare a component."""
    document = yaml.safe_load(registry())
    components = document["spec"]["components"]
    document["spec"]["components"] = [one for one in components if one["kind"] != kind]
    return yaml.safe_dump(document, sort_keys=False)


def converted(*texts: str) -> Conversion:
    """Convert the files us.yaml and eu.yaml."""
    names = ("us.yaml", "eu.yaml")
    return convert(dict(zip(names, texts, strict=False)), BundleDirectory("bundle"))


def host(result: Conversion, name: str = "us") -> dict[str, Any]:
    return result.hosts[name]


def problems(*texts: str) -> list[str]:
    return [str(one) for one in converted(*texts).problems]


def notes(*texts: str) -> list[str]:
    return [str(one) for one in converted(*texts).notes]


def one_problem(*texts: str) -> str:
    found = problems(*texts)
    assert len(found) == 1, found
    return found[0]


def line_of(text: str, part: str) -> int:
    lines = [line.strip(" -") for line in text.split("\n")]
    return next(number for number, line in enumerate(lines, 1) if f"{line} ".startswith(f"{part} "))


def test_documented_registries_become_two_sites_with_their_preferences() -> None:
    write_bundle({"FEATURE_REPO_MIRROR": None, "PREFERRED_URL_SCHEME": None})
    texts = [(DOCUMENTED / name).read_text() for name in ("us.txt", "eu.txt")]
    result = converted(*texts)
    assert result.problems == []
    assert result.as_dict()["inventory"]["atoll_kubernetes"] == {
        "vars": {
            "registry_hostname": "registry.example.org",
            "registry_config": (
                '{{ lookup("ansible.builtin.file", inventory_dir ~ "/bundle/config.yaml")'
                ' | from_yaml | combine({"PREFERRED_URL_SCHEME": "https",'
                ' "FEATURE_REPO_MIRROR": true}) }}'
            ),
            "registry_tls_certificate_file": "{{ inventory_dir }}/bundle/ssl.cert",
            "registry_tls_key_file": "{{ inventory_dir }}/bundle/ssl.key",
        },
        "hosts": {
            site: {
                "site_platform": "kubernetes",
                "registry_site": site,
                "registry_storage_preference": [f"{site}storage"],
                "kubernetes_name": "example-registry",
                "kubernetes_namespace": "quay-enterprise",
                "kubernetes_ingress": "route",
            }
            for site in ("us", "eu")
        },
    }


def test_components_that_a_file_does_not_declare_are_managed() -> None:
    text = (DOCUMENTED / "us.txt").read_text()
    undeclared = [one for one in notes(text) if "is not declared, and so managed" in one]
    assert [one.split()[1] for one in undeclared] == [
        "clair",
        "horizontalpodautoscaler",
        "monitoring",
    ]
    assert all(one.startswith(f"us.yaml:{line_of(text, 'components:')}: ") for one in undeclared)


def test_a_registry_without_differences_has_only_the_note_on_the_image() -> None:
    result = converted(registry())
    assert result.problems == []
    assert ["registry_image" in one.text for one in result.notes] == [True]


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("postgres", "give DB_URI of a PostgreSQL that all sites reach"),
        ("redis", "give BUILDLOGS_REDIS and USER_EVENTS_REDIS"),
        ("objectstorage", "give DISTRIBUTED_STORAGE_CONFIG"),
    ],
)
def test_a_managed_service_is_a_problem_with_the_keys_to_give(kind: str, remedy: str) -> None:
    text = registry(component(kind))
    problem = one_problem(text)
    line = line_of(text, f"kind: {kind}")
    assert problem.startswith(f"us.yaml:{line}: {kind} is managed: {remedy}")
    assert remedy in one_problem(without(kind))


def test_a_managed_database_of_clair_is_a_problem_if_clair_is_managed() -> None:
    assert problems(registry(component("clairpostgres"))) == []
    problem = one_problem(registry(component("clair"), component("clairpostgres")))
    assert "clairpostgres is managed: give your Clair a PostgreSQL of its own" in problem


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("clair", "SECURITY_SCANNER_V4_ENDPOINT"),
        ("horizontalpodautoscaler", "replicas are fixed: set kubernetes_replicas"),
        ("monitoring", "kubernetes_service_monitor: true"),
        ("configeditor", "change config.yaml"),
        ("tls", "the certificate of the cluster is not used"),
    ],
)
def test_an_optional_component_that_is_managed_is_noted(kind: str, remedy: str) -> None:
    text = registry(component(kind))
    assert problems(text) == []
    line = line_of(text, f"kind: {kind}")
    assert [one for one in notes(text) if one.startswith(f"us.yaml:{line}: ") and remedy in one]


def test_an_unmanaged_route_leaves_the_way_into_the_cluster_to_choose() -> None:
    result = converted(registry(component("route", managed=False)))
    assert "kubernetes_ingress" not in host(result)
    assert "choose kubernetes_ingress or kubernetes_service_type" in result.notes[0].text


def test_an_unmanaged_mirror_is_not_run() -> None:
    write_bundle({"FEATURE_REPO_MIRROR": None})
    result = converted(registry(component("mirror", managed=False)))
    assert host(result)["registry_mirror"] == "false"
    assert "FEATURE_REPO_MIRROR" not in result.variables["registry_config"]


@pytest.mark.parametrize("kind", ["builder", "Quay", ""])
def test_an_unknown_component_is_a_problem(kind: str) -> None:
    assert f"{kind} is no component of the Operator" in one_problem(registry(component(kind)))


def test_a_component_that_is_declared_twice_is_a_problem() -> None:
    text = registry(component("redis", managed=False), component("redis"))
    assert "redis is declared twice" in one_problem(text)


@pytest.mark.parametrize("kind", ["postgres", "redis", "mirror", "clair", "route", "tls"])
def test_an_override_of_an_unmanaged_component_is_a_problem(kind: str) -> None:
    text = registry(component(kind, managed=False, env=[{"name": "A", "value": "b"}]))
    expected = f"{kind} is not managed, and the Operator refuses overrides of it; remove them"
    assert one_problem(text) == f"us.yaml:{line_of(text, 'name: A') - 2}: {expected}"


@pytest.mark.parametrize(
    ("kind", "overrides"),
    [
        ("route", {"env": ENV}),
        ("monitoring", {"labels": {"team": "a"}}),
        ("quay", {"volumeSize": "5Gi", "env": ENV}),
        ("quay", {"storageClassName": "fast", "env": ENV}),
        ("clair", {"securityContext": {"runAsUser": 1}}),
    ],
)
def test_an_override_that_the_operator_refuses_is_a_problem(
    kind: str, overrides: dict[str, Any]
) -> None:
    name = next(iter(overrides))
    text = registry(component(kind, **overrides))
    assert f"{kind}: the Operator refuses the override {name}" in one_problem(text)


@pytest.mark.parametrize("name", ["replicas", "affinity"])
def test_databases_have_no_replicas_and_no_affinity(name: str) -> None:
    value = {"replicas": 2, "affinity": {"nodeAffinity": {}}}[name]
    found = problems(registry(component("postgres", **{name: value})))
    assert f"postgres: the Operator refuses the override {name}; remove it" in found[1]
    assert len(found) == 2


def test_an_unknown_override_is_a_problem() -> None:
    text = registry(component("quay", env=ENV, nodeSelector={"zone": "a"}))
    assert "the Operator has no override nodeSelector" in one_problem(text)


def test_replicas_are_a_problem_while_the_operator_scales() -> None:
    scaled = component("horizontalpodautoscaler")
    text = registry(scaled, component("quay", env=ENV, replicas=3))
    assert "refuses replicas other than 0 while horizontalpodautoscaler" in one_problem(text)
    assert problems(registry(scaled, component("quay", env=ENV, replicas=0))) == []


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("postgres", "volumeSize", "50Gi"),
        ("postgres", "storageClassName", "fast"),
        ("clairpostgres", "volumeSize", "50Gi"),
        ("clair", "replicas", 2),
        ("quay", "securityContext", {"runAsUser": 1}),
        ("mirror", "securityContext", {"runAsUser": 1}),
    ],
)
def test_an_override_without_counterpart_is_noted_with_its_line(
    kind: str, name: str, value: Any
) -> None:
    env = {"env": ENV} if kind in {"quay", "mirror"} else {}
    text = registry(component(kind, **env, **{name: value}))
    line = next(
        number
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip().startswith(f"{name}:")
    )
    found = [one for one in notes(text) if one.startswith(f"us.yaml:{line}: {kind}: {name} is not")]
    assert len(found) == 1
    assert "kubernetes_overrides" not in host(converted(text))


def test_unknown_fields_are_problems() -> None:
    text = registry({"kind": "redis", "managed": False, "secretRef": {"name": "redis"}})
    assert "redis has the unknown field secretRef" in one_problem(text)
    assert "spec has the unknown field replicas" in one_problem(registry(spec={"replicas": 3}))


def test_overrides_of_quay_apply_to_the_registry_and_its_replication() -> None:
    variables = [
        {"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "token"}}},
    ]
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    both = {
        "env": variables,
        "labels": {"team": "registry"},
        "annotations": {"example.org/owner": "registry"},
        "affinity": affinity,
    }
    own = {"replicas": 3, "resources": {"requests": {"memory": "8Gi"}}}
    text = registry(component("quay", **{**both, **own, "env": [*ENV, *variables]}))
    result = converted(text)
    assert result.problems == []
    assert host(result)["kubernetes_overrides"] == {
        "registry": {**both, **own},
        "replication": both,
    }


def test_overrides_of_the_mirror_apply_to_the_mirror() -> None:
    variables = [{"name": "NO_PROXY", "value": "example.org"}]
    text = registry(component("mirror", env=[*ENV, *variables], replicas=2))
    assert host(converted(text))["kubernetes_overrides"] == {
        "mirror": {"env": variables, "replicas": 2}
    }


def test_no_replicas_of_quay_stop_its_replication_as_well() -> None:
    result = converted(registry(component("quay", env=ENV, replicas=0)))
    assert host(result)["kubernetes_overrides"] == {
        "registry": {"replicas": 0},
        "replication": {"replicas": 0},
    }
    assert "-e atoll_strategy=stop_secondaries" in result.notes[0].text


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("FEATURE_STORAGE_REPLICATION", ["registry", "mirror"]),
        ("FEATURE_REPO_MIRROR", ["registry", "replication"]),
    ],
)
def test_workloads_that_the_bundle_disables_have_no_overrides(
    key: str, expected: list[str]
) -> None:
    write_bundle({key: False})
    labels = {"team": "registry"}
    text = registry(
        component("quay", env=ENV, labels=labels), component("mirror", env=ENV, labels=labels)
    )
    assert list(host(converted(text))["kubernetes_overrides"]) == expected


@pytest.mark.parametrize("name", ["registry.example", "3scale", "a" * 41])
def test_a_name_that_resources_cannot_have_is_a_problem(name: str) -> None:
    assert f"kubernetes_name cannot be {name}: set one of" in one_problem(registry(name=name))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("WORKER_COUNT_REGISTRY", "6", 6), ("WORKER_COUNT", "4", 4)],
)
def test_the_number_of_processes_is_a_variable(name: str, value: str, expected: int) -> None:
    env = [*ENV, {"name": "WORKER_COUNT", "value": "4"}]
    if name not in {one["name"] for one in env}:
        env.append({"name": name, "value": value})
    variables = host(converted(registry(component("quay", env=env))))
    assert variables["registry_worker_count"] == expected
    assert "kubernetes_overrides" not in variables


@pytest.mark.parametrize("value", ["0", "many", ""])
def test_an_invalid_number_of_processes_is_a_problem(value: str) -> None:
    env = [*ENV, {"name": "WORKER_COUNT", "value": value}]
    assert "must be a number of processes" in one_problem(registry(component("quay", env=env)))


def test_variables_without_effect_in_atoll_are_noted() -> None:
    names = ["DEBUGLOG", "WORKER_COUNT_WEB", "QUAY_SERVICES"]
    env = [*ENV, *({"name": name, "value": "1"} for name in names)]
    result = converted(registry(component("quay", env=env)))
    assert "kubernetes_overrides" not in host(result)
    for name in names:
        assert any(f"quay: {name} is not taken" in str(one) for one in result.notes)


def test_settings_in_the_environment_are_a_problem_and_not_printed() -> None:
    env = [*ENV, {"name": "QUAY_OVERRIDE_CONFIG", "value": '{"SECRET_KEY": "a-secret"}'}]
    result = converted(registry(component("quay", env=env)))
    assert "put its keys into config.yaml" in result.problems[0].text
    assert "a-secret" not in result.as_yaml()


def test_a_variable_that_is_set_twice_is_a_problem() -> None:
    env = [*ENV, {"name": "A", "value": "1"}, {"name": "A", "value": "2"}]
    assert "quay: A is set twice" in one_problem(registry(component("quay", env=env)))


def test_labels_of_the_operator_are_noted() -> None:
    labels = {"quay-component": "app", "team": "registry"}
    text = registry(component("quay", env=ENV, labels=labels))
    assert host(converted(text))["kubernetes_overrides"]["registry"] == {
        "labels": {"team": "registry"}
    }
    assert any("the label quay-component is not taken" in one for one in notes(text))


def test_an_affinity_to_pods_of_the_operator_is_noted() -> None:
    term = {"labelSelector": {"matchLabels": {"quay-component": "quay-app"}}, "topologyKey": "zone"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    text = registry(component("quay", env=ENV, affinity=affinity))
    assert any("affinity selects pods by labels of the Operator" in one for one in notes(text))


def test_a_missing_preference_is_a_problem_with_several_sites() -> None:
    text = registry(component("quay"), component("mirror"))
    problem = one_problem(registry(), text)
    assert problem.startswith(
        f"eu.yaml:{line_of(text, 'kind: quay')}: quay has no {PREFERENCE}: set"
    )
    assert "registry_storage_preference" not in host(converted(registry(), text), "eu")


def test_the_preference_of_a_single_site_is_that_of_the_bundle() -> None:
    result = converted(registry(component("quay"), component("mirror")))
    assert result.problems == []
    assert host(result)["registry_storage_preference"] == ["usstorage", "eustorage"]


def test_a_preference_without_a_location_is_a_problem() -> None:
    env = [{"name": PREFERENCE, "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b"}}}]
    text = registry(component("quay", env=env), component("mirror", managed=False))
    assert "must have the names of locations as its value" in problems(text)[0]


def test_a_location_that_the_bundle_lacks_is_a_problem_with_those_that_it_has() -> None:
    env = [{"name": PREFERENCE, "value": "asiastorage usstorage"}]
    text = registry(component("quay", env=env), component("mirror", env=env))
    found = problems(text)
    expected = "'asiastorage' is no location of DISTRIBUTED_STORAGE_CONFIG in the bundle, which has"
    assert f"{expected} eustorage, usstorage" in found[0]
    assert found[0].startswith(f"us.yaml:{line_of(text, f'name: {PREFERENCE}')}: ")


def test_different_preferences_of_quay_and_mirror_are_a_problem() -> None:
    env = [{"name": PREFERENCE, "value": "eustorage"}]
    problem = one_problem(registry(component("mirror", env=env)))
    assert "mirror prefers eustorage, and quay usstorage" in problem


def test_a_mirror_without_a_preference_gets_that_of_quay() -> None:
    text = registry(component("mirror"))
    assert problems(text) == []
    assert any("it gets that of quay" in one for one in notes(text))


def test_sites_that_write_to_the_same_store_are_noted() -> None:
    assert any("the site writes to usstorage first" in one for one in notes(registry(), registry()))


def test_different_secrets_of_the_bundle_are_noted() -> None:
    other = registry(spec={"configBundleSecret": "other"})
    assert any("configBundleSecret is other, and bundle" in one for one in notes(registry(), other))


def test_sites_are_named_after_their_files() -> None:
    files = {"clusters/US East.yaml": registry(), "eu.yaml": registry()}
    result = convert(files, BundleDirectory("bundle"))
    assert list(result.hosts) == ["us-east", "eu"]


def test_sites_of_one_file_are_named_after_their_first_locations() -> None:
    env = [{"name": PREFERENCE, "value": "eustorage"}]
    second = registry(component("quay", env=env), component("mirror", env=env))
    result = converted(f"---\n{registry()}---\n{second}---\n")
    assert list(result.hosts) == ["usstorage", "eustorage"]


def test_lines_of_a_second_document_are_those_of_the_file() -> None:
    env = [{"name": PREFERENCE, "value": "eustorage"}]
    second = registry(
        component("postgres"), component("quay", env=env), component("mirror", env=env)
    )
    text = f"{registry()}---\n{second}"
    line = text.count("\n", 0, text.rindex("kind: postgres")) + 1
    assert f"us.yaml:{line}: postgres is managed" in problems(text)[0]


def test_two_sites_without_distinct_names_are_refused() -> None:
    with pytest.raises(UserError, match=r"2 sites would be named 'usstorage': give each"):
        converted(f"{registry()}---\n{registry()}")


def test_fields_that_a_cluster_adds_are_ignored() -> None:
    document = yaml.safe_load(registry(creationTimestamp="2026-11-29T12:00:00Z", generation=2))
    document["status"] = {"conditions": [{"type": "Available", "status": "True"}]}
    assert converted(yaml.safe_dump(document)).hosts == converted(registry()).hosts


def test_a_registry_without_namespace_gets_one_of_its_name() -> None:
    result = converted(registry(namespace=None))
    assert "kubernetes_namespace" not in host(result)
    assert any("kubernetes_namespace is quay" in str(one) for one in result.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "us.yaml: has no QuayRegistry"),
        ("a: [", "us.yaml:1: is no YAML: "),
        ("spec:\n  components:- kind: quay\n      managed: true\n", "us.yaml:3: is no YAML: "),
        ("- a\n", "us.yaml:1: has no kind"),
        ("kind: ConfigMap\n", "us.yaml:1: has the kind ConfigMap"),
        ("kind: QuayRegistry\napiVersion: v1\n", "us.yaml:2: apiVersion is v1"),
        ("a: 1\nb: 2\na: 3\n", "us.yaml:3: 'a' is a duplicate key"),
        ("&a\nb: *a\n", "us.yaml:2: the value contains itself"),
        ("\x00", "us.yaml: is no YAML: unreadable characters"),
        ("#" * 2**20 + "#", "us.yaml: is larger than 1 MiB"),
        ("a:\n" + "- [b]\n" * 60_000, "us.yaml: has more than 100000 values"),
    ],
)
def test_a_file_that_is_no_registry_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        converted(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: route\n    managed: true", "kind: route", "spec.components.8.managed is missing"),
        ("managed: true", "managed: 'yes'", "spec.components.8.managed must be true or false"),
        ("value: usstorage", "value: 5", "env.0.value must be a text"),
        ("name: quay", "name: Quay", "metadata.name is no valid name"),
        ("namespace: registry", "namespace: 1", "metadata.namespace must be a text"),
        ("    overrides:\n", "    overrides:\n      replicas: -1\n", "must not be negative"),
        ("    overrides:\n", "    overrides:\n      replicas: '2'\n", "must be a whole number"),
        ("    overrides:\n", "    overrides:\n      affinity: a\n", "affinity must be a map"),
        ("    overrides:\n", "    overrides:\n      labels: {a: 1}\n", "labels.a must be a text"),
    ],
)
def test_an_invalid_value_is_refused_with_its_line(old: str, new: str, message: str) -> None:
    text = registry()
    assert old in text
    changed = text.replace(old, new, 1)
    with pytest.raises(UserError) as raised:
        converted(changed)
    first = str(raised.value).split("\n")[0]
    assert message in first
    at = text.count("\n", 0, text.index(old)) + 1
    assert first.startswith("us.yaml:")
    assert at <= int(first.split(":")[1]) <= at + 1


def test_null_is_a_missing_value_and_a_date_a_text() -> None:
    text = registry().replace("    overrides:\n", "    overrides:\n      labels:\n", 1)
    text = text.replace("labels:\n", "labels: {since: 2026-01-01}\n      replicas: null\n", 1)
    assert host(converted(text))["kubernetes_overrides"]["registry"] == {
        "labels": {"since": "2026-01-01"}
    }


def test_an_invalid_bundle_is_a_problem_with_its_key() -> None:
    write_bundle({"DB_URI": None})
    assert one_problem(registry()) == "bundle/config.yaml: DB_URI: is missing"


@pytest.mark.parametrize("hostname", [None, "<any name>", "https://registry.example.org"])
def test_a_bundle_without_a_host_name_is_a_problem(hostname: str | None) -> None:
    write_bundle({"SERVER_HOSTNAME": hostname})
    assert any("SERVER_HOSTNAME is not a host name" in one for one in problems(registry()))


def test_the_host_name_has_no_port() -> None:
    write_bundle({"SERVER_HOSTNAME": "registry.example.org:8443"})
    shared = converted(registry()).variables
    assert shared["registry_hostname"] == "registry.example.org"


@pytest.mark.parametrize("name", ["ssl.cert", "ssl.key"])
def test_a_bundle_without_a_certificate_is_a_problem(name: str) -> None:
    (Path("bundle") / name).unlink()
    assert f"bundle: has no {name}: add it, or set registry_tls_" in one_problem(registry())


def test_certificates_of_the_bundle_become_variables() -> None:
    bundle = Path("bundle")
    (bundle / "database.pem").touch()
    (bundle / "extra_ca_certs").mkdir()
    # As a kubelet mounts a Secret, and as a Secret's key for the Operator is spelled.
    for name in ("extra_ca_certs/..data", "extra_ca_certs/stores.crt", "extra_ca_cert_redis.crt"):
        (bundle / name).touch()
    result = converted(registry())
    assert result.problems == []
    shared = result.variables
    assert shared["registry_database_ca_file"] == "{{ inventory_dir }}/bundle/database.pem"
    assert shared["registry_extra_ca_files"] == [
        "{{ inventory_dir }}/bundle/extra_ca_certs/stores.crt",
        "{{ inventory_dir }}/bundle/extra_ca_cert_redis.crt",
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("extra_ca_cert_redis", "takes names that end in .crt; rename the file"),
        ("extra_ca_certs", "takes names that end in .crt; rename the file"),
        ("extra_ca_cert_{a}.crt", "has a quote, a brace or a backslash in its name"),
    ],
)
def test_certificates_with_names_that_a_rollout_refuses_are_problems(
    name: str, message: str
) -> None:
    (Path("bundle") / name).touch()
    assert message in one_problem(registry())


def test_other_files_of_the_bundle_are_noted() -> None:
    Path("bundle/ldap.crt").touch()
    assert any("bundle/ldap.crt: the file is not taken" in one for one in notes(registry()))


def test_an_absolute_directory_is_kept(directory: Path) -> None:
    bundle = BundleDirectory(str(directory / "bundle"))
    shared = convert({"us.yaml": registry()}, bundle).variables
    assert shared["registry_tls_key_file"] == f"{directory}/bundle/ssl.key"
    assert f'lookup("ansible.builtin.file", "{directory}/bundle/config.yaml")' in str(
        shared["registry_config"]
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda file: file.unlink(),
            "cannot be read (No such file or directory); write the Secret",
        ),
        (lambda file: file.write_bytes(b"\xff"), "cannot be read (is not a text in UTF-8)"),
        (lambda file: file.write_text("- a"), "must be a map of keys to values"),
        (lambda file: file.write_text("a: 1\na: 2"), "a: is a duplicate key"),
    ],
)
def test_a_bundle_that_cannot_be_read_is_refused(damage: Any, message: str) -> None:
    damage(Path("bundle/config.yaml"))
    with pytest.raises(UserError) as raised:
        BundleDirectory("bundle")
    assert message in str(raised.value)


def test_a_directory_whose_name_jinja_would_evaluate_is_refused() -> None:
    with pytest.raises(UserError, match="use a path without quotes, braces"):
        BundleDirectory("{{ bundle }}")


def test_ansible_does_not_evaluate_texts_of_a_registry() -> None:
    annotations = {"expression": "{{ lookup('pipe', 'id') }}", "plain": "text"}
    text = converted(registry(component("quay", env=ENV, annotations=annotations))).as_yaml()
    assert """expression: !unsafe "{{ lookup('pipe', 'id') }}\"""" in text
    assert "plain: text" in text


def test_a_text_of_a_registry_cannot_leave_a_comment() -> None:
    text = converted(registry(component("builder\nall:\n  vars:"))).as_yaml()
    assert list(yaml.safe_load(text)) == ["atoll_kubernetes"]


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    status = main(["kubernetes", "convert", *words, "--bundle", "bundle"])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_inventory_can_be_redirected_and_notes_stay_visible(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("us.yaml").write_text(registry())
    status, out, err = run("us.yaml", capsys=capsys)
    assert status == 0
    assert list(yaml.safe_load(out)) == ["atoll_kubernetes"]
    assert "registry_image" in err
    assert "Problems" not in out + err


def test_problems_fail_the_command_and_are_part_of_the_file(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("us.yaml").write_text(registry(component("postgres")))
    status, out, err = run("us.yaml", capsys=capsys)
    assert status == 1
    assert "give DB_URI of a PostgreSQL" in err
    assert "# - us.yaml:" in out
    assert list(yaml.safe_load(out)) == ["atoll_kubernetes"]


def test_json_has_the_inventory_the_problems_and_the_notes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("us.yaml").write_text(registry(component("redis")))
    status, out, err = run("us.yaml", "--json", capsys=capsys)
    assert (status, err) == (1, "")
    result = json.loads(out)
    assert list(result["inventory"]["atoll_kubernetes"]["hosts"]) == ["us"]
    assert [(one["file"], one["line"] > 0) for one in result["problems"]] == [("us.yaml", True)]
    assert "BUILDLOGS_REDIS" in result["problems"][0]["message"]
    assert result["notes"][-1]["line"] is None


def test_no_secret_of_the_bundle_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    Path("us.yaml").write_text(registry(component("postgres"), component("redis")))
    for words in (["us.yaml"], ["us.yaml", "--json"]):
        _, out, err = run(*words, capsys=capsys)
        for secret in ("a-database-password", "a-store-secret"):
            assert secret not in out + err


def test_a_file_that_is_missing_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run("nowhere.yaml", capsys=capsys)
    assert (status, out) == (2, "")
    assert "nowhere.yaml" in err


def test_a_file_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("us.yaml").write_bytes(b"\xff\xfe\x00")
    status, out, err = run("us.yaml", capsys=capsys)
    assert (status, out) == (1, "")
    assert err == "us.yaml: is not a text in UTF-8\n"


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    def isatty(self) -> bool:
        return True


def test_notes_are_wrapped_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    print_items("Notes:", notes((DOCUMENTED / "us.txt").read_text()), error=True)
    lines = terminal.getvalue().splitlines()
    assert len(lines) > 8
    assert max(map(len, lines)) <= 80
