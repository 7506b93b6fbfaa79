"""promtool accepts rules and dashboard; each alert fires for its fault, and not for others."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from reference.pages import REPOSITORY

from ..integration.services import LABEL, OWNER, owner_label
from .running import podman
from .test_partial_pulls import CLIENTS

RULES = REPOSITORY / "files/monitoring"
CASES = Path(__file__).parent / "atoll.rules.test.yml"
# Grafana replaces these variables by durations and regular expressions.
_VARIABLES = {"$__rate_interval": "5m", "$__range": "1h", "$site": ".*", "$location": ".*"}


def promtool(directory: Path, *words: str) -> tuple[int, str]:
    """Run promtool with the rules and a directory, and return its exit status and its output."""
    done = podman(
        "run",
        "--rm",
        "--network=none",
        f"--label={LABEL}",
        f"--label={OWNER}={owner_label()}",
        f"--volume={RULES}:/rules:ro",
        f"--volume={directory}:/cases:ro",
        CLIENTS,
        "promtool",
        *words,
    )
    return done.returncode, done.stdout


def test_promtool_accepts_the_rules_and_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    dashboard = json.loads((RULES / "atoll.dashboard.json").read_text())
    rules = [
        {"record": f"panel_{panel['id']}_{target['refId']}", "expr": filled_in(target["expr"])}
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    file = tmp_path / "dashboard.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    words = ("check", "rules", "/rules/atoll.rules.yml", "/cases/dashboard.yml")
    status, output = promtool(tmp_path, *words)
    assert status == 0, output
    assert f"SUCCESS: {len(rules)} rules found" in output


def test_each_alert_fires_for_its_fault_and_not_for_others() -> None:
    status, output = promtool(CASES.parent, "test", "rules", f"/cases/{CASES.name}")
    assert status == 0, output


def filled_in(expression: str) -> str:
    """Return an expression of the dashboard with values for Grafana's variables."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression
