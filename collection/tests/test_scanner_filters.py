"""The playbooks find the Clair of each site, and refuse a wrong database or file of updates."""

import gzip
import json

import pytest
from ansible_collections.atoll.registry.plugins.filter import scanner

HOSTVARS = {
    "us-1": {"registry_site": "us", "registry_storage_preference": ["usstorage", "eustorage"]},
    "eu-1": {
        "registry_site": "eu",
        "registry_storage_preference": ["eustorage", "usstorage"],
        "ansible_host": "10.2.0.11",
    },
    "scan-us": {"clair_site": "us", "clair_address": "10.1.0.30", "clair_port": 6061},
}
GROUPS = {"atoll_sites": ["us-1", "eu-1"], "atoll_clair": ["scan-us", "eu-1"]}
REGISTRY = {"DB_URI": "postgresql://atoll:SECRET-VALUE@db.test:5432/atoll?sslmode=require"}


def test_each_location_has_the_clair_of_the_site_that_writes_to_it():
    assert scanner.scanner_endpoints(GROUPS, HOSTVARS) == {
        "usstorage": "http://10.1.0.30:6061",
        "eustorage": "http://10.2.0.11:6060",
    }


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"clair_tls_certificate_file": "clair.crt"}, "https://10.1.0.30:6061"),
        ({"clair_url": "https://clair.us.test/"}, "https://clair.us.test"),
        ({"clair_address": "[2001:db8::1]"}, "http://[2001:db8::1]:6061"),
    ],
)
def test_the_url_of_a_clair_follows_from_its_variables(variables, url):
    hostvars = HOSTVARS | {"scan-us": HOSTVARS["scan-us"] | variables}

    assert scanner.scanner_endpoints(GROUPS, hostvars)["usstorage"] == url


def test_a_site_on_a_cluster_may_have_a_clair():
    groups = GROUPS | {"atoll_sites": ["us-1"], "atoll_kubernetes": ["eu-1"]}

    assert scanner.scanner_endpoints(groups, HOSTVARS) == scanner.scanner_endpoints(
        GROUPS, HOSTVARS
    )


def test_a_clair_of_an_unknown_site_has_no_location():
    hostvars = HOSTVARS | {"scan-us": {"clair_site": "ap"}}

    assert list(scanner.scanner_endpoints(GROUPS, hostvars)) == ["eustorage"]


def test_an_inventory_without_clair_has_no_endpoints():
    groups = {"atoll_sites": ["us-1"]}

    assert scanner.scanner_endpoints(groups, HOSTVARS) == {}
    assert scanner.scanner_hosts(groups, HOSTVARS, "us") == []


def test_the_clair_of_a_site_is_found_by_either_variable():
    assert scanner.scanner_hosts(GROUPS, HOSTVARS, "us") == ["scan-us"]
    assert scanner.scanner_hosts(GROUPS, HOSTVARS, ["eu", "ap"]) == ["eu-1"]


@pytest.mark.parametrize(
    ("bundle", "settings"),
    [
        ({"SECURITY_SCANNER_V4_ENDPOINT": "http://scan:6060/"}, ["SECURITY_SCANNER_V4_ENDPOINT"]),
        ({"SCANNER_ENDPOINTS": {"usstorage": "http://scan:6060"}}, ["SCANNER_ENDPOINTS.usstorage"]),
        ({"SECURITY_SCANNER_V4_ENDPOINT": "http://10.2.0.11:6060"}, []),
        ({}, []),
    ],
)
def test_the_settings_that_name_a_clair_are_found(bundle, settings):
    assert scanner.scanner_settings(bundle, ["scan"], {"scan": {}}) == settings
    assert scanner.scanner_settings(bundle, [], {}) == []


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://clair:SECRET-VALUE@db.test:5432/atoll",
        "postgres://DB.TEST/atoll?sslmode=verify-full",
        "postgresql://clair@other.test,db.test:5432/atoll",
        "postgresql:///atoll?host=db.test",
        "host=db.test port=5432 dbname=atoll user=clair password='SECRET VALUE'",
        "host='db.test' user=atoll",
    ],
)
def test_the_database_of_the_registry_is_refused(uri):
    (problem,) = scanner.clair_database_problems(uri, REGISTRY)

    assert "is the database of the registry (atoll at db.test:5432)" in problem
    assert "Clair needs a database of its own" in problem
    assert "SECRET" not in problem


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.0.1.1", "[::1]"])
@pytest.mark.parametrize("other", ["localhost", "127.0.0.1", "[0:0:0:0:0:0:0:1]"])
def test_the_database_of_the_registry_is_refused_under_each_name_of_the_local_host(host, other):
    registry = {"DB_URI": f"postgresql://atoll@{other}:5433/atoll"}

    problems = scanner.clair_database_problems(f"postgresql://clair@{host}:5433/atoll", registry)

    assert len(problems) == 1
    assert not scanner.clair_database_problems(f"postgresql://clair@{host}/atoll", registry)
    assert not scanner.clair_database_problems(f"postgresql://clair@{host}:5433/clair", registry)


