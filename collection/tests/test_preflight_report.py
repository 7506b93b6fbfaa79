"""A preflight reports all problems of the controller and of hosts in one table."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight import report
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    NEVER_ACCEPTED,
    problem,
)
from preflight_run import ROOT, identifiers

HOSTS = ["us-1.example.org", "eu-1.example.org"]


def one(host="controller", identifier="bundle-differs", severity="error"):
    return problem(identifier, host, "The bundle differs. " * 8, "Use one. " * 12, severity)


def test_no_line_of_the_table_exceeds_80_columns():
    lines = report.table([one(host) for host in HOSTS] + [one("h" * 70)], HOSTS, 80)

    assert max(map(len, lines)) <= 80


def test_the_table_contains_severity_host_problem_remedy_and_id():
    text = "\n".join(report.table([one("us-1.example.org")], HOSTS, 200))

    assert all(
        word in text
        for word in ("error", "us-1.example.org", "differs", "Remedy: Use", "bundle-differs")
    )


def test_a_problem_of_several_hosts_is_one_row():
    lines = report.table([one(host) for host in HOSTS], [*HOSTS, "lb-us"], 80)

    assert sum(line.startswith("error") for line in lines) == 1
    assert report.count([one(host) for host in HOSTS], "error") == 1


def test_a_problem_of_all_hosts_names_no_host():
    text = "\n".join(report.table([one(host) for host in HOSTS], HOSTS, 80))

    assert "all hosts" in text
    assert "us-1" not in text


def test_an_accepted_error_is_a_warning():
    (accepted,) = report.accept([one()], {"bundle-differs"})

    assert accepted["severity"] == "warning"


@pytest.mark.parametrize("identifier", sorted(NEVER_ACCEPTED))
def test_an_error_that_loses_data_cannot_be_accepted(identifier):
    (refused,) = report.accept([one(identifier=identifier)], {identifier})

    assert refused["severity"] == "error"


def test_errors_precede_warnings():
    found = report.accept([one(severity="warning"), one("us-1.example.org")], set())

    assert [item["severity"] for item in found] == ["error", "warning"]


def test_a_good_inventory_is_one_line():
    assert report.summary([], 6) == "No problems found on 6 hosts."
    assert report.summary([one()], 1) == "1 error found on 1 host."
    both = [one(), one(severity="warning"), one("us-1", "exposed", "warning")]
    assert report.summary(both, 2) == "1 error and 2 warnings found on 2 hosts."


def test_an_unreachable_host_is_a_problem():
    message = "Task failed: Timeout (12s) waiting for privilege escalation prompt:"
    (found,) = report.host_problems({"us-1": {"unreachable": True, "msg": message}})

    assert (found["id"], found["host"]) == ("host-unreachable", "us-1")
    cause = "Timeout (12s) waiting for privilege escalation prompt"
    assert found["problem"] == f"The host cannot be reached: {cause}."


def test_a_host_whose_checks_fail_is_a_problem():
    (found,) = report.host_problems({"us-1": {"failed": True, "msg": "Missing sudo password"}})

    assert (found["id"], found["host"]) == ("host-checks-failed", "us-1")
    assert "Missing sudo password" in found["problem"]


def test_problems_of_a_host_carry_its_name():
    (found,) = report.host_problems({"us-1": {"problems": [{**one(), "host": ""}]}})

    assert found["host"] == "us-1"


def test_each_id_is_documented():
    page = (ROOT / "docs/how-to/preflight.md").read_text()
    documented = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}

    assert identifiers() <= set(documented)
    for identifier in NEVER_ACCEPTED & set(documented):
        assert "never accepted" in documented[identifier]
