"""Report all problems of an inventory and of its hosts in one table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.checks import (
    controller_problems,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.inventory import (
    Inventory,
    Roles,
)
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.report import (
    accept,
    count,
    host_problems,
    refused,
    summary,
    table,
)

display = Display()


class ActionModule(ActionBase):
    """Run the checks of the controller, and report them with the results of the hosts."""

    _requires_connection = False
    _VALID_ARGS = frozenset({"accept", "report", "results"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> Any:
        """Return the problems after showing them."""
        result = super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        inventory = Inventory(
            variables["hostvars"], variables["groups"], Roles(self._loader, _roles())
        )
        accepted = _ids(arguments.get("accept"))
        problems = accept(
            [*controller_problems(inventory), *host_problems(arguments.get("results") or {})],
            accepted,
        )
        examined = [*inventory.hosts, *inventory.clusters]
        if problems:
            lines = table(problems, examined, display.columns)
            display.display("\n".join(["", *lines, ""]))
        sentence = summary(problems, len(examined))
        display.display(sentence)
        if ids := refused(problems, accepted):
            display.display(f"These errors cannot be accepted: {', '.join(ids)}.")
        counts = {
            "error_count": count(problems, "error"),
            "warning_count": count(problems, "warning"),
        }
        if arguments.get("report"):
            report = {**counts, "hosts": examined, "problems": problems}
            text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
            Path(arguments["report"]).expanduser().write_text(text, encoding="utf-8")
        return {**result, **counts, "changed": False, "summary": sentence, "problems": problems}


def _ids(accepted: Any) -> set[str]:
    """Return ids from a list, or from text with commas or spaces between them."""
    words = accepted if isinstance(accepted, list) else re.split(r"[\s,]+", str(accepted or ""))
    return {str(word) for word in words if word}


def _roles() -> Path:
    """Return the directory of the collection's roles; plugins/ may be a symbolic link."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "roles").is_dir():
            return folder / "roles"
    raise FileNotFoundError("The collection is incomplete: its roles are missing.")
