"""The preflight names each mistake in the mirrors of the inventory, and shows no password."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.mirrors import (
    mirror_problems,
)
from preflight_run import inventory

MIRROR = {"name": "acme/app", "external_reference": "quay.io/team/app", "robot": "mirror"}
BUNDLE = {
    "FEATURE_REPO_MIRROR": True,
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
