"""The report of a preflight: accepted problems, the results of hosts, and the table."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.problems import (
    NEVER_ACCEPTED,
    Problem,
    problem,
)

_HEADINGS = (("SEVERITY",), ("HOST",), ("PROBLEM AND REMEDY",))
_SEPARATOR = "  "
_MINIMUM_WIDTH = 80


def host_problems(results: Mapping[str, Any]) -> list[Problem]:
    """Return the problems that the checks on hosts reported.

    A host whose checks did not run is a problem itself.

    Args:
        results: The result of the checks, by host.
    """
    found = []
    for host, result in results.items():
        if isinstance(result.get("problems"), list):
            found += [{**item, "host": item.get("host") or host} for item in result["problems"]]
            continue
        cause = " ".join(str(result.get("msg") or "no result").split())
        cause = cause.removeprefix("Task failed: ").rstrip(".: ")
        if result.get("unreachable"):
            found.append(
                problem(
                    "host-unreachable",
                    host,
                    f"The host cannot be reached: {cause}.",
                    "Check its address (ansible_host), the network, and the SSH user and key.",
                )
            )
        else:
            found.append(
                problem(
                    "host-checks-failed",
                    host,
                    f"The checks could not run: {cause}.",
                    "Check that the host has Python 3.9 or later and that the SSH user may become"
                    " root.",
                )
            )
    return found


def accept(problems: Iterable[Problem], accepted: Collection[str]) -> list[Problem]:
    """Turn errors that were accepted into warnings, and return errors before warnings.

    Args:
        problems: The problems of all hosts.
        accepted: The ids of accepted errors. Errors that cannot be accepted stay errors.
    """
    unique: list[Problem] = []
    for item in problems:
        accepts = item["id"] in accepted and item["id"] not in NEVER_ACCEPTED
        judged = {**item, "severity": "warning"} if accepts else item
        if judged not in unique:
            unique.append(judged)
    return sorted(unique, key=lambda item: item["severity"] != "error")


def count(problems: Iterable[Problem], severity: str) -> int:
    """Return the number of different problems of a severity, as the table shows them."""
    return sum(1 for item, _hosts in _merged(problems) if item["severity"] == severity)


def summary(problems: Sequence[Problem], hosts: int) -> str:
    """Return one sentence with the numbers of problems and of examined hosts."""
    counts = [
        _plural(number, severity)
        for severity in ("error", "warning")
        if (number := count(problems, severity))
    ]
    found = " and ".join(counts) or "No problems"
    return f"{found} found on {_plural(hosts, 'host')}."


def refused(problems: Iterable[Problem], accepted: Collection[str]) -> list[str]:
    """Return the ids that an operator accepted although the errors cannot be accepted."""
    found = {item["id"] for item in problems}
    return sorted(found & NEVER_ACCEPTED & set(accepted))


def table(problems: Sequence[Problem], hosts: Collection[str], width: int) -> list[str]:
    """Return problems as the lines of a table. The same problem of several hosts is one row.

    Args:
        problems: The problems in the order of their rows.
        hosts: All hosts that were examined.
        width: Maximum number of characters in a line. Narrower tables than 80 are unreadable.
    """
    rows = [
        (
            (item["severity"],),
            _names(named, hosts),
            (item["problem"], f"Remedy: {item['remedy']}", f"Id: {item['id']}"),
        )
        for item, named in _merged(problems)
    ]
    widths = _widths((names for _severity, names, _texts in rows), max(width, _MINIMUM_WIDTH))
    lines = _row(_HEADINGS, widths)
    for row in rows:
        lines += ["", *_row(row, widths)]
    return lines


def _merged(problems: Iterable[Problem]) -> list[tuple[Problem, list[str]]]:
    """Return each problem once, with the hosts that have it."""
    merged: dict[tuple[str, ...], tuple[Problem, list[str]]] = {}
    for item in problems:
        key = (item["severity"], item["id"], item["problem"], item["remedy"])
        named = merged.setdefault(key, (item, []))[1]
        if item["host"] not in named:
            named.append(item["host"])
    return list(merged.values())


def _names(named: Sequence[str], hosts: Collection[str]) -> tuple[str, ...]:
    if len(named) > 1 and set(named) == set(hosts):
        return ("all hosts",)
    return tuple(named)


def _widths(names: Iterable[Sequence[str]], width: int) -> tuple[int, ...]:
    severity = len(_HEADINGS[0][0])
    longest = max((len(name) for row in names for name in row), default=0)
    host = min(max(longest, len(_HEADINGS[1][0])), width // 3)
    return severity, host, width - severity - host - 2 * len(_SEPARATOR)


def _row(cells: Sequence[Sequence[str]], widths: Sequence[int]) -> list[str]:
    columns = [
        [line for text in cells[n] for line in textwrap.wrap(text, size, break_on_hyphens=False)]
        for n, size in enumerate(widths)
    ]
    lines = []
    for number in range(max(map(len, columns))):
        parts = [
            (columns[n][number] if number < len(columns[n]) else "").ljust(size)
            for n, size in enumerate(widths)
        ]
        lines.append(_SEPARATOR.join(parts).rstrip())
    return lines


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
