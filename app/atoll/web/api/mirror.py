"""`repository/{repository}/mirror`: mirrors of repositories, with FEATURE_REPO_MIRROR.

Operations, statuses and fields are Quay's. Settings and operations that Quay does not have are in
the object `atoll`, and at paths of their own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from atoll.auth.access import ADMIN
from atoll.db.pool import Database
from atoll.mirroring.current_runs import mirror_with_run
from atoll.mirroring.dry_runs import DryRuns
from atoll.mirroring.errors import InvalidMirror
from atoll.mirroring.health import MirrorHealthReporter
from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.mirrors import MirrorChange, Mirrors
from atoll.mirroring.rules.proxy_passwords import HIDDEN
from atoll.mirroring.rules.settings import MirrorOptions
from atoll.mirroring.rules.values import TAG_GLOBS
from atoll.mirroring.status import MirrorStatuses, RunStatus
from atoll.mirroring.verification import Verification
from atoll.names import RepositoryName
from atoll.web.api.errors import NotFound, TooManyVerifications
from atoll.web.api.mirror_models import (
    ChangedMirror,
    MirrorSchema,
    NewMirror,
    PlanSchema,
    RunQuery,
    TagPage,
    TagQuery,
    VerificationSchema,
    formatted,
    parsed,
)
from atoll.web.api.operation import Call, operation

# Verifications at the same time in one process; each occupies a thread.
_VERIFICATIONS = 2
# Seconds after which a plan sends no further request.
PLAN_SECONDS = 30.0


@dataclass(frozen=True)
class Mirroring:
    """The collaborators of the resources of mirrors."""

    mirrors: Mirrors
    verification: Verification
    dry_runs: DryRuns
    health: MirrorHealthReporter


class MirrorResource:
    """`repository/{repository}/mirror`."""

    def __init__(self, mirrors: Mirrors, database: Database, *, sparse_indexes: bool) -> None:
        self._mirrors = mirrors
        self._database = database
        self._sparse_indexes = sparse_indexes

    @operation("getRepoMirrorConfig", response=MirrorSchema, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """Get the mirror of a repository."""
        return _serialize(*mirror_with_run(self._database, _administered(call)))

    @operation(
        "createRepoMirrorConfig", body=NewMirror, status=201, response=str, scope="repo:admin"
    )
    def on_post(self, call: Call) -> Any:
        """Make a repository a mirror, which only its robot changes from now on."""
        name = _administered(call)
        self._mirrors.create(name, self._change(call.body))
        call.log(
            "repo_mirror_config_changed",
            name.namespace,
            changed="external_reference",
            to=call.body.external_reference,
        )
        return ""

    @operation(
        "changeRepoMirrorConfig", body=ChangedMirror, status=201, response=str, scope="repo:admin"
    )
    def on_put(self, call: Call) -> Any:
        """Change settings of a mirror: all that are given or, if one is invalid, none."""
        name = _administered(call)
        change = self._change(call.body)
        before, after = self._mirrors.change(name, change)
        if before.is_enabled != after.is_enabled:
            kind = "repo_mirror_enabled" if after.is_enabled else "repo_mirror_disabled"
            call.log(kind, name.namespace, changed="is_enabled", to=after.is_enabled)
        for setting, value in _differences(before, after):
            call.log("repo_mirror_config_changed", name.namespace, changed=setting, to=value)
        return ""

    @operation("deleteRepoMirrorConfig", status=204, scope="repo:admin")
    def on_delete(self, call: Call) -> None:
        """Delete a mirror; the repository keeps its tags and becomes an ordinary one."""
        name = _administered(call)
        self._mirrors.delete(name)
        call.log("repo_mirror_disabled", name.namespace, changed="mirror", to=None)

    def _change(self, body: NewMirror | ChangedMirror) -> MirrorChange:
        """Return the settings that a request gives.

        Raises:
            InvalidMirror: Indexes would lack images, which the bundle does not permit.
        """
        if body.architecture_filter and not self._sparse_indexes:
            raise InvalidMirror("architecture_filter", "requires FEATURE_SPARSE_INDEX: true")
        return _change(body)


class MirrorSync:
    """`repository/{repository}/mirror/sync-now`."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors

    @operation("syncNow", status=204, scope="repo:admin")
    def on_post(self, call: Call) -> None:
        """Request a run of a mirror, which starts at once."""
        name = _administered(call)
        self._mirrors.request_sync(name)
        call.log("repo_mirror_sync_now_requested", name.namespace)


