"""The preflight names each mistake in the mirrors of the inventory, and shows no password."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.mirrors import (
    mirror_problems,
)
from preflight_run import inventory

MIRROR = {"name": "acme/app", "external_reference": "quay.io/team/app", "robot": "mirror"}
ORGANIZATION = {
    "name": "acme",
    "external_registry_type": "harbor",
    "external_registry_url": "https://harbor.test",
    "external_namespace": "platform",
    "robot": "mirror",
}
BUNDLE = {
    "FEATURE_REPO_MIRROR": True,
    "FEATURE_ORG_MIRROR": True,
    "SUPER_USERS": ["admin"],
    "INITIAL_SUPERUSER_PASSWORD": "an initial password",
}


def problems(*mirrors, bundle=BUNDLE, **variables):
    """Return the problems of a list of mirrors at two hosts."""
    host = {"registry_mirrors": list(mirrors), "registry_config": bundle, **variables}
    return list(mirror_problems(inventory(atoll_sites={"us-1": host, "eu-1": host})))


@pytest.mark.parametrize(
    "mirror",
    [
        MIRROR,
        MIRROR | {"robot": "acme+mirror", "external_reference": "10.0.0.1:5000/app"},
        MIRROR | {"tags": ["1.*"], "newest": 3, "delete_limit": 0.5, "enabled": "no"},
        MIRROR | {"external_registry_username": "u", "external_registry_password": "hunter2"},
        {"name": "acme/former", "state": "absent"},
    ],
)
def test_a_correct_mirror_has_no_problem(mirror):
    assert problems(mirror) == []


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"sync_intervall": 60}, "(did you mean sync_interval?)", "to sync_interval."),
        ({"password": "x"}, "password is not an option", "Re"),
        ({"zzz": 1}, "zzz is not an option of a mirror.", "Remove zzz."),
        ({"robot": None}, "robot is missing", "Set robot."),
        ({"external_reference": ""}, "external_reference is missing", "Set external_reference."),
        ({"external_reference": "https://quay.io/a/b"}, "is a URL", "Remove the scheme"),
        ({"external_reference": "quay.io/a/b:1"}, "has a tag", "the option tags"),
        ({"external_reference": "quay.io/a/b@sha256:0"}, "a digest", "the option tags"),
        ({"external_reference": "alpine"}, "is not a repository", "HOST/REPOSITORY"),
        ({"external_reference": "quay.io/a b"}, "is not a repository", "HOST/REPOSITORY"),
        ({"name": "app"}, "'app' is not a repository", "NAMESPACE/REPOSITORY"),
        ({"robot": "other+mirror"}, "the robot belongs to other", "the namespace"),
        ({"newest": "three"}, "newest", "ansible-doc"),
        ({"newest_by": "size"}, "newest_by", "ansible-doc"),
        ({"architectures": ["mips"]}, "architectures", "ansible-doc"),
        ({"external_registry_password": "hunter2"}, "has no user", "external_registry_username"),
    ],
)
def test_a_mistake_is_reported_once_with_its_remedy(change, problem, remedy):
    (found,) = problems(MIRROR | change)

    assert (found["id"], found["severity"], found["host"]) == ("mirror-invalid", "error", "us-1")
    assert problem in found["problem"]
    assert remedy in found["remedy"]
    assert "hunter2" not in str(found)


def test_an_entry_without_a_name_is_reported_by_its_number():
    (found,) = problems(MIRROR, {**MIRROR, "name": ""})

    assert found["problem"] == "registry_mirrors: entry 2: name is missing."


def test_a_repository_with_two_mirrors_is_reported():
    (found,) = problems(MIRROR, MIRROR)

    assert found["problem"] == "registry_mirrors contains acme/app 2 times."


def test_mirrors_need_the_feature_and_a_login():
    found = problems(MIRROR, bundle={"SUPER_USERS": ["admin"], "FEATURE_ORG_MIRROR": True})

    assert [one["id"] for one in found] == ["mirrors-disabled", "mirrors-login-missing"]
    assert problems(bundle={}) == []


def test_a_token_is_a_login():
    bundle = {"FEATURE_REPO_MIRROR": True}

    assert problems(MIRROR, bundle=bundle, registry_mirrors_token="token") == []


def organization_problems(*mirrors, bundle=BUNDLE):
    """Return the problems of a list of mirrors of organizations at two hosts."""
    host = {"registry_organization_mirrors": list(mirrors), "registry_config": bundle}
    return list(mirror_problems(inventory(atoll_sites={"us-1": host, "eu-1": host})))


@pytest.mark.parametrize(
    "mirror",
    [
        ORGANIZATION,
        ORGANIZATION | {"robot": "acme+mirror", "external_registry_url": "harbor.test:8443"},
        ORGANIZATION | {"external_registry_type": "oci", "external_namespace": "a/b"},
        ORGANIZATION | {"repositories": ["base/*"], "delete_after": 0, "hours": "22:00-06:00"},
        {"name": "former", "state": "absent"},
    ],
)
def test_a_correct_mirror_of_an_organization_has_no_problem(mirror):
    assert organization_problems(mirror) == []


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        ({"external_reference": "quay.io/a/b"}, "external_reference is not an option", "Re"),
        ({"robot": None}, "robot is missing", "Set robot."),
        ({"external_registry_type": None}, "external_registry_type is missing", "Set external_"),
        ({"external_registry_type": "docker"}, "external_registry_type", "organization_mirror"),
        ({"name": "acme/app"}, "'acme/app' is not an organization", "without a repository"),
        ({"external_registry_url": "https://a.test/b"}, "not the URL of a registry", "https://"),
        ({"external_registry_url": "https://u:hunter2@a.test"}, "not the URL", "a login"),
        ({"external_registry_url": "https://[a.test"}, "not the URL", "https://"),
        ({"external_namespace": "Team"}, "'Team' is not a namespace", "lower-case"),
        ({"external_namespace": "a/b"}, "several components", "external_registry_type oci"),
        ({"robot": "other+mirror"}, "the robot belongs to other", "the namespace"),
        ({"external_registry_password": "hunter2"}, "has no user", "external_registry_username"),
    ],
)
def test_a_mistake_in_a_mirror_of_an_organization_is_reported_once(change, problem, remedy):
    (found,) = organization_problems(ORGANIZATION | change)

    assert found["id"] == "mirror-invalid"
    assert found["problem"].startswith("registry_organization_mirrors: acme")
    assert problem in found["problem"]
    assert remedy in found["remedy"]
    assert "hunter2" not in str(found)


def test_mirrors_of_organizations_need_their_feature_and_one_entry_each():
    bundle = {**BUNDLE, "FEATURE_ORG_MIRROR": False}
    (found,) = organization_problems(ORGANIZATION, bundle=bundle)
    assert (found["id"], "FEATURE_ORG_MIRROR" in found["remedy"]) == ("mirrors-disabled", True)
    (found,) = organization_problems(ORGANIZATION, ORGANIZATION)
    assert found["problem"] == "registry_organization_mirrors contains acme 2 times."
