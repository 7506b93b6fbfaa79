"""Replication policies of organizations and repositories, and completeness of images."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN, READ
from atoll.db.pool import Database
from atoll.names import Digest, parse_tag
from atoll.placement.policies import (
    SYNC_SECONDS,
    SYNC_SECONDS_MAXIMUM,
    Policies,
    Policy,
    Subject,
)
from atoll.registry.image_completeness import ImageCompleteness
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation

_LOCATIONS_MAXIMUM = 100


class Synchronous(RequestModel):
    """The number of locations that a push waits for, and the maximum wait in seconds."""

    copies: int = Field(ge=2, le=_LOCATIONS_MAXIMUM)
    seconds: int = Field(default=SYNC_SECONDS, ge=1, le=SYNC_SECONDS_MAXIMUM)


class PolicyChange(RequestModel):
    """A complete policy; omitted fields have their defaults."""

    extra_locations: list[str] = Field(default_factory=list, max_length=_LOCATIONS_MAXIMUM)
    excluded_locations: list[str] = Field(default_factory=list, max_length=_LOCATIONS_MAXIMUM)
    urgent: bool = False
    synchronous: Synchronous | None = None

    @model_validator(mode="after")
    def _once(self) -> PolicyChange:
        for names in (self.extra_locations, self.excluded_locations):
            if len(set(names)) < len(names):
                raise ValueError("the list names a location twice")
        return self

    def policy(self) -> Policy:
        """Return the policy."""
        synchronous = self.synchronous
        return Policy(
            tuple(self.extra_locations),
            tuple(self.excluded_locations),
            self.urgent,
            synchronous.copies if synchronous else None,
            synchronous.seconds if synchronous else None,
        )


class SynchronousSchema(TypedDict):
    """The number of locations that a push waits for, and the maximum wait in seconds."""

    copies: int
    seconds: int


class PolicySchema(TypedDict):
    """A policy, and the locations that it requires together with the namespace's policy."""

    extra_locations: list[str]
    excluded_locations: list[str]
    urgent: bool
    synchronous: SynchronousSchema | None
    required_locations: list[str]


class LocationSchema(TypedDict):
    """The completeness of an image at a location."""

    location: str
    state: str
    required: bool
    complete: bool
    blobs: int
    missing_blobs: int
    missing_bytes: int


class CompletenessSchema(TypedDict):
    """The locations of an image with its layers and configurations, and of the images it lists.

    `absent_manifests` is the number of listed images that cannot be pulled: they were not pushed,
    or deleted.
    """

    manifest_digest: str
    complete: bool
    absent_manifests: int
    locations: list[LocationSchema]


class OrganizationPolicy:
    """`organization/{orgname}/replicationpolicy`."""

    def __init__(self, policies: Policies, namespaces: Namespaces) -> None:
        self._policies = policies
        self._namespaces = namespaces

    @operation("getOrganizationReplicationPolicy", response=PolicySchema, scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """Get the replication policy of an organization."""
        return _serialize(self._policies, self._subject(call, orgname))

    @operation(
        "changeOrganizationReplicationPolicy",
        body=PolicyChange,
        response=PolicySchema,
        scope="org:admin",
    )
    def on_put(self, call: Call, orgname: str) -> Any:
        """Set the replication policy of an organization."""
        subject = self._subject(call, orgname)
        return _change(call, self._policies, subject)

    @operation("deleteOrganizationReplicationPolicy", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str) -> None:
        """Delete the replication policy of an organization."""
        _clear(call, self._policies, self._subject(call, orgname))

    def _subject(self, call: Call, orgname: str) -> Subject:
        if not call.actor.superuser:
            self._namespaces.require_admin(call, orgname)
        return Subject(orgname)


class RepositoryPolicy:
    """`repository/{repository}/replicationpolicy`."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    @operation("getRepositoryReplicationPolicy", response=PolicySchema, scope="repo:admin")
    def on_get(self, call: Call) -> Any:
        """Get the replication policy of a repository."""
        return _serialize(self._policies, self._subject(call))

    @operation(
        "changeRepositoryReplicationPolicy",
        body=PolicyChange,
        response=PolicySchema,
        scope="repo:admin",
    )
    def on_put(self, call: Call) -> Any:
        """Set the replication policy of a repository."""
        return _change(call, self._policies, self._subject(call))

    @operation("deleteRepositoryReplicationPolicy", status=204, scope="repo:admin")
    def on_delete(self, call: Call) -> None:
        """Delete the replication policy of a repository."""
        _clear(call, self._policies, self._subject(call))

    @staticmethod
    def _subject(call: Call) -> Subject:
        if call.actor.superuser and call.grant is not None:
            name = call.grant.repository
        else:
            name = call.require(ADMIN)
        return Subject(name.namespace, name.name)


class TagReplication:
    """`repository/{repository}/tag/{tag}/replication`."""

    def __init__(self, database: Database, required: list[str]) -> None:
        self._completeness = ImageCompleteness(database, required)

    @operation("getTagReplication", response=CompletenessSchema, scope="repo:read", anonymous=True)
    def on_get(self, call: Call, tag: str) -> Any:
        """Get the locations at which the image of a tag is complete."""
        name = call.require(READ)
        return self._completeness.of(name, parse_tag(tag)).as_dict()


class ManifestReplication:
    """`repository/{repository}/manifest/{digest}/replication`."""

    def __init__(self, database: Database, required: list[str]) -> None:
        self._completeness = ImageCompleteness(database, required)

    @operation(
        "getManifestReplication", response=CompletenessSchema, scope="repo:read", anonymous=True
    )
    def on_get(self, call: Call, digest: str) -> Any:
        """Get the locations at which an image is complete."""
        name = call.require(READ)
        reference = str(Digest.parse(digest))
        return self._completeness.of(name, reference).as_dict()


def _change(call: Call, policies: Policies, subject: Subject) -> PolicySchema:
    change: PolicyChange = call.body
    policies.set(subject, change.policy())
    _log(call, "change_replication_policy", subject, **change.model_dump())
    return _serialize(policies, subject)


def _clear(call: Call, policies: Policies, subject: Subject) -> None:
    policies.clear(subject)
    _log(call, "delete_replication_policy", subject)


def _log(call: Call, kind: str, subject: Subject, **metadata: Any) -> None:
    if subject.name is not None:
        metadata["repo"] = subject.name
    call.log(kind, subject.namespace, **metadata)


def _serialize(policies: Policies, subject: Subject) -> PolicySchema:
    policy = policies.get(subject)
    synchronous = None
    if policy.sync_copies is not None and policy.sync_seconds is not None:
        synchronous = SynchronousSchema(copies=policy.sync_copies, seconds=policy.sync_seconds)
    return {
        "extra_locations": list(policy.extra),
        "excluded_locations": list(policy.excluded),
        "urgent": policy.urgent,
        "synchronous": synchronous,
        "required_locations": policies.required(subject),
    }
