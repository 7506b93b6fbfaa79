"""The alert rules and the dashboard name only existing metrics, and each alert has a runbook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from reference.documents import Document
from reference.metrics import exported_series
from reference.pages import REPOSITORY

DIRECTORY = REPOSITORY / "files/monitoring"
RULES = [
    rule
    for group in yaml.safe_load((DIRECTORY / "atoll.rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((DIRECTORY / "atoll.dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
CASES = REPOSITORY / "app/tests/image/atoll.rules.test.yml"

# Labels that Prometheus adds to each series of a target.
TARGET_LABELS = {"job", "instance", "site"}
# A metric with its selector, if it has one.
SERIES = re.compile(r"\b((?:atoll|quay)_\w+|up)\b(?:\s*\{([^}]*)\})?")
STRING = re.compile(r'"[^"]*"')
GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def expressions() -> Iterator[str]:
    """Yield the expressions of the rules, of the panels and of the variables."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for panel in PANELS for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def unknown_names(expression: str, series: dict[str, frozenset[str]]) -> set[str]:
    """Return the metrics and labels of an expression that no process exports.

    Args:
        expression: in PromQL.
        series: the labels of each series.
    """
    plain = STRING.sub('""', expression)
    found, labels = set(), set(TARGET_LABELS)
    for name, selector in SERIES.findall(plain):
        if name not in series and name != "up":
            found.add(name)
            continue
        known = TARGET_LABELS | series.get(name, frozenset())
        labels |= known
        found |= set(re.findall(r"(\w+)\s*[=!]", selector)) - known
    for group in GROUPING.findall(plain):
        found |= set(re.findall(r"\w+", group)) - labels
    return found


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_rules_and_panels_name_only_exported_metrics_and_labels(expression: str) -> None:
    assert unknown_names(expression, exported_series()) == set()


def test_unknown_metrics_and_labels_are_found_in_expressions() -> None:
    series = {"atoll_store_up": frozenset({"location"})}
    wrong = 'max by (place) (atoll_store_up{sites="us {x}"}) == 0 or atoll_store'
    assert unknown_names(wrong, series) == {"place", "sites", "atoll_store"}


def test_series_of_a_histogram_and_of_a_counter_have_their_suffixes() -> None:
    series = exported_series()
    assert series["atoll_http_request_seconds_bucket"] == {"method", "resource", "le"}
    assert series["atoll_http_request_seconds_sum"] == {"method", "resource"}
    assert "atoll_http_request_seconds" not in series
    assert series["atoll_store_requests_total"] == {"location", "outcome"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_severity_a_description_and_a_runbook_section(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert anchor == rule["alert"].lower()
    assert anchor in Document(REPOSITORY / path).anchors


def test_alerts_have_unique_names_and_are_all_listed_with_their_severity() -> None:
    alerts = [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]
    assert len(dict(alerts)) == len(alerts)
    page = (REPOSITORY / "docs/how-to/monitor.md").read_text()
    listed = re.findall(r"^\| \[(Atoll\w+)\]\(alerts\.md#\w+\) \| (\w+) \|", page, re.MULTILINE)
    assert listed == alerts


def test_runbook_has_no_section_without_an_alert() -> None:
    lines = (REPOSITORY / "docs/how-to/alerts.md").read_text().splitlines()
    sections = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert sections == [rule["alert"] for rule in RULES]


def test_each_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    tested = {
        (check["alertname"], bool(check["exp_alerts"]))
        for case in yaml.safe_load(CASES.read_text())["tests"]
        for check in case["alert_rule_test"]
    }
    assert tested == {(rule["alert"], fires) for rule in RULES for fires in (True, False)}


def test_each_panel_has_a_title_a_unit_and_the_selected_data_source() -> None:
    for panel in PANELS:
        assert panel["title"], panel["id"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {one["uid"] for one in sources} == {"${datasource}"}, panel["title"]


def test_panels_have_unique_ids_and_titles_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    cells = [cell for panel in everything for cell in covered(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def covered(position: dict[str, int]) -> Iterator[tuple[int, int]]:
    """Yield the cells of the dashboard's grid that a panel covers."""
    for x in range(position["x"], position["x"] + position["w"]):
        for y in range(position["y"], position["y"] + position["h"]):
            yield x, y