class MirrorCancellation:
    """`repository/{repository}/mirror/sync-cancel`."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors

    @operation("syncCancel", status=204, scope="repo:admin")
    def on_post(self, call: Call) -> None:
        """Cancel the current or requested run of a mirror."""
        self._mirrors.request_cancel(_administered(call))


class MirrorDeletions:
    """`repository/{repository}/mirror/confirm-deletions`."""

    def __init__(self, mirrors: Mirrors) -> None:
        self._mirrors = mirrors

    @operation("confirmMirrorDeletions", status=204, scope="repo:admin")
    def on_post(self, call: Call) -> None:
        """Permit the deletions that the last run refused, and request a run."""
        name = _administered(call)
        self._mirrors.confirm_deletions(name)
        call.log("repo_mirror_sync_now_requested", name.namespace, changed="deletions_confirmed")


class MirrorRuns:
    """`repository/{repository}/mirror/runs`."""

    def __init__(self, mirrors: Mirrors, statuses: MirrorStatuses) -> None:
        self._mirrors = mirrors
        self._statuses = statuses

    @operation(
        "listMirrorRuns",
        query=RunQuery,
        response=dict[str, list[dict[str, Any]]],
        scope="repo:admin",
    )
    def on_get(self, call: Call) -> Any:
        """List the latest runs of a mirror, newest first."""
        name = self._mirrors.find(_administered(call)).repository
        return {"runs": [run.as_dict() for run in self._statuses.runs(name, call.query.limit)]}


class MirrorTags:
    """`repository/{repository}/mirror/tags`."""

    def __init__(self, statuses: MirrorStatuses) -> None:
        self._statuses = statuses

    @operation("listMirrorTags", query=TagQuery, response=TagPage, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """List the tags of a mirror with their state, by name."""
        name = _administered(call)
        query: TagQuery = call.query
        found = self._statuses.tags(name, query.state, after=query.next_page, limit=query.limit + 1)
        page = found[: query.limit]
        response: dict[str, Any] = {"tags": [tag.as_dict() for tag in page]}
        return {**response, "next_page": page[-1].tag} if len(found) > len(page) else response


class VerificationSlots:
    """A limit on connections to upstreams, each of which occupies a thread of the process."""

    def __init__(self, slots: int = _VERIFICATIONS) -> None:
        self._free = threading.BoundedSemaphore(slots)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot. Raises TooManyVerifications."""
        if not self._free.acquire(blocking=False):
            raise TooManyVerifications
        try:
            yield
        finally:
            self._free.release()


class MirrorVerification:
    """`repository/{repository}/mirror/verify`."""

    def __init__(self, mirrors: Mirrors, verification: Verification) -> None:
        self._mirrors = mirrors
        self._verification = verification
        self._slots = VerificationSlots()

    @operation("verifyRepoMirror", response=VerificationSchema, scope="repo:admin")
    def on_post(self, call: Call) -> Any:
        """Connect to the upstream of a mirror with its credentials, and list its tags."""
        mirror = self._mirrors.find(_administered(call))
        with self._slots.one():
            result = self._verification.verify(mirror)
        return {"success": result.success, "message": result.message, "tags": result.tags}


class MirrorPlan:
    """`repository/{repository}/mirror/plan`."""

    def __init__(self, mirrors: Mirrors, dry_runs: DryRuns) -> None:
        self._mirrors = mirrors
        self._dry_runs = dry_runs
        self._slots = VerificationSlots()

    @operation("planRepoMirror", response=PlanSchema, scope="repo:admin")
    def on_post(self, call: Call) -> Any:
        """Get what a run of a mirror would copy and delete, without starting it."""
        mirror = self._mirrors.find(_administered(call))
        with self._slots.one():
            return self._dry_runs.plan(mirror, PLAN_SECONDS).as_dict()


