"""`atoll policy`: where blobs of a namespace or a repository must be, and where never."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from atoll.cli.run import say
from atoll.errors import UserError
from atoll.placement.policies import (
    SYNC_SECONDS,
    SYNC_SECONDS_MAXIMUM,
    Policies,
    Policy,
    PolicyInvalid,
    Subject,
    SubjectUnknown,
)
from atoll.placement.upkeep.backfill import backfill
from atoll.server.bundle import load_bundle_to_administer
from atoll.server.container import wire_services
from atoll.services import Services


def list_policies(options: argparse.Namespace) -> int:
    """Print every policy."""
    found = _policies(wire_services(load_bundle_to_administer())).all()
    if options.json:
        rows = [{"subject": str(subject), **asdict(policy)} for subject, policy in found]
        sys.stdout.write(json.dumps(rows) + "\n")
        return 0
    table = Table("namespace or repository", "extra", "excluded", "copies go", "waits for")
    for subject, policy in found:
        table.add_row(
            str(subject),
            " ".join(policy.extra),
            " ".join(policy.excluded),
            "first" if policy.urgent else "",
            f"{policy.sync_copies} copies, {policy.sync_seconds} s" if policy.sync_copies else "",
        )
    Console().print(table)
    return 0


def show(options: argparse.Namespace) -> int:
    """Print one policy, where its blobs must be, and what is where it may not be."""
    subject = Subject.parse(options.subject)
    report = _report(wire_services(load_bundle_to_administer()), subject)
    if options.json:
        sys.stdout.write(json.dumps(report) + "\n")
    else:
        _tell(report)
    return 0


def set_policy(options: argparse.Namespace) -> int:
    """Set a policy, queue what is missing by it, and tell what is in excess."""
    if options.sync_timeout is not None and options.sync is None:
        raise UserError("--sync-timeout needs --sync")
    seconds = options.sync_timeout if options.sync_timeout is not None else SYNC_SECONDS
    if not 0 < seconds <= SYNC_SECONDS_MAXIMUM:
        raise UserError(f"--sync-timeout must be from 1 to {SYNC_SECONDS_MAXIMUM} seconds")
    if options.sync is not None and options.sync < 2:  # noqa: PLR2004 - one copy is there anyway
        raise UserError("--sync must be 2 or more: one copy is there when a push ends")
    graph = wire_services(load_bundle_to_administer())
    subject = Subject.parse(options.subject)
    policy = Policy(
        tuple(dict.fromkeys(options.extra)),
        tuple(dict.fromkeys(options.exclude)),
        options.urgent,
        options.sync,
        seconds if options.sync else None,
    )
    try:
        _policies(graph).set(subject, policy)
    except (SubjectUnknown, PolicyInvalid) as error:
        raise UserError(str(error)) from error
    _carry_out(graph)
    _tell(_report(graph, subject))
    return 0


def clear(options: argparse.Namespace) -> int:
    """Take a policy away, and queue what is missing without it."""
    graph = wire_services(load_bundle_to_administer())
    subject = Subject.parse(options.subject)
    try:
        _policies(graph).clear(subject)
    except SubjectUnknown as error:
        raise UserError(str(error)) from error
    _carry_out(graph)
    _tell(_report(graph, subject))
    return 0


def _policies(graph: Services) -> Policies:
    return Policies(graph.patient_database, graph.bundle.required_locations)


def _carry_out(graph: Services) -> None:
    """Do at once what the workers would do within seconds, so that it is done when we end."""
    if not graph.bundle.feature_storage_replication:
        return
    required = graph.bundle.required_locations
    missing = sum(
        found.blobs for step in backfill(graph.patient_database, required) for found in step.found
    )
    say(f"{missing} copies are to be made" if missing else "no copy is missing")


def _report(graph: Services, subject: Subject) -> dict[str, Any]:
    policies = _policies(graph)
    try:
        policy = policies.get(subject)
    except SubjectUnknown as error:
        raise UserError(str(error)) from error
    return {
        "subject": str(subject),
        **asdict(policy),
        "required": policies.required(subject),
        "excess": [asdict(entry) for entry in policies.excess(subject)],
    }


def _tell(report: dict[str, Any]) -> None:
    lines = [
        f"{report['subject']}: blobs must be at {', '.join(report['required'])}",
        *(f"  also because of this policy: {name}" for name in report["extra"]),
        *(f"  never: {name}" for name in report["excluded"]),
    ]
    if report["urgent"]:
        lines.append("  copies go before those of others")
    if report["sync_copies"]:
        lines.append(
            f"  a manifest is taken when its blobs are at {report['sync_copies']} locations,"
            f" or refused after {report['sync_seconds']} s"
        )
    lines += [
        f"  in excess at {entry['location']}: {entry['blobs']} blobs ({entry['bytes']} bytes),"
        f" {entry['shared']} of which others have there, too"
        for entry in report["excess"]
    ]
    sys.stdout.write("\n".join(lines) + "\n")
