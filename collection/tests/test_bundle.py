"""The controller validates a bundle before any host is changed."""

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.atoll.registry.plugins.filter import bundle


def test_the_production_example_is_valid(example):
    assert bundle.bundle_problems(example, ["usstorage", "eustorage"]) == []


def test_the_production_example_has_no_warning(example):
    assert bundle.bundle_warnings(example, ["usstorage", "eustorage"]) == []


def test_an_unencrypted_database_is_a_warning(example):
    example["DB_CONNECTION_ARGS"] = {}

    (warning,) = bundle.bundle_warnings(example, ["usstorage", "eustorage"])

    assert warning.startswith("DB_URI:")


def test_a_placeholder_of_the_example_is_refused(example):
    example["SECRET_KEY"] = "change-me"

    (problem,) = bundle.bundle_problems(example, ["usstorage", "eustorage"])

    assert problem.startswith("SECRET_KEY:")


def test_a_preference_for_an_unknown_location_is_named(example):
    problems = bundle.bundle_problems(example, ["nowhere"])

    assert any("nowhere" in problem for problem in problems)


def test_a_missing_key_is_named(example):
    del example["DB_URI"]

    assert any("DB_URI" in problem for problem in bundle.bundle_problems(example, ["usstorage"]))


def test_a_wrong_type_is_named(example):
    example["FEATURE_STORAGE_REPLICATION"] = ["yes"]

    problems = bundle.bundle_problems(example, ["usstorage"])

    assert any("FEATURE_STORAGE_REPLICATION" in problem for problem in problems)


def test_the_error_for_a_missing_library_names_the_pip_command(example, monkeypatch):
    def missing(_name):
        raise ModuleNotFoundError("No module named 'pydantic'", name="pydantic")

    monkeypatch.setattr(bundle.importlib, "import_module", missing)

    with pytest.raises(AnsibleFilterError, match=r"no module pydantic.*-m pip install"):
        bundle.bundle_problems(example, ["usstorage"])


def test_a_bundle_without_a_location_is_valid_and_does_not_mention_it(example):
    reduced = bundle.bundle_without_location(example, "eustorage")

    assert bundle.bundle_problems(reduced, ["usstorage"]) == []
    assert "eustorage" not in str(reduced)
    assert list(reduced) == list(example)


def test_a_bundle_without_a_location_has_no_scanner_there(example):
    example["SCANNER_ENDPOINTS"] = {
        "usstorage": "https://clair-us.test:6060",
        "eustorage": "https://clair-eu.test:6060",
    }

    reduced = bundle.bundle_without_location(example, "eustorage")

    assert reduced["SCANNER_ENDPOINTS"] == {"usstorage": "https://clair-us.test:6060"}


def test_scanning_without_the_address_of_a_scanner_is_refused(example):
    example["FEATURE_SECURITY_SCANNER"] = True

    (problem,) = bundle.bundle_problems(example, ["usstorage", "eustorage"])

    assert problem.startswith("FEATURE_SECURITY_SCANNER: is true although no scanner is configured")


def test_removing_an_unknown_location_does_not_change_the_bundle(example):
    assert bundle.bundle_without_location(example, "elsewhere") == example


def test_the_problem_of_a_missing_archive_names_the_build_command(tmp_path):
    assert "make images" in str(bundle.archive_problems(tmp_path / "none.tar"))


def test_the_bundle_of_hosts_lacks_only_the_initial_password(example):
    deployed = bundle.bundle_for_hosts(example)

    assert "INITIAL_SUPERUSER_PASSWORD" in example
    assert list(deployed) == [key for key in example if key != "INITIAL_SUPERUSER_PASSWORD"]
    assert bundle.bundle_problems(deployed, ["usstorage", "eustorage"]) == []