def _administered(call: Call) -> RepositoryName:
    """Return the repository in the path if the caller administers it or is a superuser.

    Raises:
        NotFound: The repository does not exist.
        Unauthenticated: The caller lacks the permission and is not logged in.
        InsufficientScope: The caller lacks the permission.
    """
    grant = call.grant
    if grant is None or call.principal is None or not call.principal.superuser:
        name = call.require(ADMIN)
    elif not grant.exists:
        raise NotFound(f"there is no repository '{grant.repository}'")
    else:
        name = grant.repository
    return name if grant is None or grant.id is None else name.bound(grant.id)


def _change(body: NewMirror | ChangedMirror) -> MirrorChange:
    """Return the settings that a request gives."""
    given = body.model_dump(exclude_unset=True)
    change: dict[str, Any] = {
        name: value for name, value in given.items() if name not in {"atoll", "root_rule"}
    }
    if given.get("root_rule"):
        change["root_rule"] = given["root_rule"]["rule_value"]
    if "sync_start_date" in given:
        change["sync_start_date"] = parsed(body.sync_start_date)
    for name in ("external_registry_config", "architecture_filter"):
        if name in given:
            change[name] = given[name] or ([] if name == "architecture_filter" else {})
    if given.get("atoll"):
        change["options"] = given["atoll"]
    return change  # type: ignore[return-value]


def _differences(before: Mirror, after: Mirror) -> Iterator[tuple[str, Any]]:
    """Return the names of changed settings, and values without secrets."""
    old, new = _logged(before), _logged(after)
    for name, value in new.items():
        if value != old[name]:
            yield name, value
    if before.row["external_registry_password"] != after.row["external_registry_password"]:
        yield "external_registry_password", HIDDEN
    names = ("external_registry_config", "proxy_passwords")
    if any(before.row[name] != after.row[name] for name in names):
        yield "external_registry_config", after.row["external_registry_config"]


def _logged(mirror: Mirror) -> dict[str, Any]:
    shown = _serialize(mirror, None)
    hidden = ("is_enabled", "external_registry_config", "sync_expiration_date", "sync_status")
    settings = {
        name: value
        for name, value in shown.items()
        if name not in {*hidden, "sync_retries_remaining", "atoll"}
    }
    return {**settings, "atoll": mirror.row["options"]}


def _serialize(mirror: Mirror, run: RunStatus | None) -> MirrorSchema:
    row = mirror.row
    options = {name: row["options"].get(name) for name in MirrorOptions.model_fields}
    return {
        "is_enabled": mirror.is_enabled,
        "mirror_type": "PULL",
        "external_reference": row["external_reference"],
        "external_registry_username": row["external_registry_username"],
        "external_registry_config": row["external_registry_config"],
        "sync_interval": row["sync_interval"],
        "sync_start_date": formatted(row["sync_start_date"]) or "",
        "sync_expiration_date": formatted(row["lease_expires"]),
        "sync_retries_remaining": row["retries_remaining"],
        "sync_status": mirror.status,
        "root_rule": {"rule_kind": TAG_GLOBS, "rule_value": mirror.patterns},
        "robot_username": mirror.robot,
        "skopeo_timeout_interval": row["skopeo_timeout"],
        "architecture_filter": row["architecture_filter"],
        "atoll": {
            **options,
            "next_date": formatted(row["next_at"]),
            "last_success_date": formatted(row["last_success_at"]),
            "reason": row["reason"],
            "message": row["status_message"],
            "deletions_confirmed": row["deletions_confirmed"],
            "of_organization": row["org_mirror_id"] is not None,
            "run": None if run is None else _serialize_run(mirror, run),
        },
    }


def _serialize_run(mirror: Mirror, run: RunStatus) -> dict[str, Any]:
    return {
        **run.as_dict(),
        "tags_done": run.tags_unchanged + run.tags_copied + run.tags_failed,
        "waiting_until": formatted(mirror.waiting_until),
    }