def test_the_database_of_the_registry_is_refused_with_an_address_that_is_written_differently():
    registry = {"DB_URI": "postgresql://atoll@[2001:db8::1]/atoll"}

    problems = scanner.clair_database_problems("host=2001:DB8:0::1 dbname=atoll", registry)

    assert len(problems) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://clair:SECRET-VALUE@db.test:5432/clair",
        "postgresql://clair:SECRET-VALUE@db.test:5433/atoll",
        "postgresql://clair:SECRET-VALUE@other.test/atoll",
        "postgresql://clair:p%40ss@[2001:db8::1]:5432/atoll",
        "host=db.test dbname=clair",
    ],
)
def test_another_database_is_accepted(uri):
    assert scanner.clair_database_problems(uri, REGISTRY) == []


@pytest.mark.parametrize("uri", ["", "clair", "postgresql:///clair"])
def test_an_address_without_a_host_is_refused(uri):
    (problem,) = scanner.clair_database_problems(uri, REGISTRY)

    assert problem.startswith("clair_database_uri names no host")
    assert scanner.clair_database_servers(uri) == []


def test_each_server_of_the_database_is_checked_from_the_host():
    uri = "postgresql://clair:SECRET-VALUE@db-1.test,db-2.test:5433/clair"

    found = scanner.clair_database_servers(uri, ["db-2.test"])

    assert [(one["host"], one["port"], one["deployed_here"]) for one in found] == [
        ("db-1.test", 5432, False),
        ("db-2.test", 5433, True),
    ]
    assert "SECRET-VALUE" not in json.dumps(found)


@pytest.fixture
def problem(tmp_path):
    """Return a function that returns the problem of a file with a content."""

    def check(content):
        file = tmp_path / "updates.json.gz"
        file.write_bytes(content)
        return scanner.scanner_updates_problems(str(file))

    return check


UPDATES = b'{"Updater":"debian/updater","Fingerprint":"1","Vuln":null}\n{"Updater":"x"}\n'


def test_a_file_of_exported_updates_is_accepted(problem):
    assert problem(gzip.compress(UPDATES)) == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (UPDATES, "is not compressed with gzip"),
        (b"", "is not compressed with gzip"),
        (gzip.compress(UPDATES * 100)[:30], "is damaged or incomplete"),
        (gzip.compress(b'{"manifest": "sha256"}'), "contains no vulnerability data of Clair"),
        (gzip.compress(b"[1, 2]"), "contains no vulnerability data of Clair"),
        (gzip.compress(b"\x00\xff"), "contains no vulnerability data of Clair"),
    ],
    ids=["plain", "empty", "truncated", "other JSON", "a list", "no text"],
)
def test_another_file_is_refused_with_a_sentence(problem, content, text):
    (found,) = problem(content)

    assert text in found
    assert found.endswith(".")


def test_a_missing_file_is_refused_with_its_path(tmp_path):
    (found,) = scanner.scanner_updates_problems(tmp_path / "none.json.gz")

    assert found == (
        f"{tmp_path}/none.json.gz cannot be read on the controller: No such file or directory."
    )


def test_the_refusal_of_no_file_names_the_option():
    (found,) = scanner.scanner_updates_problems("")

    assert "-e atoll_scanner_updates=updates.json.gz" in found
