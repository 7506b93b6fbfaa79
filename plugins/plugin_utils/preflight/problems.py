"""The problems that a preflight reports.

Both halves of the preflight, the checks of the controller and those of the hosts, report
dictionaries with the keys `id`, `severity`, `host`, `problem` and `remedy`.
"""

from __future__ import annotations

from typing import Literal

Problem = dict[str, str]
Severity = Literal["error", "warning"]

CONTROLLER = "controller"

# Errors that make a rollout fail or lose data for certain, so `atoll_preflight_accept` has no
# effect on them.
NEVER_ACCEPTED = frozenset(
    {
        "address-invalid",
        "bundle-file-missing",
        "bundle-invalid",
        "certificate-key-mismatch",
        "certificate-unreadable",
        "file-missing",
        "image-invalid",
        "no-site",
        "scanner-database",
        "several-postgres-hosts",
        "several-redis-hosts",
        "site-duplicate",
        "site-platform",
        "value-invalid",
        "variable-undefined",
    }
)


def problem(
    identifier: str, host: str, text: str, remedy: str, severity: Severity = "error"
) -> Problem:
    """Return a problem.

    Args:
        identifier: The id in kebab case, with which an operator accepts the problem.
        host: The name of the host in the inventory, or `CONTROLLER`.
        text: One sentence that describes the problem.
        remedy: One sentence that describes how to solve it.
        severity: Whether the problem prevents the rollout.
    """
    return {
        "id": identifier,
        "severity": severity,
        "host": host,
        "problem": text,
        "remedy": remedy,
    }
